"""When nights are due, over both changes of a clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.schedule import Nightly, latest_due, next_due

BERLIN = "Europe/Berlin"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_a_night_is_named_by_its_local_time() -> None:
    due = latest_due("0 0 * * *", BERLIN, utc(2026, 7, 1, 12))
    assert due.local == datetime(2026, 7, 1, 0, 0)
    assert due.at == utc(2026, 6, 30, 22)


def test_a_time_that_the_clock_skips_is_due_once_after_the_jump() -> None:
    # On 2026-03-29 in Berlin 02:00 becomes 03:00.
    before, after = utc(2026, 3, 29, 0, 59), utc(2026, 3, 29, 1, 30)
    assert latest_due("30 2 * * *", BERLIN, before).local == datetime(2026, 3, 28, 2, 30)
    assert latest_due("30 2 * * *", BERLIN, after).local == datetime(2026, 3, 29, 2, 30)
    assert next_due("30 2 * * *", BERLIN, after).local == datetime(2026, 3, 30, 2, 30)


def test_an_hour_that_repeats_makes_one_night() -> None:
    # On 2026-10-25 in Berlin 03:00 becomes 02:00: half past two comes twice.
    first_pass, second_pass = utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30)
    assert latest_due("30 2 * * *", BERLIN, first_pass).local == datetime(2026, 10, 25, 2, 30)
    assert latest_due("30 2 * * *", BERLIN, second_pass) == latest_due("30 2 * * *", BERLIN, first_pass)
    assert next_due("30 2 * * *", BERLIN, first_pass).local == datetime(2026, 10, 26, 2, 30)


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Santiago"])
@pytest.mark.parametrize("cron", ["0 0 * * *", "30 2 * * *", "15 1 * * 1-5"])
def test_every_night_of_a_year_comes_once_and_in_order(zone: str, cron: str) -> None:
    now, seen = utc(2026, 1, 1), []
    while now < utc(2027, 1, 1):
        due = next_due(cron, zone, now)
        assert due.at > now
        assert latest_due(cron, zone, due.at) == due
        seen.append(due.local.date())
        now = due.at
    days = [seen[0] + timedelta(days=n) for n in range((seen[-1] - seen[0]).days + 1)]
    assert seen == [day for day in days if not cron.endswith("1-5") or day.weekday() < 5]


@given(minutes=st.integers(0, 366 * 24 * 60))
def test_the_latest_is_never_after_now_and_the_next_always(minutes: int) -> None:
    now = utc(2026, 1, 1) + timedelta(minutes=minutes)
    latest, following = latest_due("30 2 * * *", BERLIN, now), next_due("30 2 * * *", BERLIN, now)
    assert latest.at <= now < following.at
    assert following.at - latest.at <= timedelta(hours=25)


def test_beat_finds_a_night_due_once_after_its_last_run() -> None:
    clock = [utc(2026, 10, 25, 0, 29)]
    nightly = Nightly("30 2 * * *", BERLIN, now=lambda: clock[0])
    due, seconds = nightly.is_due(utc(2026, 10, 24, 12))
    assert (due, seconds) == (False, 60)
    clock[0] = utc(2026, 10, 25, 0, 30)
    assert nightly.is_due(utc(2026, 10, 24, 12)).is_due
    clock[0] = utc(2026, 10, 25, 1, 30)  # the second half past two
    assert not nightly.is_due(utc(2026, 10, 25, 0, 30)).is_due
