"""What commands share that work with the catalogue or chats: the runtime, and how to print."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table

from shared.db import DatabaseError, DatabaseUnavailable, RoleNotGranted
from shared.logs import configure, visible
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
def open_runtime(*, log_level: str = "warning") -> Iterator[Runtime]:
    """The runtime of a command; a database that cannot be used ends it with 1 and one line.

    `log_level`: `info` for a command whose act is a line in the log of web as well.
    """
    settings = settings_or_exit()
    quiet_logs(settings, level=log_level)
    runtime = build_runtime(settings, "cli", pool_size=2)
    try:
        yield runtime
    except (DatabaseUnavailable, RoleNotGranted) as error:
        fail(str(error))
    except DatabaseError as error:
        fail(f"{error}; is the database migrated? run `llm-refresh migrate`")
    finally:
        runtime.close()


def actor() -> str:
    """Who runs this command, as the database names them."""
    return f"cli:{getpass.getuser()}"


def console() -> Console:
    """Where tables go. As wide as they need when nobody watches, so that nothing is cut out of a log.

    Names come from upstream and from callers: nothing in a text is markup or the code of an emoji.
    """
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, emoji=False)


def say(text: str, *, err: bool = False) -> None:
    """Print one line; what would steer the terminal is shown, not done."""
    click.echo(visible(text), err=err)


def say_text(text: str) -> None:
    """Print a text of many lines: exactly for a file or a pipe, without what would steer a terminal on a screen."""
    click.echo(visible(text, keep="\n\t") if sys.stdout.isatty() else text)


def echo_json(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


class PlainTable(Table):
    """A table whose cells show a text as it is: a line break or an escape sequence in a name is seen, not followed."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def table(*columns: str) -> Table:
    """An empty table with these headings."""
    result = PlainTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        result.add_column(column, overflow="fold")
    return result


def as_text(value: object) -> str:
    """A value as a person reads it: yes, no, unknown."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={as_text(each)}" for name, each in value.items()) or "nothing"
    return str(value)


def short(moment: datetime | None) -> str:
    """A moment as a person reads it, in UTC."""
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
