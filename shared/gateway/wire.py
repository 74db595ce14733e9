"""MatchaAI's requests and answers as pure functions over bytes. Source of every fact: the wire notes of its users.

Nothing here raises anything but `GatewayError` for what an upstream sends, whatever the bytes are.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

from shared.gateway.errors import GatewayError
from shared.gateway.refusals import refusal, rejection
from shared.vocabulary import ModelField

LIST_PATH = "/llms?select=id,name,allowed_file_input_mime_types"
COMPLETIONS_PATH = "/completions"
DOCUMENTED_PLACE = "output[].content[].text"

_EMPTY = "an empty body"
_CUT_SHORT = "JSON that was cut short"
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text takes neither NUL nor half a surrogate pair
_GOOD_STATUSES = ("success", "succeeded", "ok", "completed", "complete")
_WRAPPERS = ("data", "llms", "models", "items", "results", "result", "output", "value", "list")
_REASONS = ("error", "errors", "message", "detail", "details", "reason", "title", "code", "type")


def completion_body(*, llm_id: int, prompt: str, mission_id: int, model_field: ModelField) -> bytes:
    """The JSON body of a completion, with exactly the fields of the form that `model_field` names.

    Raises GatewayError (upstream_rejected) when the prompt is no Unicode text: it holds half a surrogate pair.
    """
    model: dict[str, object] = {"llm_id": llm_id} if model_field == "llm_id" else {"options": {"responseLLM": llm_id}}
    body = {"mission_id": mission_id, **model, "input": prompt}
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        pass  # raised below: an exception from here would carry the prompt as its context
    detail = "The prompt was not sent: it holds half a surrogate pair, which is no text. Remove it."
    raise GatewayError("upstream_rejected", detail, permanent=True)


def render_prompt(system_prompt: str | None, history: Iterable[tuple[str, str]], question: str) -> str:
    """`<system prompt>\\n\\n<question>`, with the (role, content) turns of `history` between the two, in order."""
    turns = [f"{role.strip().capitalize() or 'User'}: {content}" for role, content in history]
    parts = [system_prompt] if system_prompt and system_prompt.strip() else []
    if turns:
        parts += ["The conversation so far:", *turns, "The next question:"]
    return "\n\n".join([*parts, question])


def read_list(
    status: int, content_type: str, body: bytes, *, where: str = "GET /llms", retry_after_seconds: float | None = None
) -> tuple[object, ...]:
    """The entries of a list answer as JSON gave them, not looked into. An empty list is an answer too.

    Raises GatewayError: what `refusals` says, upstream_unavailable for half an answer or none, upstream_not_json, or
    upstream_shape for anything but a bare list. A list
    wrapped in an object is refused as well: half of one (a page of many) would look the same.
    """
    value = _answer(status, content_type, body, where, False, retry_after_seconds)
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict) and (_failed(value) or value.get("error")):
        raise rejection(f"{where} answered HTTP {status} with an error", _words(value), status, False)
    raise _unexpected_shape(f"{where} answered {_shape(value)} where a bare list of models belongs.", status)


def read_completion(
    status: int,
    content_type: str,
    body: bytes,
    *,
    where: str = "POST /completions",
    retry_after_seconds: float | None = None,
) -> str:
    """The text of a completion, in whichever of the known shapes it came.

    NUL and half surrogate pairs become U+FFFD. Raises GatewayError: what `refusals` says, upstream_unavailable for half
    an answer or none, upstream_not_json, or upstream_shape when no text is found or it is blank.
    """
    value = _answer(status, content_type, body, where, True, retry_after_seconds)
    if not isinstance(value, dict):
        raise _unexpected_shape(f"{where} answered {_shape(value)} where an object with the answer belongs.", status)
    text = "" if _failed(value) else next((text for _, text in _texts(value) if text.strip()), "")
    if text:
        return _UNSTORABLE.sub("\ufffd", text)
    if _failed(value) or value.get("error"):
        raise rejection(f"{where} answered HTTP {status} with an error", _words(value), status, True)
    raise _unexpected_shape(f"{where} answered an object without any answer text in a known place.", status)


def answer_place(body: bytes) -> str | None:
    """Where in a completion's answer its text stands; None when in none of the known places, or in a failure."""
    value, _ = _parse(body)
    if not isinstance(value, dict) or _failed(value):
        return None
    return next((place for place, text in _texts(value) if text.strip()), None)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or an HTTP date; None when absent or unreadable."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
        return float(value.strip())
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def _answer(
    status: int, content_type: str, body: bytes, where: str, completing: bool, retry_after_seconds: float | None
) -> object:
    value, fault = _parse(body)
    words = _words(value) if not fault else body[:8000].decode(errors="replace")
    no = refusal(
        status, content_type, body, words, where=where, completing=completing, retry_after_seconds=retry_after_seconds
    )
    if no is not None:
        raise no
    if fault in (_EMPTY, _CUT_SHORT):  # without a Content-Length the end of a broken connection looks like any other
        detail = f"{where} answered HTTP {status} with {fault}: the connection broke off. Try again later."
        raise GatewayError("upstream_unavailable", detail, False, status, retry_after_seconds, trips_circuit=True)
    if fault:
        detail = f"{where} answered HTTP {status} with {fault}. Try again; if it stays, check MATCHAAI_BASE_URL."
        raise GatewayError("upstream_not_json", detail, permanent=True, http_status=status)
    return value


