"""The guard: a list that would take away too much of the catalogue is held. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """How much of the catalogue a list would take away: active rows that are absent, or mean another model now.

    A row that upstream never promised does not count. A model that is listed under another id now is not absent, and
    a row that a model left behind is none.
    """

    absent: int
    repointed: int
    active: int
    listed: int

    def holds(self, max_shrink: float) -> bool:
        """Whether the list is too empty, or too different, to be believed."""
        return self.listed == 0 or self.absent + self.repointed > max_shrink * self.active
