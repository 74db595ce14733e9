"""Between /v1/responses and a chat's row. Pure: events and their numbers depend on nothing but the row."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from shared.chat.read import Snapshot, StoredResponse
from shared.chat.requests import MAX_TURNS, Question, Turn
from worker.web.openai.errors import invalid
from worker.web.openai.response_bodies import ResponseBody
from worker.web.openai.wire import pieces

RoleAndText = tuple[str, str]
"""A role and a text."""
_TO_THE_SYSTEM = ("system", "developer")
STATUS = {
    "queued": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "failed",
}
"""A chat's status -> its response's"""
_LAST_WHILE_OPEN = 2
"""The number of `response.in_progress`. What waits again after a lost worker may have had it, and no later one."""
_ERRORS = {"rate_limited": "rate_limit_exceeded", "prompt_too_long": "invalid_prompt"}


def question_of(body: ResponseBody, previous: StoredResponse | None) -> tuple[Question, dict[str, Any]]:
    """What is asked, and what a row keeps of the response beside it. Raises Problem that names the field."""
    own = _said(body)
    role, question = own[-1]
    where = "input" if isinstance(body.input, str) else f"input[{len(own) - 1}]"
    if role != "user":
        raise invalid(f"{where}.role", "the last message must be the user's")
    if not question.strip():
        raise invalid(where if isinstance(body.input, str) else f"{where}.content", "must not be empty")
    system = [turn for turn in own if turn[0] in _TO_THE_SYSTEM]
    turns = [turn for turn in own[:-1] if turn[0] not in _TO_THE_SYSTEM]
    before = _turns_of(previous) if previous is not None else []
    if len(before) + len(turns) > MAX_TURNS:
        raise invalid("previous_response_id" if before else "input", f"a conversation may hold {MAX_TURNS} turns")
    system_before = _system_of(previous) if previous is not None else []
    instructions = [body.instructions] if body.instructions is not None else []
    prompt = [*instructions, *(text for _, text in (*system_before, *system))]
    options = {
        "background": bool(body.background),
        "instructions": body.instructions,
        "metadata": body.metadata or {},
        "previous": None if previous is None else str(previous.snapshot.chat_id),
        "system": [*system_before, *system],
        "inherited": [len(system_before), len(before)],
    }
    return Question(
        question=question,
        model=None if body.models else body.model,
        models=body.models,
        fallback=bool(body.fallback),
        systemPrompt="\n\n".join(prompt) if prompt else None,
        history=tuple(Turn(role=role, content=text) for role, text in (*before, *turns)),
    ), options


def _said(body: ResponseBody) -> list[RoleAndText]:
    if isinstance(body.input, str):
        return [("user", body.input)]
    return [
        (
            message.role,
            message.content if isinstance(message.content, str) else "\n".join(part.text for part in message.content),
        )
        for message in body.input
    ]


def _turns_of(response: StoredResponse) -> list[RoleAndText]:
    """All turns of a response, its answer the last."""
    history = [(turn["role"], turn["content"]) for turn in response.prompt["history"]]
    return [*history, ("user", response.prompt["question"]), ("assistant", response.snapshot.body["answer"])]


def _system_of(response: StoredResponse) -> list[RoleAndText]:
    return [(role, text) for role, text in response.options["system"]]


def response_id(chat_id: uuid.UUID) -> str:
    """The id of a response is its chat's."""
    return f"resp_{chat_id.hex}"


def chat_id_of(text: str) -> uuid.UUID | None:
    """The chat that an id of a response means; None where it is no such id."""
    prefix, _, number = text.partition("_")
    if prefix != "resp" or len(number) != 32 or any(each not in "0123456789abcdef" for each in number):
        return None
    return uuid.UUID(number)


