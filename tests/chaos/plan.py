"""Which fault happens when. Pure: the same seed, length and list of faults give the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WARM_UP_SECONDS: Final = 5.0
"""Before the first fault: the callers have begun by then."""
PAUSE_SECONDS: Final = (5.0, 9.0)
"""Between the end of a fault and the next one: time to come back to normal, and to measure it."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A fault that can be planned, and how long it lasts at least and at most, in seconds."""

    name: str
    shortest: float
    longest: float


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault at its time. `at` and `seconds` count from the run's beginning; `number` chooses among its targets."""

    kind: str
    at: float
    seconds: float
    number: int

    @property
    def until(self) -> float:
        """When the fault ends, in seconds from the run's beginning."""
        return self.at + self.seconds


def make_plan(kinds: Sequence[FaultKind], *, seed: int, seconds: float) -> tuple[PlannedFault, ...]:
    """Faults for a run of so many seconds, one after the other.

    Every kind comes once, in an order of the seed's, before any comes again. A fault that would not end in time is left
    out. Raises ValueError without kinds.
    """
    if not kinds:
        raise ValueError("there is no fault to plan")
    chance = random.Random(seed)
    planned: list[PlannedFault] = []
    at = WARM_UP_SECONDS
    while True:
        for kind in chance.sample(list(kinds), len(kinds)):
            fault = PlannedFault(
                kind=kind.name,
                at=round(at, 1),
                seconds=round(chance.uniform(kind.shortest, kind.longest), 1),
                number=chance.randrange(1_000_000),
            )
            if fault.until > seconds:
                return tuple(planned)
            planned.append(fault)
            at = fault.until + chance.uniform(*PAUSE_SECONDS)
