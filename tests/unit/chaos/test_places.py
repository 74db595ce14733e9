"""When the chaos suite says that more chats have places than there are."""

from tests.chaos.places import PlacesSample, TimeSpan, excesses


def sample(at: float, taken: int, places: int = 20) -> PlacesSample:
    return PlacesSample(at, taken, 0, places, {})


def test_the_places_and_the_reserve_may_be_taken_and_no_more() -> None:
    found = excesses([sample(0, 23), sample(1, 24), sample(2, 23)], memory=5)
    assert [each.at for each in found] == [1]


def test_without_places_none_may_be_taken() -> None:
    assert [each.taken for each in excesses([sample(0, 0, 0), sample(1, 1, 0)], memory=5)] == [1]


def test_chats_may_keep_places_that_have_gone_for_a_while() -> None:
    found = excesses([sample(0, 23), sample(1, 23, 10), sample(5, 20, 10), sample(6, 20, 10)], memory=5)
    assert [each.at for each in found] == [6]


def test_the_time_of_an_outage_does_not_count() -> None:
    samples = [sample(0, 23), sample(20, 23, 0), sample(24, 23, 0), sample(26, 23, 0)]
    assert [each.at for each in excesses(samples, memory=5, outages=[TimeSpan(1, 21)])] == [26]


def test_more_than_before_an_outage_are_too_many_after_it() -> None:
    samples = [sample(0, 23), sample(20, 24, 0)]
    assert [each.at for each in excesses(samples, memory=5, outages=[TimeSpan(1, 20)])] == [20]
