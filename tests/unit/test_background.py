"""A background loop goes on whatever happens in a turn, and says so once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

from structlog.testing import capture_logs

from shared.background import AsyncBackgroundLoop, BackgroundLoop


def loop_of(
    turns: list[Exception | None], expected: type[Exception] = OSError
) -> tuple[BackgroundLoop, threading.Event]:
    """A loop that fails as `turns` says, then succeeds; the event is set by the first turn after them."""
    left: Iterator[Exception | None] = iter(turns)
    done = threading.Event()

    def turn() -> None:
        error = next(left, None)
        if error is not None:
            raise error
        if next(left, None) is None:
            done.set()

    return BackgroundLoop(
        "test", turn, pause_seconds=0.001, event="llm_x.failed", message="Goes on", expected=expected
    ), done


def test_no_error_ends_the_loop() -> None:
    with capture_logs() as lines:
        loop, done = loop_of([OSError("away"), OSError("away"), ValueError("nobody foresaw this")])
        loop.start()
        assert done.wait(10)
        loop.stop(within_seconds=10)
    assert [(line["log_level"], line.get("error")) for line in lines] == [("warning", "away"), ("error", None)]


def test_a_loop_is_started_once_and_ends_when_it_is_stopped() -> None:
    running: set[int] = set()
    turned = threading.Event()

    def turn() -> float:
        running.add(threading.get_ident())
        turned.set()
        return 0.001

    loop = BackgroundLoop("test", turn, event="llm_x.failed", message="Goes on")
    loop.start()
    loop.start()
    assert turned.wait(10)
    loop.stop(within_seconds=10)
    assert len(running) == 1
    assert "test" not in {thread.name for thread in threading.enumerate()}


def test_a_turn_may_be_the_last_one() -> None:
    turns = []

    def turn() -> None:
        turns.append(1)
        loop.finish()

    loop = BackgroundLoop("test", turn, event="llm_x.failed", message="Goes on")
    loop.start()
    loop.join(10)
    assert turns == [1]


def test_no_error_ends_a_loop_of_an_event_loop_and_stopping_cancels_its_turn() -> None:
    async def run() -> bool:
        failures = iter([OSError("away"), OSError("away"), ValueError("nobody foresaw this")])
        turned = asyncio.Event()

        async def turn() -> None:
            if (error := next(failures, None)) is not None:
                raise error
            turned.set()
            await asyncio.Event().wait()

        loop = AsyncBackgroundLoop("test", turn, event="llm_x.failed", message="Goes on", expected=OSError)
        loop.start()
        loop.start()
        async with asyncio.timeout(20):
            await turned.wait()
        names = [task.get_name() for task in asyncio.all_tasks()]
        await loop.stop()
        return names.count("test") == 1 and "test" not in {task.get_name() for task in asyncio.all_tasks()}

    with capture_logs() as lines:
        assert asyncio.run(run())
    assert [(line["log_level"], line.get("error")) for line in lines] == [("warning", "away"), ("error", None)]
