"""A process that was told to go, and is held up."""

import threading

from worker.shutdown import ShutdownDeadline


def test_a_process_that_is_held_up_closes_and_leaves_by_itself() -> None:
    happened: list[str] = []
    left = threading.Event()

    def leave(code: int) -> None:
        happened.append(f"left {code}")
        left.set()

    departure = ShutdownDeadline(lambda: happened.append("closed"), leave_seconds=0.0, leave=leave)
    departure.begin()
    departure.begin()

    assert left.wait(10)
    assert happened == ["closed", "left 0"]
