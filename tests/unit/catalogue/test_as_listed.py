"""Rows that are as they are listed stay untouched, and only those."""

from tests.support.catalogue import by_id, nights, sync

GPT, SONNET = (40, "GPT-4o"), (28, "Claude 3.7 Sonnet")


def test_a_model_that_came_back_within_its_grace_is_missed_anew() -> None:
    first, second, third, fourth = nights(4)
    rows, _ = sync([], GPT, SONNET, now=first)
    rows, _ = sync(rows, SONNET, now=second)
    assert by_id(rows)[40].missed_syncs == 1
    rows, plan = sync(rows, GPT, SONNET, now=third)
    assert (by_id(rows)[40].missed_syncs, by_id(rows)[40].last_missed_at) == (0, None)
    assert set(plan.written) == {40}
    rows, _ = sync(rows, SONNET, now=fourth)
    assert (by_id(rows)[40].missed_syncs, by_id(rows)[40].is_active) == (1, True)
