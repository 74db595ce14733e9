"""Limits of callers: what PostgreSQL says when one of them asks for one more chat (`llm_admit_chat`, migration 0022).

Rows are counted, and nothing else: a refusal spends nothing, and no memory that is wiped locks anybody out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.settings import MAX_INTEGER, Settings
from shared.vocabulary import CallerLimit

WINDOW_SECONDS: Final = 60.0
"""Chats of so long before count against `per_minute`."""
OPEN_RETRY_SECONDS: Final = 5.0
"""When to try again where too many chats are open: the end of one is not known before."""


@dataclass(frozen=True, slots=True)
class CallerDefaults:
    """The limits of callers without limits of their own. `per_minute` None: any number."""

    max_open: int = MAX_INTEGER
    per_minute: int | None = None


NO_CALLER_LIMITS: Final = CallerDefaults()


def caller_defaults_of(settings: Settings) -> CallerDefaults:
    """The limits that the settings give to callers."""
    return CallerDefaults(settings.caller_max_open, settings.caller_requests_per_minute)


@dataclass(frozen=True, slots=True)
class RequestAllowance:
    """What a caller may still ask: `remaining` of `allowed`, by the limit that is told; all again in `reset_seconds`.

    The limit is that of a minute where there is one, else that of open chats.
    """

    limit: CallerLimit
    allowed: int
    remaining: int
    reset_seconds: float


class CallerOverLimit(Exception):
    """A caller has as much as its limit allows. `retry_seconds`: when the next chat may be admitted."""

    def __init__(self, allowance: RequestAllowance, retry_seconds: float) -> None:
        super().__init__(describe_allowance(allowance))
        self.allowance = allowance
        self.retry_seconds = retry_seconds

    @property
    def retry_after(self) -> int:
        """The header's whole seconds."""
        return max(1, math.ceil(self.retry_seconds))


class ExclusiveLockNeeded(Exception):
    """The caller is near a limit: the chat has to be admitted while no other one of the caller's is."""


def describe_allowance(allowance: RequestAllowance) -> str:
    """Why a chat is refused, for its caller."""
    if allowance.limit == "max_open":
        return f"at most {allowance.allowed} chats of yours may be open at once; wait for one to end, or cancel one"
    return f"you have asked {allowance.allowed} times within a minute, which is your limit"


def allowance_of(row: Mapping[Any, Any]) -> RequestAllowance:
    """What `llm_admit_chat` answered. Raises CallerOverLimit, and ExclusiveLockNeeded."""
    decision = row["decision"]
    if decision == "alone":
        raise ExclusiveLockNeeded
    if decision == "max_open":
        raise CallerOverLimit(RequestAllowance("max_open", row["max_open"], 0, OPEN_RETRY_SECONDS), OPEN_RETRY_SECONDS)
    if decision == "per_minute":
        raise CallerOverLimit(
            RequestAllowance("per_minute", row["per_minute"], 0, row["reset_seconds"]), row["retry_seconds"]
        )
    if row["per_minute"] is not None:
        return RequestAllowance(
            "per_minute", row["per_minute"], row["per_minute"] - row["asked_now"] - 1, WINDOW_SECONDS
        )
    return RequestAllowance("max_open", row["max_open"], row["max_open"] - row["open_now"] - 1, OPEN_RETRY_SECONDS)
