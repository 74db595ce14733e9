"""Routes of chats: ask, read, list, cancel, follow; and the usage of models."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Response, request

from shared.chat import erasure, lifecycle, read, usage
from shared.chat.chat_request import AcceptedChat
from shared.chat.read import Snapshot
from shared.csv_report import as_csv
from shared.db import Caller, Database, DatabaseFailure, DatabaseUnavailable
from shared.vocabulary import UsageBy
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web import chat_bodies as bodies
from worker.web.asking import accept_question, rate_headers
from worker.web.bodies import NoQuery
from worker.web.problems import Problem
from worker.web.queue_positions import QueuePositions
from worker.web.readers import Readers, Watch
from worker.web.routing import (
    CALLERS,
    READERS,
    SERVICE,
    AnyRequest,
    ApiRequest,
    PlainRequest,
    Route,
    as_json,
    event_stream,
    forbidden,
    json_value,
)

log = structlog.get_logger(__name__)

MAX_WAIT_SECONDS = 25.0
"""Platforms in front cut requests at about 26 s."""
COMMENT_SECONDS = 5.0
STATEMENT_TIMEOUT = "57014"
_EVENTS = {"queued": "status", "running": "status", "succeeded": "answer"}


@dataclass(frozen=True)
class ChatRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime
    publisher: Publisher
    readers: Readers
    positions: QueuePositions

    def routes(self) -> list[Route]:
        chat = {200: bodies.Chat}
        return [
            Route(
                "POST",
                "/api/chasen/chat",
                self.ask,
                "Ask a model; the answer is read at the chat's own address",
                roles=CALLERS,
                body=bodies.ChatBody,
                returns={200: bodies.Chat, 202: bodies.Chat},
                headers={
                    "Idempotency-Key": "The same key and body: the same chat. 1 to 255 visible characters",
                    "Prefer": "wait=N: answer when the chat has ended, or after N seconds (25 at most)",
                },
            ),
            Route(
                "GET",
                "/api/chats",
                self.list_chats,
                "Chats that the caller may see, newest first, without content",
                query=bodies.ChatsQuery,
                returns={200: bodies.ChatsBody},
            ),
            Route("GET", "/api/chats/{chat_id}", self.show, "One chat", query=bodies.ChatQuery, returns=chat),
            Route(
                "DELETE",
                "/api/chats/{chat_id}",
                self.cancel,
                "End a chat at once, or erase one that has ended",
                roles=CALLERS,
                query=bodies.CancelQuery,
                returns=chat,
            ),
            Route(
                "DELETE",
                "/api/callers/{subject}/chats",
                self.erase_caller,
                "Cancel the open chats of a caller, then erase the content of all of them",
                roles=SERVICE,
                returns={200: bodies.Erased},
            ),
            Route(
                "GET",
                "/api/chats/{chat_id}/events",
                self.follow,
                "A chat's states and its end, as they come",
                roles=CALLERS,
                returns={200: None, 204: None},
                media_type="text/event-stream",
                headers={"Last-Event-ID": "The last version that the reader has seen"},
            ),
            Route(
                "GET",
                "/api/llms/usage",
                self.usage,
                "How often each model was used",
                query=bodies.UsageQuery,
                returns={200: bodies.UsageBody},
            ),
        ]

    def ask(self, call: ApiRequest[bodies.ChatBody, NoQuery]) -> Response:
        question = call.body
        accepted = accept_question(self.runtime, question, call)
        wait = min(call.wait_seconds or 0.0, MAX_WAIT_SECONDS)
        snapshot = (
            self._send(accepted, call) if wait <= 0 or self.readers.full else self._send_and_wait(accepted, call, wait)
        )
        if accepted.place == "full":
            snapshot = self.positions.with_position(snapshot)  # one that has a place is not looked up again
        links = _links(snapshot)
        headers = {"Location": links["self"], **rate_headers(accepted.allowance)}
        return as_json(shown_chat(snapshot, call.caller), 200 if snapshot.ended else 202, headers)

    def _send(self, accepted: AcceptedChat, call: AnyRequest) -> Snapshot:
        self.publisher.chat(accepted, request_id=call.request_id)
        return accepted.snapshot

    def _send_and_wait(self, accepted: AcceptedChat, call: AnyRequest, seconds: float) -> Snapshot:
        deadline = time.monotonic() + seconds
        chat_id = accepted.snapshot.chat_id
        with self.readers.watching(chat_id, only_end=True) as watch:
            self._send(accepted, call)
            snapshot = accepted.snapshot if accepted.new else self._reread(accepted.snapshot, call.caller)
            watch.mark_seen(snapshot)
            while not snapshot.ended and time.monotonic() < deadline and not watch.stopping.begun:
                snapshot = watch.wait(deadline - time.monotonic()) or snapshot
        return snapshot if snapshot.ended else self._reread(snapshot, call.caller)

    def _reread(self, snapshot: Snapshot, caller: Caller) -> Snapshot:
        """The chat may have ended while no wake-up came through; what was accepted stays accepted in any case."""
        try:
            return find_chat(self.runtime.database, snapshot.chat_id, caller)
        except DatabaseFailure as error:
            log.warning("llm_web.not_looked_up", message="PostgreSQL went away during a wait", error=str(error))
            return snapshot

    def list_chats(self, call: ApiRequest[None, bodies.ChatsQuery]) -> Response:
        query = call.query
        statuses = () if query.status is None else tuple(query.status.split(","))
        chat_filter = read.ChatFilter(statuses, query.model, query.caller, query.since, query.until)
        try:
            with self.runtime.database.transaction(call.caller) as connection:
                snapshots = read.newest(
                    connection, call.caller, limit=query.limit, before=query.before, chat_filter=chat_filter
                )
        except DatabaseUnavailable as error:
            if error.sqlstate != STATEMENT_TIMEOUT or chat_filter == read.ChatFilter():
                raise
            detail = "too many chats to look through in time: name a caller, or a shorter time by since and until"
            raise Problem(503, "search_too_long", detail) from None
        return as_json({"chats": [shown_chat(snapshot, call.caller) for snapshot in snapshots]})

    def show(self, call: ApiRequest[None, bodies.ChatQuery]) -> Response:
        caller, asked_for = call.caller, call.query.content
        if asked_for and caller.role not in CALLERS:
            raise forbidden(caller, what="more than read a chat without its content")
        content: read.Content = "all" if asked_for else "answer"
        if asked_for is False or caller.role not in CALLERS:
            content = "none"
        if call.query.cause and caller.role not in READERS:
            raise forbidden(caller, READERS, what="more than read a chat without the cause for operators")
        chat_id = chat_id_of(call.path["chat_id"])
        snapshot = self.positions.with_position(find_chat(self.runtime.database, chat_id, caller, content))
        body = shown_chat(snapshot, caller) | dict(snapshot.prompt or {})
        if call.query.cause:
            with self.runtime.database.transaction(caller) as connection:
                body["cause"] = read.read_cause(connection, chat_id)
        return as_json(body)

    def cancel(self, call: ApiRequest[None, bodies.CancelQuery]) -> Response:
        chat_id = chat_id_of(call.path["chat_id"])
        if call.query.erase:
            return self._erase(chat_id, call.caller)
        with self.runtime.database.transaction() as connection:
            cancelled = lifecycle.cancel(connection, chat_id, call.caller)
        if cancelled:
            self.runtime.notifier.notify([chat_id])
        return as_json(shown_chat(find_chat(self.runtime.database, chat_id, call.caller), call.caller))

    def _erase(self, chat_id: uuid.UUID, caller: Caller) -> Response:
        match erasure.erase_chat(self.runtime.database, chat_id, caller):
            case "absent":
                raise _no_chat()
            case "open":
                detail = "the chat is open: DELETE it without erase, which cancels it, and then erase it"
                raise Problem(409, "chat_open", detail)
        snapshot = find_chat(self.runtime.database, chat_id, caller, "none")
        log.info(
            "llm_chat.erased",
            message="The content of a chat was erased",
            chat_id=str(chat_id),
            owner=snapshot.subject,
            subject=caller.subject,
            role=caller.role,
        )
        return as_json(shown_chat(snapshot, caller))

    def erase_caller(self, call: PlainRequest) -> Response:
        result = erasure.erase_caller(self.runtime.database, call.path["subject"], actor=call.caller.subject)
        self.runtime.notifier.notify(result.cancelled)
        erasure.log_erasure(result, actor=call.caller.subject, role=call.caller.role)
        return as_json({"subject": result.subject, "erased": result.erased, "cancelled": len(result.cancelled)})

    def follow(self, call: PlainRequest) -> Response:
        chat_id, last_version = chat_id_of(call.path["chat_id"]), _last_event_id()
        if self.readers.full:
            raise Problem(503, "too_many_readers", "too many readers follow chats here; ask for the chat itself")
        with ExitStack() as ending:
            watch = ending.enter_context(self.readers.watching(chat_id))
            snapshot = find_chat(self.runtime.database, chat_id, call.caller)
            if snapshot.ended and last_version >= snapshot.version:
                return Response(status=204)
            return event_stream(_events(snapshot, watch, last_version, self.positions), ending)

    def usage(self, call: ApiRequest[None, bodies.UsageQuery]) -> Response:
        query = call.query
        wants_csv = query.format == "csv" or (query.format is None and _prefers_csv())
        by: UsageBy | None = "model" if wants_csv and query.by is None else query.by
        with self.runtime.database.transaction(call.caller) as connection:
            if by is None:
                return as_json({"usage": usage.by_model(connection, days=query.days)})
            lines = usage.summed(connection, by, days=query.days, caller=call.caller)
        if not wants_csv:
            return as_json({"usage": lines})
        response = Response(as_csv(usage.line_columns(by), lines), content_type="text/csv; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="usage-by-{by}.csv"'
        response.headers["Cache-Control"] = "no-store"
        return response


def find_chat(database: Database, chat_id: uuid.UUID, caller: Caller, content: read.Content = "answer") -> Snapshot:
    """A chat that this caller may see; reading another's content is logged. Raises Problem 404."""
    with database.transaction(caller) as connection:
        snapshot = read.find(connection, chat_id, content=content)
    if snapshot is None:
        raise _no_chat()
    if content != "none" and snapshot.subject != caller.subject:
        read.log_read_by_another(snapshot, caller)
    return snapshot


