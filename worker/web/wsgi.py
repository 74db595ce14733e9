"""Environment -> settings -> web application: what gunicorn loads, after it has patched and forked."""

import gc
import os
import sys

from flask import Flask

from shared.logs import configure, log_misnamed
from shared.settings import DOTENV, SettingsError, misnamed, read_settings, secrets_of
from worker.web.composition import build


def main() -> Flask:
    """The application of this process. Exits with 2 and one line when a setting is wrong."""
    try:
        settings = read_settings(os.environ, DOTENV)
    except SettingsError as error:
        print(f"llm-refresh: {error}", file=sys.stderr)
        sys.exit(2)
    lines = configure(
        as_json=settings.logs_as_json,
        level=settings.log_level,
        process="web",
        secrets=secrets_of(settings),
        redirect=True,
    )
    log_misnamed(misnamed(os.environ, DOTENV))
    app = build(settings, lines, os.environ)
    gc.collect()
    gc.freeze()  # what is loaded now stays: looking through it again and again halts every request for 50 ms and more
    return app


app = main()
