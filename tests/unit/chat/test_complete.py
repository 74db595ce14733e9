"""One attempt: what is tried again, what is not, and what is the chat's to spend."""

import asyncio
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.fallback import Resolution
from shared.chat.calls import CallLimits, ModelCalls
from shared.chat.circuit_breaker import CallKey, CircuitBreaker
from shared.chat.claims import ChatClaim
from shared.chat.complete import Completer, DefaultUnknown
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.chat.waiting import PARK_SECONDS
from shared.gateway.errors import GatewayError
from shared.vocabulary import GATEWAY_ERROR_CODES, GatewayErrorCode

SONNET = Resolution("sonnet", "sonnet", "Sonnet", 25)
DEFAULT = Resolution("sonnet", "default", "Default", 28, "unknown_upstream")
SECOND = Resolution("sonnet", "second", "Second", 30, "unknown_upstream")
DOWN = GatewayError("upstream_unavailable", "It is down.", trips_circuit=True)
BUSY = GatewayError("rate_limited", "It is busy.")
LATE = GatewayError("timeout", "It is late.", trips_circuit=True)
NO = GatewayError("upstream_rejected", "No.", permanent=True)
UNKNOWN = GatewayError("unknown_model", "Not known.", permanent=True)


@dataclass
class Gateway:
    """Answers one after the other what it was given; the last one for ever."""

    says: Sequence[str | GatewayError]
    calls: list[tuple[int, str, float]] = field(default_factory=list)

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str:
        self.calls.append((llm_id, prompt, deadline_seconds))
        answer = self.says[min(len(self.calls), len(self.says)) - 1]
        if isinstance(answer, GatewayError):
            raise answer
        return answer


@dataclass
class AnswersOthers(Gateway):
    """Fails, while the model answers another chat."""

    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str:
        self.breaker.record_success(CallKey(uuid.UUID(int=9), llm_id, "ben"))
        return await super().complete(
            llm_id=llm_id, prompt=prompt, deadline_seconds=deadline_seconds, request_id=request_id
        )


def claimed(seconds_left: float = 60, model: Resolution = SONNET, **more: Any) -> ChatClaim:
    return ChatClaim(
        uuid.UUID(int=1), 4, model, "Which?", "Brief.", (("user", "Hm."),), "request", seconds_left, "ann", **more
    )


def attempt(
    gateway: Gateway,
    *,
    instead: Sequence[Resolution] | DefaultUnknown = (),
    switched: list[Resolution] | None = None,
    still_ours: bool = True,
    seconds_left: float = 60,
    breaker: CircuitBreaker | None = None,
    call_seconds: float = 300,
    base_seconds: float = 0.001,
    **claim: Any,
) -> Finish | Release:
    async def default_instead(of: Resolution, refused: Collection[int]) -> Resolution | None:
        assert of.matcha_llm_id in refused
        if isinstance(instead, DefaultUnknown):
            raise instead
        return next((model for model in instead if model.matcha_llm_id not in refused), None)

    async def switch_model(switch: SwitchModel) -> bool:
        assert (switch.chat_id, switch.attempt) == (uuid.UUID(int=1), 4)
        if switched is not None:
            assert switch.model.matcha_llm_id not in [call[0] for call in gateway.calls]
            switched.append(switch.model)
        return still_ours

    async def run() -> Finish | Release:
        limits = CallLimits(call_seconds, base_seconds)
        calls = ModelCalls(gateway, breaker or CircuitBreaker(), limits, jitter=lambda: 0.0)
        return await Completer(calls, default_instead=default_instead, switch_model=switch_model).attempt(
            claimed(seconds_left, **claim)
        )

    return asyncio.run(run())


def test_an_answer_ends_the_attempt_it_was_given_for() -> None:
    gateway = Gateway(["Forty-two."])
    end = attempt(gateway)
    assert isinstance(end, Finish)
    assert (end.chat_id, end.attempt, end.status, end.answer) == (uuid.UUID(int=1), 4, "succeeded", "Forty-two.")
    assert (end.tries, end.model) == (1, SONNET)
    ((llm_id, prompt, _),) = gateway.calls
    assert llm_id == 25
    assert prompt.startswith("Brief.\n\n")
    assert prompt.endswith("Which?")


