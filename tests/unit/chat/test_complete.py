"""One attempt: what is tried again, what is not, and what is the chat's to spend."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from shared.catalogue.keys import Resolution
from shared.chat.circuit import Circuit
from shared.chat.complete import Completer, DefaultUnknown, Patience
from shared.chat.lifecycle import Claim, Finish, Release
from shared.gateway.errors import GatewayError

SONNET = Resolution("sonnet", "sonnet", "Sonnet", 25)
DEFAULT = Resolution("sonnet", "default", "Default", 28, "unknown_upstream")
DOWN = GatewayError("upstream_unavailable", "It is down.", trips_circuit=True)
BUSY = GatewayError("rate_limited", "It is busy.")
LATE = GatewayError("timeout", "It is late.", trips_circuit=True)
NO = GatewayError("upstream_rejected", "No.", permanent=True)
UNKNOWN = GatewayError("unknown_model", "Not known.", permanent=True)


@dataclass
class Gateway:
    """Answers one after the other what it was given; the last one for ever."""

    says: Sequence[str | GatewayError]
    asked: list[tuple[int, str, float]] = field(default_factory=list)

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str:
        self.asked.append((llm_id, prompt, deadline_seconds))
        said = self.says[min(len(self.asked), len(self.says)) - 1]
        if isinstance(said, GatewayError):
            raise said
        return said


def claimed(seconds_left: float = 60) -> Claim:
    return Claim(uuid.UUID(int=1), 4, SONNET, "Which?", "Brief.", (("user", "Hm."),), "request", seconds_left)


def attempt(
    gateway: Gateway,
    *,
    instead: Resolution | DefaultUnknown | None = None,
    seconds_left: float = 60,
    circuit: Callable[[], Circuit] = Circuit,
    call_seconds: float = 300,
) -> Finish | Release:
    async def default_instead(of: Resolution) -> Resolution | None:
        assert of == SONNET
        if isinstance(instead, DefaultUnknown):
            raise instead
        return instead

    async def run() -> Finish | Release:
        completer = Completer(
            gateway, circuit(), Patience(call_seconds, 0.001), default_instead=default_instead, jitter=lambda: 0.0
        )
        return await completer.attempt(claimed(seconds_left))

    return asyncio.run(run())


def test_an_answer_ends_the_attempt_it_was_given_for() -> None:
    gateway = Gateway(["Forty-two."])
    end = attempt(gateway)
    assert isinstance(end, Finish)
    assert (end.chat_id, end.attempt, end.status, end.answer) == (uuid.UUID(int=1), 4, "succeeded", "Forty-two.")
    assert (end.tries, end.model) == (1, SONNET)
    ((llm_id, prompt, _),) = gateway.asked
    assert llm_id == 25
    assert prompt.startswith("Brief.\n\n")
    assert prompt.endswith("Which?")


def test_no_call_is_given_more_time_than_one_may_have_or_than_is_left() -> None:
    patient, hurried = Gateway(["A."]), Gateway(["A."])
    attempt(patient, call_seconds=5)
    attempt(hurried, seconds_left=2)
    assert patient.asked[0][2] == 5
    assert 1.5 < hurried.asked[0][2] <= 2


def test_what_may_pass_is_tried_again() -> None:
    end = attempt(Gateway([DOWN, BUSY, "A."]))
    assert isinstance(end, Finish)
    assert (end.status, end.tries) == ("succeeded", 3)


@pytest.mark.parametrize("error", [NO, UNKNOWN])
def test_what_is_permanent_is_not(error: GatewayError) -> None:
    end = attempt(Gateway([error]))
    assert isinstance(end, Finish)
    assert (end.status, end.error_code, end.error_detail, end.tries) == ("failed", error.code, error.detail, 1)


def test_an_unknown_model_is_asked_of_the_default_once() -> None:
    gateway = Gateway([UNKNOWN, "A."])
    end = attempt(gateway, instead=DEFAULT)
    assert isinstance(end, Finish)
    assert (end.status, end.model, end.tries) == ("succeeded", DEFAULT, 2)
    assert [asked[0] for asked in gateway.asked] == [25, 28]
    twice = attempt(Gateway([UNKNOWN]), instead=DEFAULT)
    assert isinstance(twice, Finish)
    assert (twice.status, twice.error_code, twice.model, twice.tries) == ("failed", "unknown_model", DEFAULT, 2)


def test_while_nobody_can_say_which_the_default_is_the_attempt_is_given_back() -> None:
    end = attempt(Gateway([UNKNOWN]), instead=DefaultUnknown())
    assert end == Release(uuid.UUID(int=1), 4, 1, "Not known.")


@pytest.mark.parametrize(("call_seconds", "opens"), [(5, True), (300, False)])
def test_a_call_cut_by_its_chats_deadline_says_nothing_of_upstream(call_seconds: float, opens: bool) -> None:
    circuits: list[Circuit] = []

    def circuit() -> Circuit:
        circuits.append(Circuit(failures=1))
        return circuits[0]

    attempt(Gateway([LATE, "A."]), seconds_left=10, call_seconds=call_seconds, circuit=circuit)
    assert circuits[0].open is opens


def test_while_upstream_is_down_the_attempt_is_given_back_with_its_cause() -> None:
    end = attempt(Gateway([DOWN]))
    assert end == Release(uuid.UUID(int=1), 4, 5, "It is down.")


def test_refusals_never_open_the_circuit() -> None:
    async def run() -> bool:
        circuit = Circuit()
        completer = Completer(Gateway([NO]), circuit, Patience(9, 0.001), default_instead=_nothing, jitter=lambda: 0.0)
        for _ in range(10):
            await completer.attempt(claimed())
        return circuit.open

    assert not asyncio.run(run())


async def _nothing(of: Resolution) -> None:
    return None


def test_what_still_fails_at_the_deadline_fails_with_its_cause() -> None:
    end = attempt(Gateway([BUSY]), seconds_left=0.05)
    assert isinstance(end, Finish)
    assert (end.status, end.error_code) == ("failed", "rate_limited")
    assert end.tries > 1
