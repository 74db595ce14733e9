"""What commands share that work with the catalogue or chats: the runtime, and how to print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from shared.db import DatabaseError, DatabaseUnavailable, WrongLogin
from shared.logs import configure
from shared.settings import Settings, secrets_of
from worker.commands.entry import fail, settings_or_exit
from worker.runtime import Runtime, build_runtime

json_option = click.option("--json", "as_json", is_flag=True, help="For a machine to read.")


def quiet_logs(settings: Settings, *, level: str = "warning") -> None:
    """Log lines of a command go to standard error, so that standard output can be piped."""
    configure(
        as_json=settings.log_format == "json",
        level=level,
        process="cli",
        secrets=secrets_of(settings),
        stream=sys.stderr,
    )


@contextmanager
def runtime() -> Iterator[Runtime]:
    """The runtime of a command; a database that cannot be used ends it with 1 and one line."""
    settings = settings_or_exit()
    quiet_logs(settings)
    parts = build_runtime(settings, "cli", pool_size=2)
    try:
        yield parts
    except (DatabaseUnavailable, WrongLogin) as error:
        fail(str(error))
    except DatabaseError as error:
        fail(f"{error}; is the database migrated? run `llm-refresh migrate`")
    finally:
        parts.close()


def console() -> Console:
    """Where tables go. As wide as they need when nobody watches, so that nothing is cut out of a log."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def echo_json(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def table(*columns: str) -> Table:
    """An empty table with these headings."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def short(moment: datetime | None) -> str:
    """A moment as a person reads it, in UTC."""
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
