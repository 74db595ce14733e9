"""Between OpenAI's bodies and ours. Pure."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from shared.chat.read import Snapshot
from shared.chat.requests import Question, Turn
from worker.web.openai.bodies import ChatCompletionBody, Message, OpenAIModel
from worker.web.openai.errors import invalid
from worker.web.openai.response_bodies import ResponseBody

PIECE_CHARS = 2000
"""Of an answer in one chunk: some clients bound the length of a line."""
MAX_NAMED = 20
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_TO_THE_SYSTEM = ("system", "developer")
_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def question_of(body: ChatCompletionBody) -> Question:
    """What is asked. Raises Problem that names the field."""
    messages = [(message.role, _text_of(message, f"messages[{place}]")) for place, message in enumerate(body.messages)]
    role, question = messages[-1]
    last = f"messages[{len(messages) - 1}]"
    if role != "user":
        raise invalid(f"{last}.role", "the last message must be the user's")
    if not question.strip():
        raise invalid(f"{last}.content", "must not be empty")
    system = [text for role, text in messages if role in _TO_THE_SYSTEM]
    return Question(
        question=question,
        model=None if body.models else body.model,
        models=body.models,
        fallback=bool(body.fallback),
        systemPrompt="\n\n".join(system) if system else None,
        history=tuple(Turn(role=role, content=text) for role, text in messages[:-1] if role not in _TO_THE_SYSTEM),
    )


def _text_of(message: Message, path: str) -> str:
    if isinstance(message.content, str):
        return message.content
    if message.content is None and message.role != "assistant":
        raise invalid(f"{path}.content", "is missing", "missing_required_parameter")
    return "\n".join(part.text for part in message.content or ())


def ignored(body: OpenAIModel, query: Iterable[str] = ()) -> str:
    """The names of the parameters, of the body and the query, that were given and change nothing, for a header."""
    given = {**(body.model_extra or {}), **dict.fromkeys(query, "")}
    if isinstance(body, ResponseBody) and body.store is False:  # a response is always stored
        given["store"] = False
    given |= {f"text.{name}": value for name, value in (getattr(body, "text", None) or {}).items() if name != "format"}
    names = (name for name, value in given.items() if value is not None)
    return ", ".join([name for name in names if _NAME.fullmatch(name)][:MAX_NAMED])


def headers_of(snapshot: Snapshot) -> dict[str, str]:
    """What the headers of an answer say about its chat."""
    model = snapshot.body["model"]
    headers = {"x-llm-refresh-chat-id": str(snapshot.chat_id)}
    if model["fallback"]:
        headers["x-llm-refresh-requested-model"] = quote(model["requested"] or "", safe=_VISIBLE)
        headers["x-llm-refresh-fallback-reason"] = model["reason"]
    return headers


def completion_id(chat_id: uuid.UUID) -> str:
    """The id of a completion is its chat's."""
    return f"chatcmpl-{chat_id.hex}"


def completion(snapshot: Snapshot) -> dict[str, Any]:
    """A chat that was answered, as one object."""
    message = {"role": "assistant", "content": snapshot.body["answer"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _object(snapshot, "chat.completion", choice)


def chunk(snapshot: Snapshot, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
    """A piece of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return data_line(_object(snapshot, "chat.completion.chunk", choice))


def data_line(value: object) -> bytes:
    """An event as OpenAI's decoders take it: never with an id, which makes an event of each later comment."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def answer_chunks(snapshot: Snapshot) -> Iterator[bytes]:
    """The whole of an answer, to the end of its stream."""
    for piece in pieces(snapshot.body["answer"]):
        yield chunk(snapshot, {"content": piece})
    yield chunk(snapshot, {}, "stop")
    yield b"data: [DONE]\n\n"


def pieces(text: str) -> Iterable[str]:
    """An answer in parts that depend on nothing but the answer."""
    return (text[place : place + PIECE_CHARS] for place in range(0, len(text), PIECE_CHARS))


def _object(snapshot: Snapshot, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": completion_id(snapshot.chat_id),
        "object": kind,
        "created": int(snapshot.body["created_at"].timestamp()),
        "model": snapshot.body["model"]["key"],
        "choices": [choice],
    }
