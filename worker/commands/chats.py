"""Commands of chats: ask and wait, and list."""

from __future__ import annotations

import sys
import time
import uuid

import click
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from shared.catalogue.keys import NoModel
from shared.chat import lifecycle, read
from shared.chat.questions import Question
from shared.chat.read import Snapshot
from shared.chat.submit import Asked, TooManyOpen
from shared.clock import new_id
from shared.db import Caller
from worker.celery_app import make_celery
from worker.chat_duties import publish
from worker.chat_gateway import missing_set_up
from worker.commands.context import console, echo_json, json_option, runtime, say, say_text, short, table
from worker.commands.entry import GOOD, NOT_GOOD, fail
from worker.runtime import Runtime

POLL_SECONDS = 0.2
OPERATOR = Caller("service_role", "cli")


@click.command()
@click.argument("question")
@click.option("--model", help="A model_key; the default model without.")
@click.option("--system", "system_prompt", help="A system prompt.")
@json_option
def chat(question: str, model: str | None, system_prompt: str | None, as_json: bool) -> None:
    """Ask a model and wait for its answer; Ctrl-C cancels. Exit 1 when there is none."""
    try:
        asked = Question(question=question, model=model, systemPrompt=system_prompt)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise click.UsageError(f"{wrong['loc'][0]}: {wrong['msg'].removeprefix('Value error, ')}") from None
    with runtime() as parts:
        accepted = _accepted(parts, asked)
        try:
            _send(parts, accepted)
            ended = _awaited(parts, accepted)
        except KeyboardInterrupt:
            ended = _cancelled(parts, accepted)
    if as_json:
        echo_json(ended.body)
    else:
        _print(ended)
    sys.exit(GOOD if ended.status == "succeeded" else NOT_GOOD)


def _accepted(parts: Runtime, question: Question) -> Snapshot:
    missing = missing_set_up(parts.settings)
    if missing is not None:
        fail(missing.detail)
    if question.characters > parts.settings.chat_max_chars:
        raise click.UsageError(f"question and system prompt may hold {parts.settings.chat_max_chars} characters")
    try:
        return parts.submitter.submit(Asked(question, OPERATOR, str(new_id()), None)).snapshot
    except (NoModel, TooManyOpen) as error:
        raise click.ClickException(str(error)) from None


def _send(parts: Runtime, snapshot: Snapshot) -> None:
    try:
        app = make_celery(parts.settings, socket_timeout_seconds=2)
        publish(app, str(snapshot.chat_id), task_id=str(snapshot.chat_id), request_id=None)
    except (OperationalError, OSError):
        click.echo("llm-refresh: Redis takes no message; a worker finds the question by itself", err=True)


def _awaited(parts: Runtime, snapshot: Snapshot) -> Snapshot:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        shown = progress.add_task("", total=None)
        while not snapshot.ended:
            model = snapshot.body["model"]
            progress.update(shown, description=f"{snapshot.status}: {model['name']} (Ctrl-C cancels)")
            time.sleep(POLL_SECONDS)
            snapshot = _find(parts, snapshot.chat_id)
    return snapshot


def _cancelled(parts: Runtime, snapshot: Snapshot) -> Snapshot:
    with parts.database.transaction() as connection:
        lifecycle.cancel(connection, snapshot.chat_id, OPERATOR)
    return _find(parts, snapshot.chat_id)


def _find(parts: Runtime, chat_id: uuid.UUID) -> Snapshot:
    with parts.database.transaction(OPERATOR) as connection:
        found = read.find(connection, chat_id)
    if found is None:
        raise click.ClickException(f"chat {chat_id} is no longer there")
    return found


def _print(chat: Snapshot) -> None:
    model = chat.body["model"]
    told = f"{model['name']} (ID: {model['matcha_llm_id']}, Key: {model['key']})"
    if model["fallback"]:
        told += f", instead of {model['requested']}: {model['reason']}"
    between = "in" if chat.status == "succeeded" else "after"
    by = "by" if chat.status == "succeeded" else "of"
    seconds = chat.body["timings"]["total_ms"] / 1000
    say(f"{chat.status} {between} {seconds:.1f} s {by} {told}")
    if chat.status == "succeeded":
        say_text(chat.body["answer"])
    else:
        say(f"{chat.body['error']['code']}: {chat.body['error']['detail']}", err=True)


@click.command(name="chats")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_chats(limit: int, as_json: bool) -> None:
    """List chats, newest first; what was asked and answered is not shown."""
    with runtime() as parts, parts.database.transaction(OPERATOR) as connection:
        found = read.newest(connection, OPERATOR, limit=limit, before=None)
    if as_json:
        echo_json([chat.body for chat in found])
        return
    listed = table("chat", "created (UTC)", "status", "model", "instead of", "attempts", "seconds", "cause")
    for chat in found:
        body, model = chat.body, chat.body["model"]
        total = body["timings"]["total_ms"]
        instead = f"{model['requested']} ({model['reason']})" if model["fallback"] else ""
        cause = body["error"]["code"] if "error" in body else ""
        if body.get("waiting_for") == "upstream":
            cause = "waits for MatchaAI"
        listed.add_row(body["id"], short(body["created_at"]), chat.status, model["key"], instead,
                       str(body["attempts"]), "-" if total is None else f"{total / 1000:.1f}", cause)  # fmt: skip
    console().print(listed)
