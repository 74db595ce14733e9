"""Commands of webhooks: register endpoints, and see and repeat what is sent to them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from pydantic import ValidationError

from shared.clock import new_id
from shared.field_errors import first_fault
from shared.vocabulary import WEBHOOK_EVENTS
from shared.webhooks import delivery_history, endpoints
from shared.webhooks.delivery_history import EndpointOff, UnknownDelivery
from shared.webhooks.destinations import check_url
from shared.webhooks.endpoints import (
    DEFAULT_GRACE_HOURS,
    MAX_GRACE_HOURS,
    NewEndpoint,
    TooManyEndpoints,
    UnknownEndpoint,
)
from worker.commands.context import actor, console, echo_json, json_option, open_runtime, say, short, table
from worker.commands.entry import fail
from worker.commands.spans import Span
from worker.runtime import Runtime


@click.group()
def webhooks() -> None:
    """Where callers are told how their background responses ended (Standard Webhooks, as OpenAI sends them)."""


@webhooks.command()
@click.argument("url")
@click.option("--subject", required=True, help="The caller whose responses make the events.")
@click.option("--events", required=True, help=f"Separated by commas: {', '.join(WEBHOOK_EVENTS)}.")
@json_option
def add(url: str, subject: str, events: str, as_json: bool) -> None:
    """Register an endpoint. Its secret is shown this once."""
    names = [name.strip() for name in events.split(",") if name.strip()]
    try:
        new = NewEndpoint.model_validate({"url": url, "subject": subject, "events": names})
    except ValidationError as error:
        raise click.UsageError(first_fault(error)) from None
    with open_runtime() as runtime:
        try:
            address = check_url(url, local=runtime.settings.local)
        except ValueError as wrong_url:
            raise click.UsageError(f"URL: {wrong_url}") from None
        try:
            with runtime.database.transaction() as connection:
                endpoint = endpoints.add(connection, new, endpoint_id=new_id(), url=address, actor=actor())
        except TooManyEndpoints as many:
            fail(str(many))
    if as_json:
        echo_json(endpoint)
        return
    say(f"endpoint {endpoint['id']} of {subject}: {', '.join(endpoint['events'])}")
    say("its secret, shown this once:")
    say(endpoint["secret"])


@webhooks.command()
@click.argument("endpoint_id", metavar="ID", type=click.UUID)
@click.option(
    "--grace",
    type=Span(timedelta(hours=MAX_GRACE_HOURS)),
    default=f"{DEFAULT_GRACE_HOURS}h",
    show_default=True,
    help="So long the secret before signs along; 0m: not at all.",
)
@json_option
def rotate(endpoint_id: uuid.UUID, grace: timedelta, as_json: bool) -> None:
    """Give an endpoint another secret, shown this once; the one before signs along for a grace."""
    with _open_runtime() as runtime, runtime.database.transaction() as connection:
        endpoint = endpoints.rotate(connection, endpoint_id, grace_hours=grace / timedelta(hours=1))
    if as_json:
        echo_json(endpoint)
        return
    say(f"the new secret of endpoint {endpoint['id']} of {endpoint['subject']}, shown this once:")
    say(endpoint["secret"])
    if endpoint["previous_until"]:
        say(f"the secret before signs along until {short(endpoint['previous_until'])} (UTC)")


@webhooks.command(name="list")
@click.option("--subject", help="Only this caller's.")
@json_option
def list_endpoints(subject: str | None, as_json: bool) -> None:
    """The endpoints, without their secrets, the newest first."""
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        rows = endpoints.list_endpoints(connection, subject=subject)
    if as_json:
        echo_json({"webhooks": rows})
        return
    if not rows:
        say("there is no endpoint; `llm-refresh webhooks add URL --subject S --events response.completed` makes one")
        return
    grid = table("id", "subject", "address", "events", "state", "last delivered", "last error")
    for row in rows:
        grid.add_row(
            str(row["id"]),
            row["subject"],
            row["url"],
            ", ".join(row["events"]),
            _state(row),
            short(row["last_delivered_at"]),
            row["last_error"] or "-",
        )
    console().print(grid)


@webhooks.command()
@click.argument("endpoint_id", metavar="ID", type=click.UUID)
@json_option
def remove(endpoint_id: uuid.UUID, as_json: bool) -> None:
    """Remove an endpoint; what waits for it is not sent any more."""
    with _open_runtime() as runtime, runtime.database.transaction() as connection:
        row = endpoints.remove(connection, endpoint_id, actor=actor())
    if as_json:
        echo_json(row)
    else:
        say(f"removed {row['id']} of {row['subject']}")


@webhooks.command()
@click.argument("endpoint_id", metavar="ID", type=click.UUID)
@json_option
def enable(endpoint_id: uuid.UUID, as_json: bool) -> None:
    """Switch an endpoint on again that failed for three days or answered 410."""
    with _open_runtime() as runtime, runtime.database.transaction() as connection:
        row = endpoints.enable(connection, endpoint_id)
    if as_json:
        echo_json(row)
    else:
        say(f"{row['id']} of {row['subject']} is on; `llm-refresh webhooks redeliver ID` repeats what it missed")


@webhooks.command(name="deliveries")
@click.argument("endpoint_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
def list_deliveries(endpoint_id: uuid.UUID | None, limit: int, as_json: bool) -> None:
    """What was sent, or waits: to one endpoint or to all, the newest first."""
    with _open_runtime() as runtime, runtime.database.transaction() as connection:
        rows = delivery_history.list_deliveries(connection, endpoint_id=endpoint_id, limit=limit)
    if as_json:
        echo_json({"deliveries": rows})
        return
    if not rows:
        say("nothing was sent and nothing waits: events are made when background responses of a subject end")
        return
    grid = table("id", "event", "of", "written", "status", "attempts", "answer", "next attempt", "error")
    for row in rows:
        grid.add_row(
            str(row["id"]),
            row["type"],
            row["object_id"],
            short(row["created_at"]),
            row["status"],
            str(row["attempts"]),
            str(row["last_status"] or "-"),
            short(row["next_attempt_at"]),
            row["last_error"] or "-",
        )
    console().print(grid)


@webhooks.command()
@click.argument("delivery_id", metavar="ID", type=click.UUID)
@json_option
def redeliver(delivery_id: uuid.UUID, as_json: bool) -> None:
    """Send an event again, with the same webhook-id; ID is one of `webhooks deliveries`."""
    with _open_runtime() as runtime:
        try:
            with runtime.database.transaction() as connection:
                row = delivery_history.redeliver(connection, delivery_id)
        except EndpointOff as off:
            fail(str(off))
    if as_json:
        echo_json(row)
    else:
        say(f"{row['type']} of {row['object_id']} is sent again")


@contextmanager
def _open_runtime() -> Iterator[Runtime]:
    """A runtime; an id that means nothing ends the command with 1 and one line."""
    with open_runtime() as runtime:
        try:
            yield runtime
        except UnknownEndpoint as unknown:
            fail(f"no webhook endpoint has the id {unknown}; `llm-refresh webhooks list` lists them")
        except UnknownDelivery as unknown:
            fail(f"no delivery has the id {unknown}; `llm-refresh webhooks deliveries` lists them")


def _state(endpoint: dict[str, Any]) -> str:
    if endpoint["disabled_at"]:
        return f"off ({endpoint['disabled_reason']})"
    return f"failing since {short(endpoint['failing_since'])}" if endpoint["failing_since"] else "on"
