"""Trying a gateway call again: only what may pass by itself, with growing pauses, and never past the deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.gateway.errors import GatewayError

T = TypeVar("T")
MAX_PAUSE_SECONDS = 30.0


async def call_with_retries(
    call: Callable[[float], Awaitable[T]],
    *,
    deadline_seconds: float,
    base_seconds: float,
    jitter: Callable[[], float],
    max_pause_seconds: float = MAX_PAUSE_SECONDS,
    on_failure: Callable[[GatewayError, int, float | None], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Return what `call` returns, trying again after each failure that is not permanent.

    `call` is given the seconds that are left and must end within them. The pause doubles from `base_seconds` up to
    `max_pause_seconds`; `jitter` (0 to 1, say `random.random`) takes away up to half of it, so that many callers do
    not come back in step. A longer pause that the upstream asks for (`Retry-After`) is kept where it ends before the
    deadline. A pause that would not end before the deadline is not begun.

    `on_failure(error, try_number, pause)` is told of each failed try, counted from 1; its pause is None when it was the
    last. Raises the permanent failure as it came, else the last real cause with the number of tries: a time-out of
    the last try does not hide the 502 before it.
    """
    ends_at = clock() + deadline_seconds
    cause: GatewayError | None = None
    tries = 0
    while True:
        tries += 1
        try:
            return await call(max(0.0, ends_at - clock()))
        except GatewayError as error:
            failure = error
        pause = pause_before_next(
            failure,
            tries,
            seconds_left=ends_at - clock(),
            base_seconds=base_seconds,
            max_pause_seconds=max_pause_seconds,
            jitter=jitter(),
        )
        if on_failure is not None:
            on_failure(failure, tries, pause)
        if failure.permanent:
            raise failure
        if cause is None or failure.code != "timeout":
            cause = failure
        if pause is None:
            raise retries_exhausted(cause, failure, tries, within_seconds=deadline_seconds)
        await sleep(pause)


def pause_before_next(
    failure: GatewayError,
    tries: int,
    *,
    seconds_left: float,
    base_seconds: float,
    jitter: float,
    max_pause_seconds: float = MAX_PAUSE_SECONDS,
) -> float | None:
    """Seconds to wait after so many failed tries before the next one; None when there is to be no next one.

    A `Retry-After` beyond the time that is left ends the tries of a call that is over its limit (429): the limit holds
    until then. Of an outage nobody knows the end: then the pause is our own.
    """
    if failure.permanent:
        return None
    doubled = base_seconds * 2.0 ** min(tries - 1, 32)  # 32 doublings are past any cap, and far from overflowing
    pause = min(max_pause_seconds, doubled) * (1.0 - 0.5 * jitter)
    requested = failure.retry_after_seconds or 0.0
    if requested < seconds_left or failure.code == "rate_limited":
        pause = max(pause, requested)
    return pause if pause < seconds_left else None


def retries_exhausted(cause: GatewayError, last: GatewayError, tries: int, *, within_seconds: float) -> GatewayError:
    """The failure to report after so many tries: the last real cause, with their number."""
    if tries == 1:
        return cause
    then = "" if cause is last else ", the last of which timed out"
    return cause.with_detail(f"{cause.detail} Gave up after {tries} tries within {within_seconds:g} s{then}.")
