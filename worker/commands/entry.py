"""What every command begins and ends with: settings from the environment, and exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from shared.logs import visible
from shared.settings import Settings, SettingsError, read_settings

GOOD, NOT_GOOD, WRONG_USE = 0, 1, 2


def settings_or_exit() -> Settings:
    """The settings; exits with 2 and one line that names the wrong one."""
    try:
        return read_settings(os.environ, Path(".env"))
    except SettingsError as error:
        click.echo(f"llm-refresh: {visible(str(error))}", err=True)
        sys.exit(WRONG_USE)


def fail(why: str) -> NoReturn:
    """Say why in one line, and exit with 1."""
    click.echo(f"llm-refresh: {visible(why)}", err=True)
    sys.exit(NOT_GOOD)
