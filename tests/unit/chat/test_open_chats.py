"""How many chats may be open, without counting them for each."""

import pytest

from shared.chat.open_chats import COUNT_MARGIN, CountAlone, OpenChats, TooManyOpen


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_with_room_to_spare_open_chats_are_counted_every_half_second_beside_others() -> None:
    clock = Clock()
    chats = OpenChats(COUNT_MARGIN + 1000, clock=clock)
    assert chats.must_count() == "alone"  # nothing is known yet
    chats.counted(10, "alone", since=chats.now())
    assert {chats.must_count() for _ in range(100)} == {"not"}
    clock.now = 0.5
    assert [chats.must_count(), chats.must_count()] == ["beside", "beside"]
    chats.counted(1000, "beside", since=chats.now())
    with pytest.raises(CountAlone):
        chats.counted(1001, "beside", since=chats.now() + 0.1)
    assert [chats.must_count(), chats.must_count()] == ["alone", "alone"]


def test_a_figure_that_comes_late_replaces_no_newer_one() -> None:
    clock = Clock()
    chats = OpenChats(COUNT_MARGIN + 1000, clock=clock)
    earlier = chats.now()
    clock.now = 0.2
    with pytest.raises(CountAlone):
        chats.counted(1001, "beside", since=chats.now())
    chats.counted(10, "beside", since=earlier)
    assert chats.must_count() == "alone"


def test_the_fuller_it_is_the_more_exactly_it_is_counted() -> None:
    chats = OpenChats(COUNT_MARGIN + 5, clock=Clock())
    chats.counted(3, "alone", since=0.0)
    assert [chats.must_count() for _ in range(3)] == ["not", "alone", "alone"]


def test_at_the_limit_the_next_is_refused_by_who_counts_alone() -> None:
    chats = OpenChats(3, clock=Clock())
    chats.counted(2, "alone", since=0.0)
    with pytest.raises(CountAlone):
        chats.counted(3, "beside", since=0.0)
    with pytest.raises(TooManyOpen):
        chats.counted(3, "alone", since=0.0)
