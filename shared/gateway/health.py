"""What calls to the gateway experience, added up until somebody writes it down. Pure."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from shared.gateway.errors import GatewayError

LIST_TARGET = "list"
"""The target of list calls; completions have the model's id."""


def concerns_health(error: GatewayError) -> bool:
    """Whether a failure says that the gateway serves nobody: it is down, or refuses the key.

    Other refusals are about one question or the rate of questions: a gateway that refuses is there.
    """
    return error.trips_circuit or error.code == "unauthorised"


@dataclass(slots=True)
class CallTally:
    """Calls of one target since the last report. Moments are of a monotonic clock, in seconds."""

    answered_at: float | None = None
    """the last sign of life, a refusal as well"""
    succeeded_at: float | None = None
    failed_at: float | None = None
    failure_code: str | None = None
    failure_status: int | None = None
    failing_since: float | None = None
    failures_in_a_row: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """all failures and refusals by code"""


class CallTallies:
    """Adds up outcomes of calls. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[str, CallTally] = {}

    def record(self, target: str, error: GatewayError | None, now: float) -> None:
        """Note one call of a target that ended now: in an answer (None), or an error."""
        with self._lock:
            tally = self._tallies.setdefault(target, CallTally())
            if error is not None:
                tally.failures[error.code] += 1
            if error is not None and concerns_health(error):
                tally.failed_at, tally.failure_code, tally.failure_status = now, error.code, error.http_status
                tally.failures_in_a_row += 1
                if tally.failing_since is None:
                    tally.failing_since = now
                return
            tally.answered_at, tally.failing_since, tally.failures_in_a_row = now, None, 0
            if error is None:
                tally.succeeded_at = now

    def take(self) -> dict[str, CallTally]:
        """What has been noted since the last time."""
        with self._lock:
            tallies, self._tallies = self._tallies, {}
            return tallies

    def put_back(self, tallies: dict[str, CallTally]) -> None:
        """What could not be written, for the next time; counts of targets that were called meanwhile are added."""
        with self._lock:
            for target, earlier in tallies.items():
                later = self._tallies.get(target)
                self._tallies[target] = earlier if later is None else _joined(earlier, later)


def _joined(earlier: CallTally, later: CallTally) -> CallTally:
    goes_on = later.answered_at is None
    return CallTally(
        answered_at=later.answered_at if later.answered_at is not None else earlier.answered_at,
        succeeded_at=later.succeeded_at if later.succeeded_at is not None else earlier.succeeded_at,
        failed_at=later.failed_at if later.failed_at is not None else earlier.failed_at,
        failure_code=later.failure_code if later.failed_at is not None else earlier.failure_code,
        failure_status=later.failure_status if later.failed_at is not None else earlier.failure_status,
        failing_since=earlier.failing_since if goes_on and earlier.failing_since is not None else later.failing_since,
        failures_in_a_row=later.failures_in_a_row + (earlier.failures_in_a_row if goes_on else 0),
        failures=earlier.failures + later.failures,
    )
