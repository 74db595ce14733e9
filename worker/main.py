"""Environment -> settings -> Celery application. Workers, beat and Flower start here: `celery -A worker.main …`."""

import gc

gc.disable()  # what is loaded stays: looking through it again and again takes a fifth of the time

import os
import sys
import warnings

from celery import Celery
from celery.exceptions import SecurityWarning

from shared.logs import configure, log_misnamed
from shared.notices.apprise_calls import check_receivers
from shared.settings import DOTENV, Settings, SettingsError, misnamed, read_settings, secrets_of
from worker.bootstrap import create_worker
from worker.process_limits import raise_limit
from worker.runtime import build_runtime

_KINDS = ("beat", "flower")


def _process(arguments: list[str]) -> str:
    """Which of the Procfile's processes this is, for its log lines."""
    for kind in _KINDS:
        if kind in arguments:
            return kind
    names = [word.split("@")[0] for word in arguments if "@" in word]
    return names[0].removeprefix("--hostname=") if names else "worker"


def main(settings: Settings, process: str) -> Celery:
    """Set up logging and make the application. Raises SettingsError for Flower without a password.

    Workers send notices: for them also for an address that Apprise does not understand.
    """
    if process == "flower":
        _prepare_flower(settings)
    if process not in _KINDS:
        check_receivers(settings)
    if settings.local:
        # Celery warns root of messages that are code. Ours are JSON alone (worker/celery_app.py), and local mode
        # listens to this machine alone. In production the warning stays: no process needs root there.
        warnings.filterwarnings("ignore", category=SecurityWarning)
    raise_limit()
    configure(
        as_json=settings.logs_as_json,
        level=settings.log_level,
        process=process,
        secrets=secrets_of(settings),
        redirect=True,
    )
    log_misnamed(misnamed(os.environ, DOTENV))
    return create_worker(settings, build_runtime, process=process)


def _prepare_flower(settings: Settings) -> None:
    from worker.flower.pages import set_up_flower  # noqa: PLC0415 - only Flower's process needs it

    os.environ.pop("FLOWER_BASIC_AUTH", None)  # it would take the place of the login that was checked
    set_up_flower(settings)


try:
    app = main(read_settings(os.environ, DOTENV), _process(sys.argv))
except SettingsError as error:
    print(f"llm-refresh: {error}", file=sys.stderr)
    sys.exit(2)
gc.freeze()
gc.enable()