def test_no_call_is_given_more_time_than_one_may_have_or_than_is_left() -> None:
    patient, hurried = Gateway(["A."]), Gateway(["A."])
    attempt(patient, call_seconds=5)
    attempt(hurried, seconds_left=2)
    assert patient.calls[0][2] == 5
    assert 1.5 < hurried.calls[0][2] <= 2


def test_what_may_pass_is_tried_again() -> None:
    end = attempt(Gateway([DOWN, BUSY, "A."]))
    assert isinstance(end, Finish)
    assert (end.status, end.tries) == ("succeeded", 3)


def test_what_is_permanent_is_not() -> None:
    end = attempt(Gateway([NO]))
    assert isinstance(end, Finish)
    assert (end.status, end.error_code, end.error_cause, end.tries) == ("failed", NO.code, NO.detail, 1)


@given(st.sampled_from(GATEWAY_ERROR_CODES), st.text(min_size=8).filter(lambda text: text.strip()))
def test_no_word_of_the_gateways_error_reaches_the_caller(code: GatewayErrorCode, detail: str) -> None:
    detail = f"POST inside.example/rest/api/v1 {detail}: set MATCHAAI_API_KEY"
    end = attempt(Gateway([GatewayError(code, detail, permanent=True)]))
    assert isinstance(end, Finish)
    assert end.error_detail
    assert not any(word in end.error_detail for word in ("inside.example", "/rest", "MATCHAAI_"))
    assert end.error_cause == detail


def test_a_strict_chats_caller_reads_no_word_of_it_either() -> None:
    strict = replace(SONNET, strict=True)
    end = attempt(Gateway([GatewayError("unknown_model", "POST inside.example", permanent=True)]), model=strict)
    assert isinstance(end, Finish)
    assert "inside.example" not in str(end.error_detail)


def test_an_unknown_model_is_answered_by_the_next_that_upstream_knows() -> None:
    gateway, switched = Gateway([UNKNOWN, UNKNOWN, "A."]), []
    end = attempt(gateway, instead=(DEFAULT, SECOND), switched=switched)
    assert isinstance(end, Finish)
    assert (end.status, end.model, end.tries) == ("succeeded", SECOND, 3)
    assert [call[0] for call in gateway.calls] == [25, 28, 30]
    assert switched == [DEFAULT, SECOND]  # each before it is asked


def test_without_another_model_the_chat_fails_at_once_and_names_those_asked() -> None:
    gateway = Gateway([UNKNOWN])
    end = attempt(gateway, instead=(DEFAULT, SECOND))
    assert isinstance(end, Finish)
    assert (end.status, end.error_code, end.model, end.tries) == ("failed", "no_model", SECOND, 3)
    assert "sonnet, default, second" in str(end.error_detail)
    alone = attempt(Gateway([UNKNOWN]))
    assert isinstance(alone, Finish)
    assert (alone.error_code, alone.model, alone.tries) == ("no_model", SONNET, 1)


def test_another_failure_of_the_next_model_ends_the_chat_with_its_cause() -> None:
    end = attempt(Gateway([UNKNOWN, NO]), instead=(DEFAULT, SECOND))
    assert isinstance(end, Finish)
    assert (end.error_code, end.model, end.tries) == ("upstream_rejected", DEFAULT, 2)


def test_a_model_is_not_asked_before_it_is_written_that_it_is() -> None:
    gateway = Gateway([UNKNOWN, "A."])
    end = attempt(gateway, instead=(DEFAULT,), still_ours=False)
    assert end == Release(uuid.UUID(int=1), 4, 1, "Not known.", 5.0)
    assert [call[0] for call in gateway.calls] == [25]


def test_while_nobody_can_say_which_the_default_is_the_attempt_is_given_back() -> None:
    end = attempt(Gateway([UNKNOWN]), instead=DefaultUnknown())
    assert end == Release(uuid.UUID(int=1), 4, 1, "Not known.", 5.0)


