"""Disks are measured beside the scrape."""

import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from worker.web.disk_room import DiskRoom, Figures


@pytest.fixture
def answer() -> Iterator[threading.Event]:
    """Set: the disk answers."""
    event = threading.Event()
    yield event
    event.set()


def test_a_disk_that_hangs_has_no_figures_until_it_answers(answer: threading.Event) -> None:
    asked: list[int] = []

    def measure() -> Figures:
        asked.append(1)
        answer.wait()
        return {"home": (1, 2)}

    room = DiskRoom(measure, wait_seconds=0.05)
    with capture_logs() as lines:
        assert [dict(room.figures()) for _ in range(3)] == [{}, {}, {}]
    assert len(asked) == 1
    assert [line["event"] for line in lines] == ["llm_metrics.without_disks"]
    answer.set()
    assert DiskRoom(measure).figures() == {"home": (1, 2)}


def test_a_disk_that_cannot_be_measured_is_measured_again() -> None:
    turns: Iterator[Exception | None] = iter((OSError(5, "Input/output error"), None))

    def measure() -> Figures:
        failure = next(turns)
        if failure is not None:
            raise failure
        return {"home": (1, 2)}

    room = DiskRoom(measure, wait_seconds=10)
    with capture_logs() as lines:
        assert room.figures() == {}
    assert lines[0]["error"] == "Input/output error"
    assert room.figures() == {"home": (1, 2)}
