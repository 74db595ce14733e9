"""Environment -> settings -> Celery application. Workers, beat and Flower start here: `celery -A worker.main …`."""

import os
import sys

from celery import Celery

from shared.logs import configure, log_misnamed
from shared.settings import DOTENV, Settings, SettingsError, misnamed, read_settings, secrets_of
from worker.bootstrap import create_worker
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
    """Set up logging and make the application. Raises SettingsError for Flower without a password."""
    if process == "flower":
        _let_nobody_in(settings)
    configure(as_json=settings.logs_as_json, level=settings.log_level, process=process, secrets=secrets_of(settings))
    log_misnamed(misnamed(os.environ, DOTENV))
    return create_worker(settings, build_runtime, process=process)


def _let_nobody_in(settings: Settings) -> None:
    """Give Flower its user and password, which it reads after this: without them it shows its pages to anyone."""
    if settings.flower_password is None:
        raise SettingsError("FLOWER_PASSWORD is missing: Flower shows tasks and workers to whoever reaches it")
    os.environ["FLOWER_BASIC_AUTH"] = f"{settings.flower_user}:{settings.flower_password.get_secret_value()}"


try:
    app = main(read_settings(os.environ, DOTENV), _process(sys.argv))
except SettingsError as error:
    print(f"llm-refresh: {error}", file=sys.stderr)
    sys.exit(2)