def _parse(body: bytes) -> tuple[object, str]:
    """The JSON value and "", or None and what is wrong. Never an exception: those of json carry the whole body."""
    if not body.strip():
        return None, _EMPTY
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite), ""
    except RecursionError:
        return None, "JSON that is nested too deep"
    except ValueError as error:
        wrong = "a body that is not UTF-8" if isinstance(error, UnicodeDecodeError) else "a body that is not JSON"
    return None, _CUT_SHORT if _is_cut_short(body) else wrong


def _is_cut_short(body: bytes) -> bool:
    """Whether this begins an object or a list and does not end it."""
    text = body.decode("utf-8-sig", errors="replace").lstrip()
    if not text.startswith(("{", "[")):
        return False
    rest = _STRING.sub("", text)
    return '"' in rest or sum(map(rest.count, "{[")) > sum(map(rest.count, "}]"))


def _no_number(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are no JSON


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _failed(value: dict[str, object]) -> bool:
    """Whether the answer calls itself a failure: an error with no status or with another than success."""
    status = value.get("status")
    good = isinstance(status, str) and status.strip().lower() in _GOOD_STATUSES
    bad = isinstance(status, str) and status.strip().lower() in ("error", "failed", "failure", "fail")
    return bad or (bool(value.get("error")) and not good)


def _texts(value: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Each place where the answer's text was seen, with the text that stands there; the documented one first."""
    output = value.get("output")
    if isinstance(output, str):
        yield "output", output
    else:
        yield DOCUMENTED_PLACE, _output_text(output)
    yield "output[0].message.content", _message_text(output)
    yield "choices[0].message.content", _message_text(value.get("choices"))
    for name in ("response", "text"):
        text = value.get(name)
        yield name, text if isinstance(text, str) else ""


def _output_text(output: object) -> str:
    """All `output_text` items of all messages of `output`, in order."""
    messages = output if isinstance(output, list) else [output]
    items: list[object] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        items += content if isinstance(content, list) else [message if content is None else content]
    return _joined(items)


def _message_text(messages: object) -> str:
    """`messages[0].message.content`: a string, or a list of parts."""
    first = messages[0] if isinstance(messages, list) and messages else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return _joined(content if isinstance(content, list) else [content])


def _joined(items: Sequence[object]) -> str:
    """The texts of content items: the `output_text` ones if there are any, else plain ones; never reasoning."""
    typed = [(item.get("type"), item.get("text")) if isinstance(item, dict) else (None, item) for item in items]
    texts = [(kind, text) for kind, text in typed if isinstance(text, str)]
    documented = [text for kind, text in texts if kind == "output_text"]
    return "".join(documented or [text for kind, text in texts if kind is None or kind == "text"])


def _words(value: object, depth: int = 3) -> str:
    """What the answer gives as its reason, for matching only."""
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return " ; ".join(_words(each, depth - 1) for each in value[:20])
    if depth and isinstance(value, dict):
        return " ; ".join(_words(value[name], depth - 1) for name in _REASONS if name in value)
    return ""


def _shape(value: object) -> str:
    """A value's shape in words that hold nothing of it but known names."""
    if isinstance(value, dict):
        wrapper = next((name for name in _WRAPPERS if isinstance(value.get(name), list)), None)
        return f"an object with a list under '{wrapper}'" if wrapper else "an object"
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _unexpected_shape(detail: str, status: int) -> GatewayError:
    return GatewayError("upstream_shape", f"{detail} The gateway may have changed.", permanent=True, http_status=status)
