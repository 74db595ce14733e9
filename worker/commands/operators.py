"""Commands of operators: overrides, the default, the ledger."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

import click
from pydantic import ValidationError

from shared.catalogue.edits import EditRefused, ModelEdit, UnknownModel
from shared.catalogue.facts.capabilities import CAPABILITIES
from shared.catalogue.ledger import LedgerFilter, newest_changes
from shared.catalogue.report import sentence
from shared.db import Caller
from shared.field_errors import first_fault
from shared.vocabulary import CHANGE_KINDS
from worker.commands.context import actor, as_text, echo_json, json_option, open_runtime, say, short
from worker.commands.entry import fail
from worker.commands.timestamps import LineOrMoment


@click.command(name="set")
@click.argument("key")
@click.argument("assignments", nargs=-1, required=True, metavar="FIELD=VALUE...")
@json_option
def set_model(key: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Override fields of a model; FIELD=null drops an override.

    FIELD: model_name, model_key, display_order, is_default, is_active, or a capability such as supports_vision.
    Example: llm-refresh set gpt-4o display_order=2 supports_vision=true
    """
    _edit(key, _edits(assignments), as_json=as_json)


@click.command()
@click.argument("key")
@json_option
def set_default(key: str, as_json: bool) -> None:
    """Make this model the default."""
    _edit(key, {"is_default": True}, as_json=as_json)


def _edits(assignments: tuple[str, ...]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise click.UsageError(f"{assignment!r} is no FIELD=VALUE")
        try:
            value = text if name in ("model_name", "model_key") and text != "null" else json.loads(text)
        except ValueError:
            raise click.UsageError(f"{name}: {text!r} is neither a number nor true, false or null") from None
        target = body.setdefault("capabilities", {}) if name in CAPABILITIES else body
        target[name] = value
    return body


def _edit(key: str, body: dict[str, Any], *, as_json: bool) -> None:
    try:
        edit = ModelEdit.model_validate(body)
    except ValidationError as error:
        fields = [name for name in ModelEdit.model_fields if name != "capabilities"]
        hint = f"; there are {', '.join([*fields, *CAPABILITIES])}" if _has_unknown_field(error) else ""
        raise click.UsageError(first_fault(error) + hint) from None
    with open_runtime() as runtime:
        try:
            row = runtime.editor.edit(key, edit, caller=Caller("service_role", actor()))
        except UnknownModel:
            fail(f"no model has the key {key!r}; `llm-refresh verify` lists them")
        except EditRefused as refused:
            fail(str(refused))
        else:
            _print_row(row, as_json=as_json)


def _has_unknown_field(error: ValidationError) -> bool:
    return error.errors()[0]["type"] == "extra_forbidden"


def _print_row(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json(row)
        return
    state = "active" if row["is_active"] else "inactive"
    default = ", default" if row["is_default"] else ""
    if row["why"] is not None:
        state += f" ({row['why']['text']})"
    overrides = as_text(row["overrides"])
    say(
        f"{row['model_name']} (ID: {row['matcha_llm_id']}, Key: {row['model_key']}): {state}{default}, "
        f"order {row['display_order']}, overrides {overrides}"
    )


@click.command(name="changes")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(CHANGE_KINDS), help="Only this kind; may be repeated."
)
@click.option("--key", help="Only of this model_key, also where the model has another one now.")
@click.option(
    "--since", type=LineOrMoment(), default=0, help="Only after this line's id, or since a time: 3d, 2026-03-01."
)
@click.option("--run", "run_id", type=click.UUID, help="Only the changes of this run.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--all", "everything", is_flag=True, help="Every line, however many.")
@json_option
def list_changes(
    kinds: tuple[str, ...],
    key: str | None,
    since: int | datetime,
    run_id: uuid.UUID | None,
    limit: int,
    everything: bool,
    as_json: bool,
) -> None:
    """Read the ledger, newest first."""
    after, moment = (since, None) if isinstance(since, int) else (0, since)
    ledger_filter = LedgerFilter(kinds, key, run_id, after, moment)
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        lines, left_out = newest_changes(connection, ledger_filter, limit=None if everything else limit)
    if as_json:
        echo_json({"changes": lines, "left_out": left_out, "next": lines[0]["id"] if lines else after})
        return
    for change in lines:
        say(f"{change['id']:>6}  {short(change['at'])}  {change['actor']:<12}  {sentence(change)}")
    if not lines:
        say("no change is recorded that fits")
    elif left_out:
        older = "1 older line is" if left_out == 1 else f"{left_out} older lines are"
        say(f"{older} left out: --all shows them, --kind, --key and --since choose")
