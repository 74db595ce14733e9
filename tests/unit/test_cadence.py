"""The gaps between due times, over both changes of a clock, and what follows from them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cadence import Cadence, cadence_of
from tests.support.examples import examples
from worker.schedule import next_due

START = datetime(2026, 11, 25, tzinfo=UTC)
BERLIN = "Europe/Berlin"
AUTUMN = datetime(2027, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("cron", "zone", "shortest", "longest"),
    [
        ("0 0 * * *", "UTC", 24, 24),
        ("0 0 * * *", BERLIN, 23, 25),
        ("0 * * * *", "UTC", 1, 1),
        # 02:00 comes twice in autumn and is due once; in spring 02:00 and 03:00 are one moment.
        ("0 * * * *", BERLIN, 1, 2),
        ("0 6,18 * * *", "UTC", 12, 12),
        ("0 6,18 * * *", BERLIN, 11, 13),
        ("0 0 * * 0", "UTC", 168, 168),
        ("0 0 * * 0", BERLIN, 167, 169),
        ("0 0 * * 1-5", "UTC", 24, 72),
        ("0 9-17 * * *", "UTC", 1, 16),
        ("0 0 1 * *", "UTC", 28 * 24, 31 * 24),
        ("0 0 L * *", "UTC", 28 * 24, 31 * 24),
        ("0 0 29 2 *", "UTC", 1461 * 24, 1461 * 24),
    ],
)
def test_gaps(cron: str, zone: str, shortest: int, longest: int) -> None:
    assert cadence_of(cron, zone, START) == Cadence(shortest * HOUR, longest * HOUR)


@pytest.mark.parametrize(
    ("cron", "grace_hours", "stale_hours"),
    [("0 0 * * *", 12, 25.92), ("0 * * * *", 0.5, 1.08), ("0 6,18 * * *", 6, 12.96), ("0 0 * * 0", 84, 181.44)],
    ids=["nightly", "hourly", "twice a day", "weekly"],
)
def test_grace_and_staleness_follow_from_the_gaps(cron: str, grace_hours: float, stale_hours: float) -> None:
    cadence = cadence_of(cron, "UTC", START)
    assert cadence.grace_min_hours == grace_hours
    assert cadence.stale_after / HOUR == pytest.approx(stale_hours)


def test_a_list_of_every_minute_has_time_to_be_fetched() -> None:
    assert cadence_of("* * * * *", "UTC", START).stale_after == timedelta(minutes=3)


MINUTES = st.sampled_from(["0", "30", "15,45", "*/20"])
HOURS = st.sampled_from(["*", "2", "1,2,3", "*/6", "0-5"])
DAYS = st.sampled_from(["* * *", "* * 0", "1,15 * *", "* * 1-5"])


@settings(deadline=None, max_examples=examples(40))
@given(MINUTES, HOURS, DAYS, st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"]))
def test_no_gap_of_the_schedule_is_outside_of_them(minute: str, hour: str, days: str, zone: str) -> None:
    cron = f"{minute} {hour} {days}"
    cadence = cadence_of(cron, zone, START)
    for start in (datetime(2027, 3, 11, tzinfo=UTC), datetime(2027, 3, 27, tzinfo=UTC), AUTUMN):
        moments = [next_due(cron, zone, start).at]
        for _ in range(60):
            moments.append(next_due(cron, zone, moments[-1]).at)
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        assert cadence.shortest <= min(gaps)
        assert max(gaps) <= cadence.longest
