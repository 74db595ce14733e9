"""What the stand-in answers to each request: the two routes of MatchaAI, and `/_sandbox` to steer and watch it.

| route | does |
|---|---|
| GET, PUT /_sandbox/behaviour | `Behaviours`: how to answer from now on; what is left out answers well |
| GET, PUT /_sandbox/models | the list, any JSON list: broken entries are part of the game |
| GET, DELETE /_sandbox/calls | counts and the recorded requests; forget them |

All of it asks for the same key.
"""

import gzip
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError

from worker.local.stand_in.behaviour import Behaviour, Behaviours, completion_answer

PREFIX = "/rest/api/v1"
RECORDED = 20_000  # requests; older ones are forgotten, the counts stay
ECHOED = 200  # characters of the question that an answer repeats
ABOVE_THE_QUESTION = "\n\nThe next question:\n\n"  # so a prompt with a history is written
PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head>"
    b"<body><h1>Sign in</h1><p>A page of llm-refresh sandbox, a stand-in for MatchaAI.</p></body></html>\n"
)
MARKDOWN = """

# A sample of Markdown

You asked for **Markdown**, so here is *some of it*:

1. a list with `code`
2. and a [link](https://example.com/)
   - and a list in it

| element | shown as |
|:--------|---------:|
| table   | a table  |

```python
print("with a button that copies this")
```

> No model wrote this. <b>Raw HTML</b> is shown as it is.
"""


@dataclass(slots=True)
class StandInRequest:
    """A whole request as it came, and on which connection; header names in lower case."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class StandInReply:
    """What to send, and how badly."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    huge: int | None = None
    silent: bool = False
    reset: str | None = None
    no_length: bool = False
    drip: str | None = None
    drip_seconds: float = 1.0


class StandIn:
    """The state of the stand-in and its answers. Calls itself a stand-in in each of them."""

    def __init__(self, *, api_key: str, models: Sequence[object], delay: float) -> None:
        self._api_key = api_key.encode()
        self._list_these(models)
        self._delay = delay
        self._behaviours = Behaviours()
        self._requests: deque[dict[str, object]] = deque(maxlen=RECORDED)
        self._counts = {"llms": 0, "completions": 0, "other": 0}
        self._open_calls = 0
        self._open_completions = 0
        self._most_open = 0
        self.closed_by_client = 0

    def begin(self, request: StandInRequest) -> None:
        """A request has come."""
        self._open_calls += 1
        if _is_completion(request):
            self._open_completions += 1
            self._most_open = max(self._most_open, self._open_completions)

    def end(self, request: StandInRequest) -> None:
        """It has been answered, or its client is gone."""
        self._open_calls -= 1
        self._open_completions -= _is_completion(request)

    def answer(self, request: StandInRequest) -> StandInReply:
        """The reply to one request."""
        url = urlsplit(request.target)
        key = request.headers.get("matcha-api-key")
        right = key is not None and hmac.compare_digest(key.encode(errors="replace"), self._api_key)
        if url.path.startswith("/_sandbox/"):
            return self._steer(request, url.path) if right else _error(401, "Wrong or no MATCHA-API-KEY.")
        body = _json_or_none(request.body)
        self._record(request, url.path, "right" if right else "none" if key is None else "wrong", body)
        if not right:
            return _error(401, "Wrong or no MATCHA-API-KEY.")
        if (request.method, url.path) == ("GET", f"{PREFIX}/llms"):
            return self._list(parse_qs(url.query))
        if (request.method, url.path) == ("POST", f"{PREFIX}/completions"):
            return self._complete(body)
        return _error(404, "No such path.")

    def _list_these(self, models: Sequence[object]) -> None:
        self._models = list(models)
        self._names = {
            each["id"]: each.get("name") for each in models if isinstance(each, dict) and _is_id(each.get("id"))
        }

    def _record(self, request: StandInRequest, path: str, key: str, body: object) -> None:
        route = path.removeprefix(f"{PREFIX}/")
        self._counts[route if route in self._counts else "other"] += 1
        self._requests.append(
            {
                "at": time.monotonic(),
                "connection": request.connection,
                "method": request.method,
                "target": request.target,
                "headers": {name: value for name, value in request.headers.items() if name != "matcha-api-key"},
                "key": key,
                "body": body,
                "llm_id": _asked_model(body),
            }
        )

    def _list(self, query: dict[str, list[str]]) -> StandInReply:
        behaviour = self._behaviours.for_list()
        fields = query["select"][0].split(",") if "select" in query else None
        entries = [
            {name: entry[name] for name in fields if name in entry} if fields and isinstance(entry, dict) else entry
            for entry in ([] if behaviour.empty else self._models)
        ]
        return _misbehave(behaviour, {behaviour.wrapped: entries} if behaviour.wrapped else entries, 0.0)

    def _complete(self, body: object) -> StandInReply:
        if not isinstance(body, dict):
            return _error(400, "The body is no JSON object.")
        mission, prompt = body.get("mission_id"), body.get("input")
        if not (isinstance(mission, int) or (isinstance(mission, str) and mission.isdigit())):
            return _error(400, "Property mission_id must be an integer.")
        if not isinstance(prompt, str) or not prompt:
            return _error(400, "Property input must be a text.")
        field = "llm_id" if "llm_id" in body else "options.responseLLM"
        llm_id = None if field == self._behaviours.ignores else _asked_model(body)
        if llm_id is None:  # then the mission's own model answers, and nobody is told
            llm_id = next(iter(self._names), None)
        if llm_id is None or llm_id not in self._names:
            return _error(404, "Unknown llm_id.")
        behaviour = self._behaviours.for_completion(llm_id, prompt)
        question = prompt.rpartition(ABOVE_THE_QUESTION)[2]
        text = (
            f"[stand-in for MatchaAI] model {self._names[llm_id]} ({llm_id}) answers: you asked “{question[-ECHOED:]}” "
            f"(input of {len(prompt)} characters, sha256 {hashlib.sha256(prompt.encode(errors='replace')).hexdigest()})"
        )
        if "markdown" in prompt.rpartition("\n")[2].lower():  # in the question: what came before stands above it
            text += MARKDOWN
        text = text.ljust(behaviour.padded or 0, behaviour.padding)
        return _misbehave(behaviour, completion_answer(behaviour.shape, text, behaviour.error), self._delay)

    def _steer(self, request: StandInRequest, path: str) -> StandInReply:
        method, body = request.method, _json_or_none(request.body)
        match (method, path):
            case ("PUT", "/_sandbox/behaviour"):
                try:
                    self._behaviours = Behaviours.model_validate(body)
                except ValidationError as error:
                    return _error(422, str(error))
                return _ok(self._behaviours.model_dump())
            case ("GET", "/_sandbox/behaviour"):
                return _ok(self._behaviours.model_dump())
            case ("PUT", "/_sandbox/models"):
                if not isinstance(body, list):
                    return _error(422, "The models must be a list.")
                self._list_these(body)
                return _ok(self._models)
            case ("GET", "/_sandbox/models"):
                return _ok(self._models)
            case ("DELETE", "/_sandbox/calls"):
                self._requests.clear()
                self._counts = dict.fromkeys(self._counts, 0)
                self._most_open = self._open_completions
                self.closed_by_client = 0
                return _ok({})
            case ("GET", "/_sandbox/calls"):
                return _ok(
                    {
                        **self._counts,
                        "open": self._open_calls - 1,  # without this very call
                        "most_open": self._most_open,
                        "closed_by_client": self.closed_by_client,
                        "requests": list(self._requests),
                    }
                )
        return _error(404, "No such path.")


