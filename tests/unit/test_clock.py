"""Ids: what they say of time and order."""

import time
import uuid

from shared.clock import new_id


def test_ids_are_of_version_7_and_hold_the_time() -> None:
    before, made, after = time.time_ns() // 1_000_000, new_id(), time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_ids_made_one_after_the_other_are_in_order_within_a_millisecond_too() -> None:
    """Unless they are made within a quarter of a microsecond, or the clock is set back."""
    for _ in range(1000):
        began = time.time_ns()
        first = new_id()
        while time.time_ns() < began + 2_000:
            pass
        assert first < new_id()


def test_ids_made_at_the_same_time_differ() -> None:
    assert len({new_id() for _ in range(100_000)}) == 100_000
