"""Commands of API keys: make, list, revoke, rotate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
from pydantic import ValidationError

from shared import api_keys
from shared.api_keys import MAX_EXPIRY_DAYS, MAX_GRACE_HOURS, NewKey, UnknownApiKey
from shared.field_errors import first_fault
from shared.roles import ROLES
from worker.commands.context import actor, console, echo_json, json_option, open_runtime, say, short, table
from worker.commands.entry import fail
from worker.commands.spans import Span

_MADE = ("id", "name", "subject", "role", "key", "expires_at")


@click.group()
def keys() -> None:
    """Make and end API keys: another way than a JWT to a subject and a role."""


@keys.command()
@click.argument("name")
@click.option("--subject", required=True, help="Whose it is: chats, limits and usage are this caller's.")
@click.option("--role", type=click.Choice(ROLES), default="authenticated", show_default=True)
@click.option("--expires", type=Span(timedelta(days=MAX_EXPIRY_DAYS)), help="After so long, as 90d; never without.")
@json_option
def create(name: str, subject: str, role: Any, expires: timedelta | None, as_json: bool) -> None:
    """Make a key. It is shown this once: only a digest of it is stored."""
    days = None if expires is None else expires / timedelta(days=1)
    try:
        new = NewKey(name=name, subject=subject, role=role, expires_in_days=days)
    except ValidationError as error:
        raise click.UsageError(first_fault(error)) from None
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        key = api_keys.create(connection, new, actor=actor())
    _print_key(key, as_json=as_json)


@keys.command(name="list")
@json_option
def list_keys(as_json: bool) -> None:
    """All keys, without their secrets, the newest first."""
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        rows = api_keys.list_keys(connection)
    if as_json:
        echo_json({"keys": rows})
        return
    if not rows:
        say("there is no API key; `llm-refresh keys create NAME --subject S` makes one")
        return
    grid = table("id", "name", "subject", "role", "last used", "expires", "revoked")
    for row in rows:
        moments = (short(row[column]) for column in ("last_used_at", "expires_at", "revoked_at"))
        grid.add_row(row["id"], row["name"], row["subject"], row["role"], *moments)
    console().print(grid)


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """End a key; every web process refuses it within five seconds."""
    with open_runtime() as runtime:
        try:
            with runtime.database.transaction() as connection:
                row = api_keys.revoke(connection, key_id, actor=actor())
        except UnknownApiKey:
            fail(f"no API key has the id {key_id!r}; `llm-refresh keys list` lists them")
    if as_json:
        echo_json(row)
    else:
        say(f"revoked {row['id']} ({row['name']}, {row['subject']}) at {short(row['revoked_at'])} (UTC)")


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--grace",
    type=Span(timedelta(hours=MAX_GRACE_HOURS)),
    default="24h",
    show_default=True,
    help="So long the key before holds as well; 0m: not at all.",
)
@json_option
def rotate(key_id: str, grace: timedelta, as_json: bool) -> None:
    """Give a key another secret; the one before holds for a grace."""
    with open_runtime() as runtime:
        try:
            with runtime.database.transaction() as connection:
                key = api_keys.rotate(connection, key_id, grace_hours=grace / timedelta(hours=1))
        except UnknownApiKey:
            fail(f"no valid API key has the id {key_id!r}; `llm-refresh keys list` lists them")
    _print_key(key, as_json=as_json)


def _print_key(key: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json({name: key[name] for name in _MADE} | {"previous_until": key["previous_until"]})
        return
    until = f", until {short(key['expires_at'])} (UTC)" if key["expires_at"] else ""
    say(f"key {key['id']} ({key['name']}) of {key['subject']}, role {key['role']}{until}; shown this once:")
    say(key["key"])
    if key["previous_until"]:
        say(f"the key before holds until {short(key['previous_until'])} (UTC)")