def _misbehave(behaviour: Behaviour, good: object, delay: float) -> StandInReply:
    status = behaviour.status or (302 if behaviour.redirect else 200)
    if behaviour.html:
        body, content_type = PAGE, "text/html; charset=utf-8"
    elif status >= 300:
        body = _encoded({"status": "error", "error": behaviour.error or f"The stand-in was told to answer {status}."})
        content_type = "application/json"
    else:
        body, content_type = _encoded(good), "application/json"
    if status in (204, 304):
        body = b""  # these have none
    elif behaviour.body is not None:
        body = behaviour.body.encode(errors="replace")
    if behaviour.truncated:
        body = body[: len(body) // 2]
    headers = dict(behaviour.headers)
    if behaviour.gzip:
        body = gzip.compress(b" " * behaviour.huge if behaviour.huge else body, mtime=0)
        headers["Content-Encoding"] = "gzip"
    if behaviour.retry_after is not None:
        headers["Retry-After"] = behaviour.retry_after
    if behaviour.redirect is not None:
        headers["Location"] = behaviour.redirect
    return StandInReply(
        status,
        body,
        behaviour.content_type or content_type,
        headers,
        delay=delay if behaviour.delay is None else behaviour.delay,
        huge=None if behaviour.gzip else behaviour.huge,
        silent=behaviour.silent,
        reset=behaviour.reset,
        no_length=behaviour.no_length,
        drip=behaviour.drip,
        drip_seconds=behaviour.drip_seconds,
    )


def _asked_model(body: object) -> int | None:
    """The model that a completion's body asks for, in either of the two forms."""
    if not isinstance(body, dict):
        return None
    options = body.get("options")
    llm_id = body.get("llm_id", options.get("responseLLM") if isinstance(options, dict) else None)
    return llm_id if _is_id(llm_id) else None


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _json_or_none(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def _ok(value: object) -> StandInReply:
    return StandInReply(200, _encoded(value))


def _error(status: int, words: str) -> StandInReply:
    return StandInReply(status, _encoded({"status": "error", "error": words}))


def _is_completion(request: StandInRequest) -> bool:
    return request.method == "POST" and urlsplit(request.target).path == f"{PREFIX}/completions"
