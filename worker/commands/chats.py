"""Commands of chats: ask and wait, show, cancel, and list."""

from __future__ import annotations

import sys
import time
import uuid
from datetime import datetime

import click
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from shared.catalogue.resolve import NoModel
from shared.chat import lifecycle, read
from shared.chat.chat_request import AcceptedChat, ChatRequest
from shared.chat.open_chats import TooManyOpen
from shared.chat.read import Snapshot
from shared.chat.requests import Question
from shared.clock import new_id
from shared.db import Caller
from shared.field_errors import first_fault
from shared.vocabulary import CHAT_STATUSES
from worker.celery_app import make_celery
from worker.chat.gateway import missing_configuration
from worker.commands.context import actor, console, echo_json, json_option, open_runtime, say, say_text, short, table
from worker.commands.entry import GOOD, NOT_GOOD, fail
from worker.commands.timestamps import Moment
from worker.messages import send_chat
from worker.runtime import Runtime

POLL_SECONDS = 0.2
OPERATOR = Caller("service_role", "cli")


class ChatCommands(click.Group):
    """`chat QUESTION` asks; `chat show ID` and `chat cancel ID` are commands of their own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in ("-h", "--help", *self.commands):
            args = ["ask", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ChatCommands)
def chat() -> None:
    """Ask a model: `chat "Which?"`, `chat -` for a question from standard input; or look at a chat, or cancel it.

    A question that is one of the words below goes behind `ask --`.
    """


@chat.command()
@click.argument("question")
@click.option("--model", help="A model_key; the default model without.")
@click.option("--system", "system_prompt", help="A system prompt.")
@json_option
def ask(question: str, model: str | None, system_prompt: str | None, as_json: bool) -> None:
    """Ask a model and wait for its answer; Ctrl-C cancels. Exit 1 when there is none.

    QUESTION is a text, or - for standard input (UTF-8).
    """
    try:
        request = Question(question=_read(question), model=model, systemPrompt=system_prompt)
    except ValidationError as error:
        raise click.UsageError(first_fault(error)) from None
    with open_runtime() as runtime:
        accepted = _accept(runtime, request)
        try:
            if accepted.place == "free":
                _send(runtime, accepted.snapshot)
            snapshot = _wait_for_end(runtime, accepted.snapshot)
        except KeyboardInterrupt:
            snapshot = _cancel(runtime, accepted.snapshot.chat_id)
    if as_json:
        echo_json(snapshot.body)
    else:
        _print(snapshot, err=True)
    sys.exit(GOOD if snapshot.status == "succeeded" else NOT_GOOD)


@chat.command()
@click.argument("chat_id", metavar="ID", type=click.UUID)
@json_option
def show(chat_id: uuid.UUID, as_json: bool) -> None:
    """Show one chat: whose it is, its model, how it ended, and its answer."""
    with open_runtime() as runtime:
        chat = _find(runtime, chat_id)
        with runtime.database.transaction(OPERATOR) as connection:
            cause = read.read_cause(connection, chat_id)
    if chat.subject != OPERATOR.subject:
        read.log_read_by_another(chat, Caller("service_role", actor()))
    if as_json:
        echo_json({**chat.body, "caller": chat.subject, "cause": cause})
        return
    say(f"chat {chat.chat_id} of {chat.subject}, created {short(chat.body['created_at'])} (UTC)")
    if chat.ended:
        _print(chat, err=False)
    else:
        waiting = f", waits for {chat.body['waiting_for']}" if chat.body.get("waiting_for") else ""
        say(f"{chat.status}: {_model(chat)}{waiting}, attempts: {chat.body['attempts']}")
    if cause is not None:
        say(f"cause: {cause}")


@chat.command()
@click.argument("chat_id", metavar="ID", type=click.UUID)
@json_option
def cancel(chat_id: uuid.UUID, as_json: bool) -> None:
    """End an open chat at once. Exit 1 when it had ended otherwise before."""
    with open_runtime() as runtime:
        before = _find(runtime, chat_id, content="none")
        chat = before if before.ended else _cancel(runtime, chat_id)
    if as_json:
        echo_json({**chat.body, "caller": chat.subject})
    else:
        say(f"chat {chat_id}: {'had ended before, ' if before.ended else ''}{chat.status}")
    sys.exit(GOOD if chat.status == "cancelled" else NOT_GOOD)


def _read(question: str) -> str:
    if question != "-":
        return question
    try:
        text = sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8") from None
    if not text.strip():
        raise click.UsageError("standard input holds no question")
    return text


def _accept(runtime: Runtime, question: Question) -> AcceptedChat:
    missing = missing_configuration(runtime.settings)
    if missing is not None:
        fail(f"{missing.code}: {missing.advice}")
    if question.characters > runtime.settings.chat_max_chars:
        raise click.UsageError(f"question and system prompt may hold {runtime.settings.chat_max_chars} characters")
    try:
        return runtime.submitter.submit(ChatRequest(question, OPERATOR, str(new_id()), None))
    except (NoModel, TooManyOpen) as error:
        raise click.ClickException(str(error)) from None


def _send(runtime: Runtime, snapshot: Snapshot) -> None:
    try:
        app = make_celery(runtime.settings, socket_timeout_seconds=2)
        send_chat(app, snapshot.chat_id, task_id=str(snapshot.chat_id), request_id=None)
    except (OperationalError, OSError):
        click.echo("llm-refresh: Redis takes no message; a worker finds the question by itself", err=True)


def _wait_for_end(runtime: Runtime, snapshot: Snapshot) -> Snapshot:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=None)
        while not snapshot.ended:
            model = snapshot.body["model"]
            progress.update(task, description=f"{snapshot.status}: {model['name']} (Ctrl-C cancels)")
            time.sleep(POLL_SECONDS)
            snapshot = _find(runtime, snapshot.chat_id)
    return snapshot


def _cancel(runtime: Runtime, chat_id: uuid.UUID) -> Snapshot:
    with runtime.database.transaction() as connection:
        lifecycle.cancel(connection, chat_id, OPERATOR)
    runtime.notifier.notify([chat_id])
    return _find(runtime, chat_id)


def _find(runtime: Runtime, chat_id: uuid.UUID, *, content: read.Content = "answer") -> Snapshot:
    with runtime.database.transaction(OPERATOR) as connection:
        snapshot = read.find(connection, chat_id, content=content)
    if snapshot is None:
        raise click.ClickException(f"there is no chat {chat_id}: `llm-refresh chats` lists them")
    return snapshot


def _model(chat: Snapshot) -> str:
    model = chat.body["model"]
    text = f"{model['name']} (ID: {model['matcha_llm_id']}, Key: {model['key']})"
    return text + (f", instead of {model['requested']}: {model['reason']}" if model["fallback"] else "")


def _print(chat: Snapshot, *, err: bool) -> None:
    model = _model(chat)
    between = "in" if chat.status == "succeeded" else "after"
    by = "by" if chat.status == "succeeded" else "of"
    seconds = chat.body["timings"]["total_ms"] / 1000
    say(f"{chat.status} {between} {seconds:.1f} s {by} {model}")
    if chat.status == "succeeded" and "erased_at" in chat.body:
        say(f"its content was erased at {short(chat.body['erased_at'])} (UTC)")
    elif chat.status == "succeeded":
        say_text(chat.body["answer"])
    else:
        say(f"{chat.body['error']['code']}: {chat.body['error']['detail']}", err=err)


@click.command(name="chats")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(CHAT_STATUSES),
    help="Only with this status; may be repeated.",
)
@click.option("--model", help="Only of this model_key, whether it was asked for or answered.")
@click.option("--caller", "subject", help="Only of this caller (the token's sub).")
@click.option("--since", type=Moment(), help="Only made since: 2026-03-01, 90m, 6h, 3d.")
@click.option("--until", type=Moment(), help="Only made before.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_chats(
    statuses: tuple[str, ...],
    model: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List chats, newest first; what was asked and answered is not shown."""
    chat_filter = read.ChatFilter(statuses, model, subject, since, until)
    with open_runtime() as runtime, runtime.database.transaction(OPERATOR) as connection:
        rows = read.newest(connection, OPERATOR, limit=limit + 1, before=None, chat_filter=chat_filter)
    page = rows[:limit]
    if as_json:
        echo_json([{**chat.body, "caller": chat.subject} for chat in page])
        return
    if not page:
        say("no chat fits")
        return
    grid = table("chat", "created (UTC)", "caller", "status", "model", "instead of", "attempts", "seconds", "cause")
    for chat in page:
        grid.add_row(*_cells(chat))
    console().print(grid)
    if len(rows) > limit:
        say("older chats are left out: --limit shows more, --status, --model, --caller, --since and --until choose")


def _cells(chat: Snapshot) -> tuple[str, ...]:
    body, model = chat.body, chat.body["model"]
    total = body["timings"]["total_ms"]
    instead = f"{model['requested']} ({model['reason']})" if model["fallback"] else ""
    cause = body["error"]["code"] if "error" in body else ""
    if body.get("waiting_for") == "upstream":
        cause = "waits for MatchaAI"
    seconds = "-" if total is None else f"{total / 1000:.1f}"
    return (
        body["id"],
        short(body["created_at"]),
        chat.subject,
        chat.status,
        model["key"],
        instead,
        str(body["attempts"]),
        seconds,
        cause,
    )