def response_object(snapshot: Snapshot, options: Mapping[str, Any], *, status: str | None = None) -> dict[str, Any]:
    """A response as one object; `status` shows it as it was before."""
    response_status = status or STATUS[snapshot.status]
    return {
        "id": response_id(snapshot.chat_id),
        "object": "response",
        "created_at": int(snapshot.body["created_at"].timestamp()),
        "status": response_status,
        "background": options["background"],
        "model": snapshot.body["model"]["key"],
        "output": [_item(snapshot, "completed", snapshot.body["answer"])] if response_status == "completed" else [],
        "error": _error(snapshot) if response_status == "failed" else None,
        "incomplete_details": None,
        "instructions": options["instructions"],
        "metadata": options["metadata"],
        "previous_response_id": None if options["previous"] is None else response_id(uuid.UUID(options["previous"])),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": None,
        "top_p": None,
        "usage": None,
    }


def events_of(snapshot: Snapshot, options: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a response so far, in order: each one's place is its sequence_number."""
    yield "response.created", {"response": response_object(snapshot, options, status="queued")}
    yield "response.queued", {"response": response_object(snapshot, options, status="queued")}
    if snapshot.status == "queued":
        return
    yield "response.in_progress", {"response": response_object(snapshot, options, status="in_progress")}
    if not snapshot.ended:
        return
    if snapshot.status != "succeeded":
        yield "response.failed", {"response": response_object(snapshot, options)}
        return
    answer = snapshot.body["answer"]
    place = {"item_id": _message_id(snapshot), "output_index": 0, "content_index": 0}
    yield "response.output_item.added", {"output_index": 0, "item": _item(snapshot, "in_progress", None)}
    yield "response.content_part.added", {**place, "part": _part("")}
    for piece in pieces(answer):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": answer, "logprobs": []}
    yield "response.content_part.done", {**place, "part": _part(answer)}
    yield "response.output_item.done", {"output_index": 0, "item": _item(snapshot, "completed", answer)}
    yield "response.completed", {"response": response_object(snapshot, options)}


def last_number(snapshot: Snapshot, options: Mapping[str, Any]) -> int:
    """The highest sequence_number that a reader of this response can have by now."""
    return sum(1 for _ in events_of(snapshot, options)) - 1 if snapshot.ended else _LAST_WHILE_OPEN


def encoded_events(snapshot: Snapshot, options: Mapping[str, Any], first: int) -> Iterator[tuple[int, bytes]]:
    """The events from this number on, with their numbers, as they go out."""
    for number, (kind, members) in islice(enumerate(events_of(snapshot, options)), first, None):
        data = json.dumps(
            {"type": kind, "sequence_number": number, **members}, ensure_ascii=False, separators=(",", ":")
        )
        yield number, f"event: {kind}\ndata: {data}\n\n".encode()


def input_items(response: StoredResponse) -> list[dict[str, Any]]:
    """What was put in with this response itself, the oldest first; messages to the system come first."""
    system, turns = response.options["inherited"]
    own: Sequence[RoleAndText] = [
        *_system_of(response)[system:],
        *((turn["role"], turn["content"]) for turn in response.prompt["history"][turns:]),
        ("user", response.prompt["question"]),
    ]
    return [_input_item(response.snapshot.chat_id, place, turn) for place, turn in enumerate(own)]


def _input_item(chat_id: uuid.UUID, place: int, turn: RoleAndText) -> dict[str, Any]:
    role, text = turn
    part = _part(text) if role == "assistant" else {"type": "input_text", "text": text}
    return {
        "id": f"msg_{uuid.uuid5(chat_id, f'input {place}').hex}",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": [part],
    }


def _item(snapshot: Snapshot, status: str, text: str | None) -> dict[str, Any]:
    return {
        "type": "message",
        "id": _message_id(snapshot),
        "role": "assistant",
        "status": status,
        "content": [] if text is None else [_part(text)],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message_id(snapshot: Snapshot) -> str:
    return f"msg_{snapshot.chat_id.hex}"


def _error(snapshot: Snapshot) -> dict[str, str]:
    error = snapshot.body["error"]
    return {"code": _ERRORS.get(error["code"], "server_error"), "message": f"{error['code']}: {error['detail']}"}
