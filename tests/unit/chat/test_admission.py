"""What PostgreSQL says of a caller's limits, as callers read it."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chat.admission import CallerOverLimit, ExclusiveLockNeeded, RequestAllowance, allowance_of
from worker.web.asking import rate_headers

ADMITTED = {"decision": "admitted", "max_open": 10, "open_now": 3, "per_minute": None, "asked_now": None,
            "retry_seconds": None, "reset_seconds": None}  # fmt: skip


def answered(**more: Any) -> Any:
    return ADMITTED | more


def test_the_limit_of_a_minute_is_told_where_there_is_one_and_else_that_of_open_chats() -> None:
    assert (allowance_of(answered()).limit, allowance_of(answered()).remaining) == ("max_open", 6)
    rate = allowance_of(answered(per_minute=5, asked_now=4, reset_seconds=3.0))
    assert (rate.limit, rate.allowed, rate.remaining, rate.reset_seconds) == ("per_minute", 5, 0, 60.0)


def test_a_refusal_says_which_limit_and_when() -> None:
    with pytest.raises(CallerOverLimit, match="at most 10 chats of yours may be open at once") as opened:
        allowance_of(answered(decision="max_open", open_now=10))
    assert (opened.value.allowance.limit, opened.value.retry_after) == ("max_open", 5)
    refusal = answered(decision="per_minute", per_minute=2, asked_now=2, retry_seconds=0.2, reset_seconds=31.0)
    with pytest.raises(CallerOverLimit, match="asked 2 times within a minute") as asked:
        allowance_of(refusal)
    assert (asked.value.allowance.remaining, asked.value.retry_after) == (0, 1)
    with pytest.raises(ExclusiveLockNeeded):
        allowance_of(answered(decision="alone"))


@given(st.floats(-5, 100_000))
def test_a_duration_is_openais_and_never_too_short(seconds: float) -> None:
    shown = rate_headers(RequestAllowance("per_minute", 1, 0, seconds))["x-ratelimit-reset-requests"]
    match = re.fullmatch(r"(?:(\d+)m)?(\d{1,2})s", shown)
    assert match is not None
    whole = 60 * int(match[1] or 0) + int(match[2])
    assert max(0, seconds) <= whole <= max(0, seconds) + 1


def test_a_chat_that_was_there_tells_no_allowance() -> None:
    assert rate_headers(None) == {}
