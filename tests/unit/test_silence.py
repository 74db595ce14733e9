"""A server that has stopped answering is asked by one caller at a time."""

from shared.silence import PAUSE_SECONDS, Silence


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def silence_and_clock() -> tuple[Silence, Clock]:
    clock = Clock()
    return Silence(clock=clock), clock


def test_a_server_counts_as_silent_when_nobody_heard_from_it_during_a_wait() -> None:
    silence, clock = silence_and_clock()
    silence.record_answer()
    began = clock.now + 1
    clock.now += 4
    silence.record_no_answer(began)

    assert not silence.may_ask()


def test_one_broken_connection_among_others_that_answer_is_no_silence() -> None:
    silence, clock = silence_and_clock()
    began = clock.now
    clock.now += 3
    silence.record_answer()
    clock.now += 1
    silence.record_no_answer(began)

    assert silence.may_ask()


def test_while_a_server_is_silent_one_caller_in_each_pause_asks_it() -> None:
    silence, clock = silence_and_clock()
    silence.record_no_answer(clock.now)

    for _ in range(3):
        clock.now += PAUSE_SECONDS
        assert [silence.may_ask() for _ in range(5)] == [True, False, False, False, False]


def test_anything_heard_ends_a_silence() -> None:
    silence, clock = silence_and_clock()
    silence.record_no_answer(clock.now)
    assert not silence.may_ask()
    silence.record_answer()

    assert silence.may_ask()


def test_who_has_waited_since_before_a_silence_can_tell() -> None:
    silence, clock = silence_and_clock()
    asked_at = clock.now
    clock.now += 3
    silence.record_no_answer(asked_at)

    assert silence.began_after(asked_at)
    assert not silence.began_after(clock.now + 1)
    silence.record_answer()
    assert not silence.began_after(asked_at)
