"""Lengths of time, as options of commands."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

_SPAN = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Span(click.ParamType[Any]):
    """A length of time: `30m`, `24h`, `90d`, at most so long."""

    name = "time"

    def __init__(self, most: timedelta) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _SPAN.fullmatch(str(value).strip())
        span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
        if span is None or span > self._most:
            self.fail(f"{value!r} is no time up to {self._most.days}d; examples: 30m, 24h, 90d", param, ctx)
        return span
