"""Room for long answers: given out in turn, never more than there is, and given back whatever happens."""

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from shared.gateway.answer_memory import AnswerMemory, current_share


async def fits(room: AnswerMemory, size: int) -> bool:
    """Whether so many bytes are free, so that a share of them is there without waiting."""
    with room.share() as share:
        take = asyncio.create_task(share.take(size))
        await asyncio.sleep(0)
        fitted = take.done()
        take.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await take
        return fitted


def test_who_finds_no_room_waits_for_its_turn() -> None:
    async def play() -> list[str]:
        room, happened = AnswerMemory(10), list[str]()

        async def hold(name: str, size: int, done: asyncio.Event) -> None:
            with room.share() as share:
                await share.take(size)
                happened.append(name)
                await done.wait()

        first, others = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(hold("a", 6, first))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(hold(name, size, others)) for name, size in (("b", 6), ("c", 1))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert happened == ["a"]
        first.set()
        others.set()
        await asyncio.gather(*tasks)
        return happened

    assert asyncio.run(play()) == ["a", "b", "c"]


def test_what_is_too_large_for_the_room_gets_it_alone() -> None:
    async def play() -> None:
        room = AnswerMemory(10)
        with room.share() as share:
            await share.take(50)
            assert not await fits(room, 1)
        assert await fits(room, 10)

    asyncio.run(play())


def test_a_task_made_within_a_share_finds_it() -> None:
    async def play() -> bool:
        async def look() -> object:
            return current_share()

        with AnswerMemory().share() as share:
            return await asyncio.create_task(look()) is share

    assert asyncio.run(play())


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=12))
def test_room_is_never_overdrawn_and_all_of_it_comes_back(readers: list[tuple[int, int, int, bool]]) -> None:
    async def play() -> None:
        room, shares = AnswerMemory(12), dict[int, int]()

        async def read(reader: int, size: int, size_after: int, turns: int) -> None:
            with room.share() as share:
                await share.take(size)
                shares[reader] = size
                try:
                    assert sum(shares.values()) <= 12
                    share.shrink(size_after)
                    shares[reader] = min(size, size_after)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                finally:
                    del shares[reader]

        tasks = [asyncio.create_task(read(number, *reader[:3])) for number, reader in enumerate(readers)]
        await asyncio.sleep(0)
        for task, (*_, cancelled) in zip(tasks, readers, strict=True):
            if cancelled:
                task.cancel()
            await asyncio.sleep(0)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert await fits(room, 12)

    asyncio.run(play())
