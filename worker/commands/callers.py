"""Commands of callers: their limits, what they have open, and what was used."""

from __future__ import annotations

from typing import Any

import click
from pydantic import ValidationError

from shared import callers as all_callers
from shared.callers import LISTED, MAX_SUBJECT, CallerEdit
from shared.chat import usage as chat_usage
from shared.csv_report import as_csv
from shared.db import SYSTEM
from shared.field_errors import words_of
from shared.vocabulary import USAGE_BY, UsageBy
from worker.commands.context import actor, console, echo_json, json_option, open_runtime, say, short, table

NONE = "none"


def _limit(text: str) -> int | str:
    """A whole number, or `none` for a limit that is dropped. Raises ValueError."""
    return text if text == NONE else int(text)


def _weight(text: str) -> float | str:
    """As `_limit`, of a number with decimals."""
    return text if text == NONE else float(text)


@click.group()
def callers() -> None:
    """Callers: their limits, and what they have open."""


@callers.command(name="set")
@click.argument("subject")
@click.option("--max-open", type=_limit, metavar="N|none", help="Chats open at the same time.")
@click.option("--max-running", type=_limit, metavar="N|none", help="Chats that run at the same time.")
@click.option("--per-minute", type=_limit, metavar="N|none", help="Chats asked within a minute.")
@click.option("--weight", type=_weight, metavar="W|none", help="The share of places among callers; 1 is the usual one.")
@json_option
def set_limits(subject: str, as_json: bool, **given_options: Any) -> None:
    """Set limits of a caller; `none` drops one, and the setting applies. SUBJECT is the `sub` of its tokens."""
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable() or not subject.strip():
        raise click.UsageError(f"SUBJECT takes 1 to {MAX_SUBJECT} printable characters, as a token's sub does")
    changes = {name: None if value == NONE else value for name, value in given_options.items() if value is not None}
    if not changes:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in all_callers.LIMITS)
        raise click.UsageError(f"name a limit: {options}")
    try:
        edit = CallerEdit.model_validate(changes)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise click.UsageError(f"--{str(wrong['loc'][0]).replace('_', '-')}: {words_of(wrong)}") from None
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        row = all_callers.set_limits(connection, subject, edit, actor=actor(), role="cli")
    if as_json:
        echo_json(row)
    else:
        say(f"{subject}: {', '.join(f'{name} {_own(row[name])}' for name in all_callers.LIMITS)}")


@callers.command(name="list")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=LISTED, show_default=True)
@json_option
def list_callers(limit: int, as_json: bool) -> None:
    """Callers with limits of their own, open chats or chats of today, those with the most open chats first."""
    with open_runtime() as runtime:
        defaults = all_callers.defaults_of(runtime.settings)
        with runtime.database.transaction() as connection:
            listed = all_callers.list_callers(connection, limit=limit)
    if as_json:
        echo_json({"callers": listed.callers, "total": listed.total, "defaults": defaults})
        return
    if not listed.callers:
        say("no caller has a limit of its own, an open chat or one of today")
        return
    grid = table("subject", *(name.replace("_", " ") for name in all_callers.LIMITS), "open", "running", "today",
                 "longest wait")  # fmt: skip
    for row in listed.callers:
        wait = row["longest_wait_seconds"]
        grid.add_row(row["subject"], *(_own(row[name]) for name in all_callers.LIMITS), str(row["open"]),
                     str(row["running"]), str(row["requests_today"]),
                     "-" if wait is None else f"{wait:.0f} s")  # fmt: skip
    console().print(grid)
    if listed.total > len(listed.callers):
        say(f"{listed.total - len(listed.callers)} more; `--limit` shows them")


@click.command()
@click.option("--by", type=click.Choice(USAGE_BY), default="model", show_default=True)
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="Today and before, in UTC.")
@click.option("--csv", "as_csv_text", is_flag=True, help="For a spreadsheet.")
@json_option
def usage(by: UsageBy, days: int, as_csv_text: bool, as_json: bool) -> None:
    """What was used, by caller, model or day."""
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        rows = chat_usage.summed(connection, by, days=days, caller=SYSTEM)
    if as_json:
        echo_json({"usage": rows})
        return
    columns = chat_usage.line_columns(by)
    if as_csv_text:
        click.echo(as_csv(columns, rows), nl=False)
        return
    grid = table(*(name.replace("_", " ") for name in columns))
    for row in rows:
        grid.add_row(*(short(value) if name == "last_used" else str("-" if value is None else value)
                       for name, value in ((name, row[name]) for name in columns)))  # fmt: skip
    console().print(grid)


def _own(value: float | None) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
