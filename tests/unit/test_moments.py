"""What times a command takes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.commands.timestamps import moment_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("6h", NOW - timedelta(hours=6)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T08:30", datetime(2026, 3, 1, 8, 30, tzinfo=UTC)),
        ("2026-03-01T08:30+02:00", datetime(2026, 3, 1, 6, 30, tzinfo=UTC)),
        ("yesterday", None),
        ("999999d", None),
        ("", None),
    ],
)
def test_a_time_is_a_date_a_moment_or_so_long_ago(text: str, moment: datetime | None) -> None:
    assert moment_of(text, NOW) == moment


@given(st.text(max_size=20))
def test_any_other_text_is_no_time_and_no_error(text: str) -> None:
    moment = moment_of(text, NOW)
    assert moment is None or moment.tzinfo is not None
