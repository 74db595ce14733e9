"""`/v1/responses`: a chat with an id to come back with, in one piece, in the background, or as a stream to resume."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from flask import Response, request

from shared.chat import erasure, lifecycle, read
from shared.chat.chat_request import AcceptedChat
from shared.chat.read import Snapshot, StoredResponse
from shared.chat.requests import Question
from shared.db import Caller, DatabaseFailure
from worker.messages import Publisher
from worker.runtime import Runtime
from worker.web.asking import accept_question, idempotency_key, rate_headers
from worker.web.bodies import NoQuery
from worker.web.openai import response_bodies as bodies
from worker.web.openai import response_wire as wire
from worker.web.openai.bodies import OpenAIQuery
from worker.web.openai.errors import error_of, invalid, problem_of_chat
from worker.web.openai.waiting import (
    CLIENT_GONE,
    COMMENT,
    COMMENT_SECONDS,
    CallerDisconnected,
    WaitingCaller,
    database_unavailable,
    is_resent,
)
from worker.web.openai.wire import data_line, headers_of, ignored
from worker.web.problems import Problem
from worker.web.readers import Readers, Watch
from worker.web.routing import CALLERS, AnyRequest, ApiRequest, PlainRequest, Route, as_json, event_stream

PATH = "/v1/responses"


@dataclass(frozen=True)
class ResponseRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime
    publisher: Publisher
    readers: Readers

    def routes(self) -> list[Route]:
        one = f"{PATH}/{{response_id}}"
        returns: dict[int, Any] = {200: bodies.ResponseObject}
        return [
            Route(
                "POST",
                PATH,
                self.create,
                "Ask a model; in the background, as a stream, or until it has ended",
                roles=CALLERS,
                body=bodies.ResponseBody,
                query=OpenAIQuery,
                returns=returns,
                headers={
                    "Idempotency-Key": "The same key and body: the same response. 1 to 255 visible characters",
                    "x-stainless-retry-count": "Above 0, as SDKs send it: joins the same question's response",
                },
            ),
            Route(
                "GET",
                one,
                self.show,
                "One response; stream=true: its events, from any number on",
                roles=CALLERS,
                query=bodies.ResponseQuery,
                returns=returns,
            ),
            Route(
                "DELETE",
                one,
                self.delete,
                "Cancel a response where it is open, and take its content away",
                roles=CALLERS,
                query=OpenAIQuery,
                returns={200: bodies.DeletedResponse},
            ),
            Route(
                "POST",
                f"{one}/cancel",
                self.cancel,
                "End a response at once; one that has ended stays",
                roles=CALLERS,
                query=OpenAIQuery,
                returns=returns,
            ),
            Route(
                "GET",
                f"{one}/input_items",
                self.list_input,
                "What was put in with a response",
                roles=CALLERS,
                query=bodies.ItemsQuery,
                returns={200: bodies.InputItems},
            ),
        ]

    def create(self, call: ApiRequest[bodies.ResponseBody, NoQuery]) -> Response:
        body = call.body
        question, options = wire.question_of(body, self._previous(call.caller, body.previous_response_id))
        if self.readers.full:
            raise Problem(503, "too_many_readers", "too many callers wait for answers here; try again")
        accepted = self._accept(call, question, options)
        chat_id = accepted.snapshot.chat_id
        headers = rate_headers(accepted.allowance)
        headers |= {"x-llm-refresh-ignored": names} if (names := ignored(body, request.args)) else {}
        waiting = WaitingCaller(
            self.runtime,
            chat_id,
            call.caller,
            resends=accepted.resends,
            can_return=bool(body.background or body.store) or idempotency_key() is not None,
        )
        with ExitStack() as ending:
            watch = ending.enter_context(self.readers.watching(chat_id, only_end=not body.stream))
            self.publisher.chat(accepted, request_id=call.request_id)
            first = waiting.begin(watch, accepted)
            if body.stream:
                return self._stream(waiting, watch, first, options, ending, headers=headers)
            snapshot = first if body.background else waiting.until_ended(watch, first)
        if snapshot is None:
            return Response(status=CLIENT_GONE)
        headers |= headers_of(snapshot)
        if snapshot.ended and snapshot.status != "succeeded" and not body.background:
            problem = problem_of_chat(snapshot)
            problem.headers.update(headers)
            raise _about_input(problem)
        return as_json(wire.response_object(snapshot, options), headers=headers)

    def _accept(self, call: AnyRequest, question: Question, options: Mapping[str, Any]) -> AcceptedChat:
        joins: Literal["given_up", "any"] = "any" if is_resent() else "given_up"
        try:
            return accept_question(self.runtime, question, call, joins=joins, response=options)
        except Problem as problem:
            raise _about_input(problem) from None

    def show(self, call: ApiRequest[None, bodies.ResponseQuery]) -> Response:
        query = call.query
        if not query.stream:
            response = self._find(call)
            return as_json(
                wire.response_object(response.snapshot, response.options), headers=headers_of(response.snapshot)
            )
        if self.readers.full:
            raise Problem(503, "too_many_readers", "too many callers wait for answers here; try again")
        first = 0 if query.starting_after is None else query.starting_after + 1
        chat_id = wire.chat_id_of(call.path["response_id"])
        if chat_id is None:
            raise _no_response(call.path["response_id"])
        with ExitStack() as ending:
            watch = ending.enter_context(self.readers.watching(chat_id))
            response = self._find(call)
            watch.mark_seen(response.snapshot)
            last = wire.last_number(response.snapshot, response.options)
            if first > last + 1:  # no end would ever follow it
                detail = f"the last event of this response has the number {last}"
                if not response.snapshot.ended:
                    detail = f"this response is open: no event has a number above {last} yet"
                raise invalid("starting_after", detail)
            waiting = WaitingCaller(self.runtime, chat_id, call.caller, can_return=True)
            return self._stream(waiting, watch, response.snapshot, response.options, ending, first=first)

    def cancel(self, call: PlainRequest) -> Response:
        response = self._find(call)
        self._cancel(response, call.caller)
        response = self._find(call)
        return as_json(wire.response_object(response.snapshot, response.options), headers=headers_of(response.snapshot))

    def delete(self, call: PlainRequest) -> Response:
        response = self._find(call)
        self._cancel(response, call.caller)
        erasure.erase_chat(self.runtime.database, response.snapshot.chat_id, call.caller)
        return as_json({"id": wire.response_id(response.snapshot.chat_id), "object": "response", "deleted": True})

    def list_input(self, call: ApiRequest[None, bodies.ItemsQuery]) -> Response:
        query = call.query
        items = wire.input_items(self._find(call))
        if query.order == "desc":
            items.reverse()
        if query.after is not None:
            place = next((place for place, item in enumerate(items) if item["id"] == query.after), None)
            if place is None:
                raise invalid("after", "no item of this response has this id")
            items = items[place + 1 :]
        page = items[: query.limit]
        return as_json(
            {
                "object": "list",
                "data": page,
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
                "has_more": len(page) < len(items),
            }
        )

    def _previous(self, caller: Caller, response_id: str | None) -> StoredResponse | None:
        if response_id is None:
            return None
        chat_id = wire.chat_id_of(response_id)
        previous = None
        if chat_id is not None:
            with self.runtime.database.transaction(caller) as connection:
                previous = read.find_response(connection, chat_id, caller.subject)
        if previous is None:
            detail = "you have no response with this id"
            raise invalid("previous_response_id", detail, "previous_response_not_found")
        if previous.snapshot.status != "succeeded":
            status = wire.STATUS[previous.snapshot.status]
            raise invalid("previous_response_id", f"that response has no answer: it is {status}")
        return previous

    def _find(self, call: AnyRequest) -> StoredResponse:
        response_id = call.path["response_id"]
        chat_id = wire.chat_id_of(response_id)
        response = None
        if chat_id is not None:
            with self.runtime.database.transaction(call.caller) as connection:
                response = read.find_response(connection, chat_id, call.caller.subject)
        if response is None:
            raise _no_response(response_id)
        return response

    def _cancel(self, response: StoredResponse, caller: Caller) -> None:
        with self.runtime.database.transaction() as connection:
            cancelled = lifecycle.cancel(connection, response.snapshot.chat_id, caller)
        if cancelled:
            self.runtime.notifier.notify([response.snapshot.chat_id])

    def _stream(
        self,
        waiting: WaitingCaller,
        watch: Watch,
        snapshot: Snapshot,
        options: Mapping[str, Any],
        ending: ExitStack,
        *,
        first: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        ending.callback(waiting.leave)
        events = _events(waiting, watch, snapshot, options, first)
        return event_stream(events, ending, {**(headers or {}), **headers_of(snapshot)})


def _events(
    waiting: WaitingCaller, watch: Watch, snapshot: Snapshot, options: Mapping[str, Any], first: int
) -> Iterator[bytes]:
    """What follows of a response's events, from the number `first` on, to its end."""
    last_comment = time.monotonic()
    try:
        yield COMMENT  # the headers go with it: there may be no event for a while
        while True:
            for number, event in wire.encoded_events(snapshot, options, first):
                first = number + 1
                last_comment = time.monotonic()
                yield event
            if snapshot.ended:
                return
            snapshot = waiting.news(watch) or snapshot
            if time.monotonic() >= last_comment + COMMENT_SECONDS:
                last_comment = time.monotonic()
                yield COMMENT
    except CallerDisconnected:
        return
    except Problem as late:
        problem = late
    except DatabaseFailure:
        problem = database_unavailable()
    yield data_line({"error": error_of(problem)})


def _about_input(problem: Problem) -> Problem:
    """What is too long here is the field `input`."""
    if problem.code == "prompt_too_long":
        problem.param = "input"
    return problem


def _no_response(response_id: str) -> Problem:
    return Problem(404, "not_found", f"you have no response with the id {response_id[:64]!r}", param="response_id")