@pytest.mark.parametrize(("call_seconds", "opens"), [(5, True), (300, False)])
def test_a_call_cut_by_its_chats_deadline_says_nothing_of_upstream(call_seconds: float, opens: bool) -> None:
    breaker = CircuitBreaker(failures=1)
    attempt(Gateway([LATE, "A."]), seconds_left=10, call_seconds=call_seconds, breaker=breaker)
    assert bool(breaker.open_circuits) is opens


def test_while_upstream_is_down_the_attempt_is_given_back_with_its_cause() -> None:
    end = attempt(Gateway([DOWN]))
    assert end == Release(uuid.UUID(int=1), 4, 5, "It is down.", PARK_SECONDS, code="upstream_unavailable")


def test_a_chat_whose_circuit_is_open_makes_no_call_unless_it_is_the_probe() -> None:
    def breaker() -> CircuitBreaker:
        breaker = CircuitBreaker(failures=1)
        breaker.record_failure(CallKey(uuid.UUID(int=9), 25, "ann"), "timeout")
        return breaker

    waiting, probe = Gateway(["A."]), Gateway(["A."])
    end = attempt(waiting, breaker=breaker())
    assert end == Release(uuid.UUID(int=1), 4, 0, None, PARK_SECONDS, code="timeout")
    assert waiting.calls == []
    end = attempt(probe, breaker=breaker(), is_probe=True)
    assert isinstance(end, Finish)
    assert end.status == "succeeded"


def test_a_failed_probe_is_not_tried_again_in_its_place() -> None:
    breaker = CircuitBreaker(failures=1)
    breaker.record_failure(CallKey(uuid.UUID(int=9), 25, "ann"), "timeout")
    gateway = Gateway([DOWN])
    end = attempt(gateway, breaker=breaker, is_probe=True)
    assert end == Release(uuid.UUID(int=1), 4, 1, "It is down.", PARK_SECONDS, code="upstream_unavailable")


def test_a_probe_of_a_lost_model_does_not_call_a_default_that_is_down() -> None:
    breaker = CircuitBreaker(failures=1)
    breaker.record_failure(CallKey(uuid.UUID(int=9), DEFAULT.matcha_llm_id, "ann"), "timeout")
    gateway = Gateway([UNKNOWN])
    end = attempt(gateway, instead=(DEFAULT,), breaker=breaker, is_probe=True)
    assert end == Release(uuid.UUID(int=1), 4, 1, None, PARK_SECONDS, code="timeout")
    assert [call[0] for call in gateway.calls] == [SONNET.matcha_llm_id]


@pytest.mark.parametrize("failure", [DOWN, BUSY])
def test_a_long_pause_is_spent_in_the_queue_and_grows_over_attempts(failure: GatewayError) -> None:
    end = attempt(Gateway([failure]), base_seconds=2, tries=3, seconds_left=600)
    assert end == Release(uuid.UUID(int=1), 4, 1, failure.detail, 16.0, code=failure.code)


def test_a_model_that_answers_others_is_not_down_and_the_attempt_is_spent() -> None:
    gateway = AnswersOthers([DOWN])
    end = attempt(gateway, breaker=gateway.breaker, tries=2)
    assert isinstance(end, Release)
    assert (end.counted, end.tries, end.code) == (True, 1, "upstream_unavailable")


def test_a_chat_that_keeps_failing_while_others_are_answered_fails_with_its_cause() -> None:
    gateway = AnswersOthers([DOWN])
    end = attempt(gateway, breaker=gateway.breaker, tries=8, spent=3, is_last=True)
    assert isinstance(end, Finish)
    assert (end.status, end.error_code) == ("failed", "upstream_unavailable")
    assert "9 times" in str(end.error_detail)
    assert "9 tries" in str(end.error_cause)


def test_a_pause_ends_when_the_circuit_opens() -> None:
    async def run() -> Finish | Release:
        breaker = CircuitBreaker()
        calls = ModelCalls(Gateway([DOWN]), breaker, CallLimits(9, 4.0), jitter=lambda: 0.0)
        completer = Completer(calls, default_instead=_nothing, switch_model=_written)
        async with asyncio.timeout(2):
            ends = [completer.attempt(replace(claimed(), chat_id=uuid.UUID(int=number))) for number in range(5)]
            return (await asyncio.gather(*ends))[0]

    end = asyncio.run(run())
    assert isinstance(end, Release)
    assert end.tries == 1


