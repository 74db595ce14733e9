"""`POST /v1/chat/completions`: asks as the native route does, and waits for the end, in one piece or as a stream."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import structlog
from flask import Response, request

from shared.chat import lifecycle, read
from shared.chat.accept import AcceptedChat
from shared.chat.read import Snapshot
from shared.db import DatabaseFailure
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web.asking import accept_question, idempotency_key
from worker.web.openai import wire
from worker.web.openai.bodies import ChatCompletion, ChatCompletionBody
from worker.web.openai.connection import connection_watch
from worker.web.openai.errors import error_of, problem_of_chat
from worker.web.problems import Problem
from worker.web.readers import Readers, Watch
from worker.web.routing import CALLERS, ApiRequest, Route, as_json

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often it is looked whether the caller is still there."""
COMMENT_SECONDS = 5.0
EMPTY_CHUNK_SECONDS = 15.0
"""Some clients count only data as a sign of life."""
GIVE_UP_SECONDS = 60.0
"""So long after its caller has gone a chat is cancelled."""
LATE_SECONDS = 30.0
"""A chat that has not ended so long after its deadline is one that PostgreSQL cannot tell about."""
CLIENT_GONE = 499
"""The status in the log of a request whose caller closed the connection; nobody receives it."""


@dataclass(frozen=True)
class CompletionRoutes:
    """The handler, with what it works with."""

    parts: Runtime
    publisher: Publisher
    readers: Readers

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v1/chat/completions",
                self.create,
                "Ask a model, in OpenAI's form, until it has ended",
                roles=CALLERS,
                body=ChatCompletionBody,
                returns={200: ChatCompletion},
                headers={
                    "Idempotency-Key": "The same key and body: the same chat. 1 to 255 visible characters",
                    "x-stainless-retry-count": "Above 0, as SDKs send it: joins the chat of the same question",
                },
            ),
        ]

    def create(self, call: ApiRequest) -> Response:
        body: ChatCompletionBody = call.body
        question = wire.question_of(body)
        if self.readers.full:
            raise Problem(503, "too_many_readers", "too many callers wait for answers here; try again")
        accepted = accept_question(self.parts, question, call, joins="any" if _is_resent() else "given_up")
        can_return = idempotency_key() is not None or bool(body.store)
        waiting = _Waiting(self.parts, accepted, call, can_return, connection_watch(request.environ))
        headers = {"x-llm-refresh-ignored": names} if (names := wire.ignored(body)) else {}
        with ExitStack() as ending:
            watch = ending.enter_context(self.readers.watching(accepted.snapshot.chat_id))
            if accepted.new:
                self.publisher.chat(accepted.snapshot.chat_id, request_id=call.request_id)
            first = accepted.snapshot if accepted.new else waiting.look_up()
            watch.mark_seen(first)
            if not body.stream:
                return _in_one_piece(waiting.until_ended(watch, first), headers)
            response = Response(_stream(waiting, watch, first), content_type="text/event-stream")
            response.headers.extend({**headers, **wire.headers_of(first), "Cache-Control": "no-store"})
            response.headers["X-Accel-Buffering"] = "no"  # nginx would collect events
            ending.callback(waiting.leave)
            response.call_on_close(ending.pop_all().close)  # also when nothing was ever read of it
            return response


class _Waiting:
    """A caller who waits for the end of a chat, and who may go before."""

    def __init__(
        self, parts: Runtime, accepted: AcceptedChat, call: ApiRequest, can_return: bool, has_gone: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._accepted = accepted
        self._call = call
        self._can_return = can_return
        self._has_gone = has_gone
        self._ends_at = time.monotonic() + parts.settings.chat_deadline_seconds + LATE_SECONDS

    @property
    def chat_id(self) -> uuid.UUID:
        return self._accepted.snapshot.chat_id

    def look_up(self) -> Snapshot:
        """The chat as it is now. Raises what `Database.transaction` raises."""
        with self._parts.database.transaction(self._call.caller) as connection:
            snapshot = read.find(connection, self.chat_id)
        if snapshot is None:
            raise Problem(404, "not_found", "there is no such chat of yours")
        return snapshot

    def news(self, watch: Watch, seconds: float) -> Snapshot | None:
        """The next snapshot; None where there is none in so many seconds. Raises _CallerGone and Problem."""
        snapshot = watch.wait(seconds)
        if snapshot is not None:
            return snapshot
        if self._has_gone():
            raise _CallerGone
        if time.monotonic() >= self._ends_at:
            late = self.look_up()
            if late.ended:
                return late
            raise Problem(503, "no_end", "the chat should have ended; ask for it again")
        return None

    def until_ended(self, watch: Watch, snapshot: Snapshot) -> Snapshot | None:
        """The chat when it has ended; None where its caller has gone."""
        try:
            while not snapshot.ended:
                snapshot = self.news(watch, LOOK_SECONDS) or snapshot
        except _CallerGone:
            self.leave()
            return None
        return snapshot

    def leave(self) -> None:
        """The connection has ended. An open chat that its caller cannot come back for is cancelled soon."""
        if self._can_return:
            return
        try:
            with self._parts.database.transaction() as connection:
                lifecycle.give_up(connection, self.chat_id, resends=self._accepted.resends, seconds=GIVE_UP_SECONDS)
        except DatabaseFailure as error:  # then it is answered, and nobody reads it
            log.warning(
                "llm_web.not_given_up",
                message="A chat without a caller goes on",
                chat_id=str(self.chat_id),
                error=str(error),
            )


class _CallerGone(Exception):
    """The caller has closed its connection."""


def _in_one_piece(snapshot: Snapshot | None, headers: dict[str, str]) -> Response:
    if snapshot is None:
        return Response(status=CLIENT_GONE)
    headers = headers | wire.headers_of(snapshot)
    if snapshot.status == "succeeded":
        return as_json(wire.completion(snapshot), headers=headers)
    problem = problem_of_chat(snapshot)
    problem.headers.update(headers)
    raise problem


def _stream(waiting: _Waiting, watch: Watch, snapshot: Snapshot) -> Iterator[bytes]:
    """The role at once, signs of life, then the answer or an error."""
    yield wire.chunk(snapshot, {"role": "assistant", "content": ""})
    commented = chunked = time.monotonic()
    try:
        while not snapshot.ended:
            snapshot = waiting.news(watch, LOOK_SECONDS) or snapshot
            now = time.monotonic()
            if not snapshot.ended and now >= chunked + EMPTY_CHUNK_SECONDS:
                commented = chunked = now
                yield wire.chunk(snapshot, {})
            elif not snapshot.ended and now >= commented + COMMENT_SECONDS:
                commented = now
                yield b": still here\n\n"
        problem = None if snapshot.status == "succeeded" else problem_of_chat(snapshot)
    except _CallerGone:
        return
    except Problem as late:
        problem = late
    except DatabaseFailure:
        problem = Problem(503, "database_unavailable", "PostgreSQL cannot be reached at the moment; try again")
    if problem is not None:
        yield wire.data_line({"error": error_of(problem)})
    else:
        yield from wire.answer_chunks(snapshot)


def _is_resent() -> bool:
    """Whether an SDK says that it sends this again: it got no answer before."""
    count = request.headers.get("x-stainless-retry-count", "")
    return count.isascii() and count.isdigit() and int(count[:9]) > 0
