"""What was measured, as ratios where there is something to compare with, and its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound that the median shall keep."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: `ours` in `unit`, one value a repetition, beside what the other form took in the same repetition.

    With `beside` the aim is of the ratio of each pair, ours to the other's; without it, of the values themselves.
    """

    line: str
    what: str
    unit: str
    ours: tuple[float, ...]
    beside: tuple[float, ...] = ()
    aim: Aim | None = None

    def __post_init__(self) -> None:
        if not self.ours or (self.beside and len(self.beside) != len(self.ours)):
            raise ValueError(f"{self.line}, {self.what}: {len(self.ours)} values beside {len(self.beside)}")

    @property
    def judged(self) -> tuple[float, ...]:
        """What the aim is of: the ratios, or the values."""
        if not self.beside:
            return self.ours
        return tuple(ours / other for ours, other in zip(self.ours, self.beside, strict=True))

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the aim; None where there is none."""
        return None if self.aim is None else self.aim.met(median(self.judged))

    def as_json(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "what": self.what,
            "unit": self.unit,
            "ours": summary(self.ours),
            "beside": summary(self.beside) if self.beside else None,
            "ratio": summary(self.judged) if self.beside else None,
            "aim": None if self.aim is None else str(self.aim),
            "met": self.met,
        }


def summary(values: Iterable[float]) -> dict[str, float | int]:
    """Median and spread."""
    ordered = sorted(values)
    return {"median": median(ordered), "min": ordered[0], "max": ordered[-1], "repetitions": len(ordered)}


def table(figures: Iterable[Figure]) -> Table:
    """The figures as people read them: median (min–max)."""
    made = Table("line", "what", "ours", "other form", "ratio", "aim", "", pad_edge=False, box=None)
    for figure in figures:
        made.add_row(
            figure.line,
            figure.what,
            f"{_shown(figure.ours)} {figure.unit}",
            f"{_shown(figure.beside)} {figure.unit}" if figure.beside else "",
            _shown(figure.judged) if figure.beside else "",
            "" if figure.aim is None else str(figure.aim),
            {None: "", True: "met", False: "missed"}[figure.met],
        )
    return made


def _shown(values: tuple[float, ...]) -> str:
    middle = _number(median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
