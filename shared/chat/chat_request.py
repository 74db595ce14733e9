"""A question as it came in, and the chat that it became."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.chat.admission import RequestAllowance
from shared.chat.read import Snapshot
from shared.chat.requests import Question
from shared.db import Caller

Place = Literal["free", "busy", "full"]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A question as it came in. `joins`: which of its caller's chats of the same question it means, if one is there:
    one that was given up and has not ended, or, when it is sent again, any that is open or was answered. `response`:
    what the row of one of /v1/responses keeps beside the question.
    """

    question: Question
    caller: Caller
    request_id: str | None
    idempotency_key: str | None
    joins: Literal["none", "given_up", "any"] = "none"
    response: Mapping[str, Any] | None = None

    @property
    def sha256(self) -> str:
        """Of all that was asked: the question, and what makes it a response."""
        if self.response is None:
            return self.question.sha256
        response_text = json.dumps(self.response, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(f"{self.question.sha256} {response_text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AcceptedChat:
    """A chat that is committed; `new` is false when it was there: by its idempotency key, or because it was joined.

    `resends`: how often the question has come again. Only who came last may give the chat up. `place`: `free` where
    the chat has one already, so that its message is to be sent; `busy` where a place may be free and others wait or are
    given places just now, so that somebody is to take a turn (`shared.chat.dispatch`); `full` where it waits.
    `allowance`: what its caller may ask beside a new chat.
    """

    snapshot: Snapshot
    new: bool
    resends: int = 0
    place: Place = "full"
    allowance: RequestAllowance | None = None