def test_a_process_that_goes_gives_back_chats_that_pause() -> None:
    async def run() -> Finish | Release:
        calls = ModelCalls(Gateway([DOWN]), CircuitBreaker(), CallLimits(9, 4.0), jitter=lambda: 0.0)
        attempt = asyncio.create_task(
            Completer(calls, default_instead=_nothing, switch_model=_written).attempt(claimed())
        )
        await asyncio.sleep(0)
        calls.shutdown()
        async with asyncio.timeout(2):
            return await attempt

    assert asyncio.run(run()) == Release(uuid.UUID(int=1), 4, 1, "It is down.", 0.0, code="upstream_unavailable")


def test_refusals_never_open_the_circuit() -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        attempt(Gateway([NO]), breaker=breaker)
    assert breaker.open_circuits == ()


async def _nothing(of: Resolution, refused: Collection[int]) -> None:
    return None


async def _written(switch: SwitchModel) -> bool:
    return True


def test_what_still_fails_at_the_deadline_fails_with_its_cause() -> None:
    end = attempt(Gateway([BUSY]), seconds_left=0.3)
    assert isinstance(end, Finish)
    assert (end.status, end.error_code) == ("failed", "rate_limited")
    assert end.tries > 1


ASKS_FOR_A_PAUSE = GatewayError("rate_limited", "It is busy.", retry_after_seconds=7.0)


def test_a_pause_that_the_gateway_asks_for_stops_all_calls_and_spends_no_attempt() -> None:
    breaker = CircuitBreaker()
    end = attempt(Gateway([ASKS_FOR_A_PAUSE]), breaker=breaker)
    assert isinstance(end, Release)
    assert (end.code, end.counted, end.tries) == ("rate_limited", False, 1)
    assert breaker.is_paused
    other = Gateway(["A."])
    waits = attempt(other, breaker=breaker, model=SECOND)
    assert isinstance(waits, Release)
    assert (waits.code, waits.tries, other.calls) == ("rate_limited", 0, [])


def test_one_call_goes_first_after_a_pause_and_its_answer_lets_the_others_follow() -> None:
    breaker = CircuitBreaker()
    attempt(Gateway([ASKS_FOR_A_PAUSE]), breaker=breaker)
    end = attempt(Gateway(["A."]), breaker=breaker, is_probe=True)
    assert isinstance(end, Finish)
    assert not breaker.is_paused


def test_a_pause_beyond_the_deadline_ends_the_chat_and_stops_nobody_else() -> None:
    breaker = CircuitBreaker()
    end = attempt(Gateway([ASKS_FOR_A_PAUSE]), breaker=breaker, seconds_left=5)
    assert isinstance(end, Finish)
    assert end.error_code == "rate_limited"
    assert not breaker.is_paused


@dataclass
class Full:
    """Lets no call begin for so long."""

    seconds: float
    call_count: int = 0

    async def begin(self, chat_id: uuid.UUID) -> uuid.UUID | float:
        self.call_count += 1
        return self.seconds

    def end(self, call_id: uuid.UUID) -> None:
        raise AssertionError("no call has begun")


def test_a_call_that_the_limits_let_not_begin_for_long_gives_its_place_up_unspent() -> None:
    gateway, admission = Gateway(["A."]), Full(30.0)

    async def run() -> Finish | Release:
        calls = ModelCalls(gateway, CircuitBreaker(), CallLimits(300, 0.001), admission=admission)
        return await Completer(calls, default_instead=_nothing, switch_model=_written).attempt(claimed())

    end = asyncio.run(run())
    assert isinstance(end, Release)
    assert (end.limited, end.code, end.counted, end.pause_seconds, end.tries) == (True, None, False, 30.0, 0)
    assert (gateway.calls, admission.call_count) == ([], 1)