def _prefers_csv() -> bool:
    """Whether the caller names CSV, and likes it better than JSON."""
    accepted = request.accept_mimetypes
    return "text/csv" in accepted.values() and accepted["text/csv"] > accepted["application/json"]


def shown_chat(snapshot: Snapshot, caller: Caller | None = None) -> dict[str, Any]:
    """A chat as the API shows it to this caller."""
    body = {**snapshot.body, "links": _links(snapshot)}
    if caller is not None and caller.role in READERS:
        body |= {"caller": snapshot.subject, "request_id": snapshot.request_id}
    return body


def _links(snapshot: Snapshot) -> dict[str, str]:
    address = f"/api/chats/{snapshot.chat_id}"
    return {"self": address, "events": f"{address}/events", "task": f"/api/tasks/{snapshot.chat_id}"}


def _events(current: Snapshot, watch: Watch, last_version: int, positions: QueuePositions) -> Iterator[bytes]:
    """Comments and events of one reader, who has the version `seen`; ends after the chat's last event.

    While the chat waits, its standing is told again with the version that it has.
    """
    watch.mark_seen(current)
    yield b": here\n\n"
    snapshot: Snapshot | None = current
    while True:
        if snapshot is None:
            yield b": still here\n\n"
            snapshot = positions.with_new_position(current)
        if snapshot is not None:
            if snapshot is not current or snapshot.version > last_version:
                current = positions.with_position(snapshot)
                yield _event(current)
            if snapshot.ended:
                return
        if watch.stopping.begun:  # the reader comes again, with the last id, and finds another process
            return
        snapshot = watch.wait(COMMENT_SECONDS)


def _event(snapshot: Snapshot) -> bytes:
    kind = _EVENTS.get(snapshot.status, "error") if "erased_at" not in snapshot.body else "status"
    data = json.dumps(shown_chat(snapshot), ensure_ascii=False, separators=(",", ":"), default=json_value)
    return f"id: {snapshot.version}\nevent: {kind}\ndata: {data}\n\n".encode()


def _last_event_id() -> int:
    header = request.headers.get("Last-Event-ID", "")
    return int(header) if header.isascii() and header.isdigit() and len(header) < 19 else 0


def chat_id_of(text: str) -> uuid.UUID:
    """The id in a path. Raises Problem 404 where it is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise _no_chat() from None


def _no_chat() -> Problem:
    return Problem(404, "not_found", "there is no such chat of yours: /api/chats lists them")
