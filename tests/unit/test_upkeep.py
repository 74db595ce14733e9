"""Duties take turns in one thread; those that wait for others than our own servers hold up nobody."""

import threading

from worker.upkeep.loop import Duty, RepeatedFailures, Upkeep, grouped


def test_a_duty_apart_holds_up_no_other() -> None:
    released, again = threading.Event(), threading.Event()
    rounds: list[int] = []

    def often() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            again.set()

    duties = [Duty("slow", 0.01, lambda: released.wait(20), apart=True), Duty("often", 0.01, often)]
    upkeeps = [Upkeep(group) for group in grouped(duties)]
    for upkeep in upkeeps:
        upkeep.start()
    try:
        assert again.wait(10)
    finally:
        released.set()
        for upkeep in upkeeps:
            upkeep.stop()


def test_a_duty_that_fails_is_done_again_and_so_are_the_others() -> None:
    again = threading.Event()
    failures: list[int] = []

    def fail() -> None:
        failures.append(1)
        raise OSError("not now")

    def watch() -> None:
        if len(failures) >= 3:
            again.set()

    upkeep = Upkeep([Duty("fails", 0.01, fail), Duty("watches", 0.01, watch)])
    upkeep.start()
    try:
        assert again.wait(10)
    finally:
        upkeep.stop()


def test_a_failure_that_lasts_is_logged_once_a_minute_and_a_new_one_at_once() -> None:
    now = 0.0
    failures = RepeatedFailures(clock=lambda: now)
    logged = []
    for now in range(0, 130, 2):
        if failures.is_news("alive", "Redis takes no writes: memory"):
            logged.append(now)
    assert logged == [0, 60, 120]
    assert failures.is_news("alive", "Redis cannot be reached")
    assert failures.is_news("sweep", "Redis cannot be reached")  # another duty
    assert failures.end("alive")
    assert not failures.end("alive")
    assert failures.is_news("alive", "Redis cannot be reached")
