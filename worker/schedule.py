"""When the nightly refresh is due: pure functions over a cron expression in a named zone, and beat's use of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from celery import Celery, beat
from celery.schedules import BaseSchedule, schedstate
from cronsim import CronSim

from shared.clock import utc_now
from shared.redis_store import RedisStore, RedisUnavailable, connect
from shared.task_names import REFRESH_QUEUE, REFRESH_TASK, TRIGGER_HEADER

SKEW = timedelta(seconds=60)
"""How far the clocks of beat, the workers and the database may be apart."""
BEAT_ALIVE_SECONDS = 120
BEAT_LOOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Due:
    """One night: its local time without a zone, which names it, and the instant at which it begins (UTC)."""

    local: datetime
    at: datetime


def latest_due(cron: str, zone: str, now: datetime) -> Due:
    """The last time at or before `now` (aware) at which the schedule was due.

    Both changes of a clock make one night: an hour that repeats counts once, at its first pass; a time that is
    skipped is due when the clock has jumped over it.
    """
    place = ZoneInfo(zone)
    # Local times grow with instants but for the repeated hour: begin behind `now` and step back over what is not yet.
    start = now.astimezone(place).replace(tzinfo=None) + timedelta(hours=3)
    for local in CronSim(cron, start, reverse=True):
        due = _due(local, place)
        if due.at <= now:
            return due
    raise ValueError(f"{cron!r} is never due")


def next_due(cron: str, zone: str, now: datetime) -> Due:
    """The first time after `now` (aware) at which the schedule is due."""
    place = ZoneInfo(zone)
    start = now.astimezone(place).replace(tzinfo=None) - timedelta(hours=3)
    for local in CronSim(cron, start):
        due = _due(local, place)
        if due.at > now:
            return due
    raise ValueError(f"{cron!r} is never due")


def _due(local: datetime, place: ZoneInfo) -> Due:
    return Due(local, local.replace(tzinfo=place, fold=0).astimezone(UTC))


class Nightly(BaseSchedule):
    """The schedule of one beat entry. It keeps no state but what beat tells it: when it ran last."""

    def __init__(self, cron: str, zone: str, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__(nowfun=now)
        self._cron, self._zone, self._now = cron, zone, now

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a due time has passed since `last_run_at`, and how many seconds until the next one."""
        now = self._now()
        is_due = latest_due(self._cron, self._zone, now).at > last_run_at
        return schedstate(is_due, (next_due(self._cron, self._zone, now).at - now).total_seconds())

    def __repr__(self) -> str:
        return f"<nightly: {self._cron} {self._zone}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nightly) and (self._cron, self._zone) == (other._cron, other._zone)

    def __hash__(self) -> int:
        return hash((self._cron, self._zone))

    def __reduce__(self) -> tuple[type[Nightly], tuple[str, str]]:
        return type(self), (self._cron, self._zone)


def beat_entries(cron: str, zone: str) -> dict[str, Any]:
    """What beat sends, and when."""
    return {
        "nightly-refresh": {
            "task": REFRESH_TASK,
            "schedule": Nightly(cron, zone),
            "options": {"queue": REFRESH_QUEUE, "headers": {TRIGGER_HEADER: "schedule"}},
        }
    }


class Scheduler(beat.Scheduler):
    """Beat without a schedule file: what it misses while it is away, upkeep makes up for. Says that it is alive."""

    max_interval = BEAT_LOOP_SECONDS

    def __init__(self, app: Celery, *args: Any, **kwargs: Any) -> None:
        self._cache = RedisStore(connect(app.conf.broker_url))
        super().__init__(app, *args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Beat's own round, and a sign of life."""
        try:
            self._cache.announce("beat", "beat", seconds=BEAT_ALIVE_SECONDS)
        except RedisUnavailable as error:
            beat.warning("beat: no sign of life left: %s", error)
        wait: float = super().tick(*args, **kwargs)
        return min(wait, BEAT_LOOP_SECONDS)
