"""The circuit: closed while upstream lives, open after failures in a row, probing until it is back."""

import asyncio

from shared.chat.circuit import Circuit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Circuit:
    circuit = Circuit(clock=clock)
    assert [circuit.failed() for _ in range(5)] == [False, False, False, False, True]
    return circuit


def test_five_failures_in_a_row_open_it_and_an_answer_in_between_does_not_let_it_come_to_that() -> None:
    circuit = Circuit()
    for _ in range(4):
        circuit.failed()
    assert not circuit.answered()
    for _ in range(4):
        assert not circuit.failed()
    assert not circuit.open
    assert circuit.failed()
    assert circuit.open


def test_while_it_is_open_one_is_let_through_every_five_seconds() -> None:
    async def admitted(circuit: Circuit) -> bool:
        waiting = asyncio.create_task(circuit.admitted())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done = waiting.done()
        waiting.cancel()
        return done

    async def scenario() -> list[bool]:
        clock = Clock()
        circuit = opened(clock)
        seen = [await admitted(circuit)]
        clock.now += 5
        seen += [await admitted(circuit), await admitted(circuit)]
        circuit.failed()  # the probe
        clock.now += 5
        seen += [await admitted(circuit), await admitted(circuit)]
        return seen

    assert asyncio.run(scenario()) == [False, True, False, True, False]


def test_a_probe_that_had_nothing_to_call_for_passes_its_turn_on_at_once() -> None:
    async def scenario() -> None:
        clock = Clock()
        circuit = opened(clock)
        waiting = [asyncio.create_task(circuit.admitted()) for _ in range(3)]
        await asyncio.sleep(0)
        clock.now += 5
        circuit.not_called()  # wakes them, as time does
        async with asyncio.timeout(5):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert sum(task.done() for task in waiting) == 1
            circuit.not_called()
            left = [task for task in waiting if not task.done()]
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        assert sum(task.done() for task in waiting) == 2
        for task in waiting:
            task.cancel()

    asyncio.run(scenario())


def test_all_who_wait_go_when_a_probe_is_answered_or_the_process_ends() -> None:
    async def scenario(how: str) -> None:
        circuit = opened(Clock())
        waiting = [asyncio.create_task(circuit.admitted()) for _ in range(10)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        if how == "answered":
            assert circuit.answered()
        else:
            circuit.dismiss()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)

    for how in ("answered", "dismissed"):
        asyncio.run(scenario(how))
