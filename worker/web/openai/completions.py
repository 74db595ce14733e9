"""`POST /v1/chat/completions`: asks as the native route does, and waits for the end, in one piece or as a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from flask import Response, request

from shared.chat.read import Snapshot
from shared.db import DatabaseFailure
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web.asking import accept_question, idempotency_key, rate_headers
from worker.web.bodies import NoQuery
from worker.web.openai import wire
from worker.web.openai.bodies import ChatCompletion, ChatCompletionBody, OpenAIQuery
from worker.web.openai.errors import error_of, problem_of_chat
from worker.web.openai.waiting import (
    CLIENT_GONE,
    COMMENT,
    COMMENT_SECONDS,
    CallerDisconnected,
    WaitingCaller,
    database_unavailable,
    is_resent,
)
from worker.web.problems import Problem
from worker.web.readers import Readers, Watch
from worker.web.routing import CALLERS, ApiRequest, Route, as_json, event_stream

EMPTY_CHUNK_SECONDS = 15.0
"""Some clients count only data as a sign of life."""


@dataclass(frozen=True)
class CompletionRoutes:
    """The handler, with what it works with."""

    runtime: Runtime
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
                query=OpenAIQuery,
                returns={200: ChatCompletion},
                headers={
                    "Idempotency-Key": "The same key and body: the same chat. 1 to 255 visible characters",
                    "x-stainless-retry-count": "Above 0, as SDKs send it: joins the chat of the same question",
                },
            ),
        ]

    def create(self, call: ApiRequest[ChatCompletionBody, NoQuery]) -> Response:
        body = call.body
        question = wire.question_of(body)
        if self.readers.full:
            raise Problem(503, "too_many_readers", "too many callers wait for answers here; try again")
        accepted = accept_question(self.runtime, question, call, joins="any" if is_resent() else "given_up")
        can_return = idempotency_key() is not None or bool(body.store)
        chat_id = accepted.snapshot.chat_id
        waiting = WaitingCaller(self.runtime, chat_id, call.caller, resends=accepted.resends, can_return=can_return)
        headers = rate_headers(accepted.allowance)
        headers |= {"x-llm-refresh-ignored": names} if (names := wire.ignored(body, request.args)) else {}
        with ExitStack() as ending:
            watch = ending.enter_context(self.readers.watching(chat_id, only_end=True))
            self.publisher.chat(accepted, request_id=call.request_id)
            first = waiting.begin(watch, accepted)
            if not body.stream:
                return _in_one_piece(waiting.until_ended(watch, first), headers)
            ending.callback(waiting.leave)
            return event_stream(_stream(waiting, watch, first), ending, {**headers, **wire.headers_of(first)})


def _in_one_piece(snapshot: Snapshot | None, headers: dict[str, str]) -> Response:
    if snapshot is None:
        return Response(status=CLIENT_GONE)
    headers = headers | wire.headers_of(snapshot)
    if snapshot.status == "succeeded":
        return as_json(wire.completion(snapshot), headers=headers)
    problem = problem_of_chat(snapshot)
    problem.headers.update(headers)
    raise problem


def _stream(waiting: WaitingCaller, watch: Watch, snapshot: Snapshot) -> Iterator[bytes]:
    """The role at once, signs of life, then the answer or an error."""
    yield wire.chunk(snapshot, {"role": "assistant", "content": ""})
    last_comment = chunked = time.monotonic()
    try:
        while not snapshot.ended:
            snapshot = waiting.news(watch) or snapshot
            now = time.monotonic()
            if not snapshot.ended and now >= chunked + EMPTY_CHUNK_SECONDS:
                last_comment = chunked = now
                yield wire.chunk(snapshot, {})
            elif not snapshot.ended and now >= last_comment + COMMENT_SECONDS:
                last_comment = now
                yield COMMENT
        problem = None if snapshot.status == "succeeded" else problem_of_chat(snapshot)
    except CallerDisconnected:
        return
    except Problem as late:
        problem = late
    except DatabaseFailure:
        problem = database_unavailable()
    if problem is not None:
        yield wire.data_line({"error": error_of(problem)})
    else:
        yield from wire.answer_chunks(snapshot)
