"""A moment as a person types it: `2026-03-01`, `2026-03-01T08:30`, `90m`, `6h`, `3d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[Any]):
    """A time in UTC: ISO 8601 (UTC where it names no zone), or so many minutes, hours or days ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        moment = moment_of(str(value), datetime.now(UTC))
        if moment is None:
            self.fail(f"{value!r} is no time; examples: 2026-03-01, 2026-03-01T08:30, 90m, 6h, 3d", param, ctx)
        return moment


class LineOrMoment(Moment):
    """The id of a line of the ledger, or a time."""

    name = "id or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
        return super().convert(value, param, ctx)


def moment_of(text: str, now: datetime) -> datetime | None:
    """The moment that a text means; None where it means none."""
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
