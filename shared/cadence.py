"""How often the schedule is due: the gaps between its due times, and what follows from them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

STALE_FACTOR: Final = 1.08
"""A list is stale when its last good sync is older than so many of the longest gaps: 26 hours for a nightly refresh."""
GRACE_FACTOR: Final = 0.5
"""Two lists without a model count as two when they are half a shortest gap apart: 12 hours for a nightly one."""
_DAY = timedelta(days=1)
LEAST_SLACK: Final = timedelta(minutes=2)
"""However short the gaps are, a refresh takes its time."""
_YEARS = (timedelta(days=400), timedelta(days=9 * 366))
"""How far to look: both changes of a clock, and, where that holds few due days, every length of a month."""
_FEW_DAYS = 150


@dataclass(frozen=True, slots=True)
class Cadence:
    """The shortest and the longest time between two due times of a schedule."""

    shortest: timedelta
    longest: timedelta

    @property
    def grace_min_hours(self) -> float:
        """How far apart two lists without a model have to be, in hours, to count as two."""
        return self.shortest / timedelta(hours=1) * GRACE_FACTOR

    @property
    def stale_after(self) -> timedelta:
        """The age of the last good sync at which the listing is stale."""
        return max(self.longest * STALE_FACTOR, self.longest + LEAST_SLACK)


def cadence_of(cron: str, zone: str, start: datetime) -> Cadence:
    """The gaps of a cron expression of five fields in a named zone, from `start` (aware) on.

    Gaps are real time: the night on which a clock is put back is an hour longer. As in `worker/schedule.py`, an hour
    that repeats is due once and a time that is skipped when the clock has jumped. Raises ValueError for an expression
    that is not due twice.
    """
    return _from_day(cron, zone, start.astimezone(ZoneInfo(zone)).date())


@lru_cache(maxsize=16)
def _from_day(cron: str, zone: str, day: date) -> Cadence:
    """The gaps from the day after `day` on. Kept: to go through more than a year of days takes 20 ms and more."""
    place = ZoneInfo(zone)
    times = _times_of_day(cron)
    first_day = datetime.combine(day, time())
    for horizon in _YEARS:
        days = list(_days(cron, first_day, first_day + horizon))
        if len(days) >= _FEW_DAYS:
            break
    due = {day: _due(day, times, place) for day in _of_each_kind(days, place)}
    gaps = [later - earlier for moments in due.values() for earlier, later in pairwise(moments)]
    edges = [due.get(day) or _due(day, (times[0], times[-1]), place) for day in days]
    gaps += [following[0] - moments[-1] for moments, following in pairwise(edges)]
    gaps = [gap for gap in gaps if gap > timedelta(0)]
    if not gaps:
        raise ValueError(f"{cron!r} is not due twice")
    return Cadence(min(gaps), max(gaps))


def _times_of_day(cron: str) -> Sequence[time]:
    """The times at which the schedule is due on a day on which it is due."""
    minute, hour, *_ = cron.split()
    midnight = datetime(2000, 1, 1, tzinfo=UTC)
    times: list[time] = []
    for moment in CronSim(f"{minute} {hour} * * *", midnight - timedelta(seconds=1)):
        if moment >= midnight + _DAY:
            break
        times.append(moment.time())
    return times


def _days(cron: str, start: datetime, end: datetime) -> Iterator[date]:
    """The days on which the schedule is due."""
    _, _, *days = cron.split()
    for moment in CronSim(f"0 0 {' '.join(days)}", start):
        if moment > end:
            return
        yield moment.date()


def _of_each_kind(days: Sequence[date], place: ZoneInfo) -> Iterator[date]:
    """One ordinary day, and each on which the clock is changed: all others are as the ordinary one."""
    ordinary = False
    for day in days:
        midnight = datetime.combine(day, time(), place)
        if midnight.utcoffset() != (midnight + _DAY).utcoffset():
            yield day
        elif not ordinary:
            ordinary = True
            yield day


def _due(day: date, times: Sequence[time], place: ZoneInfo) -> list[datetime]:
    """The instants (UTC) at which the schedule is due on this day, in their order."""
    return sorted({datetime.combine(day, moment, place).astimezone(UTC) for moment in times})
