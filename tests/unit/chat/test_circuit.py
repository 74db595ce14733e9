"""The circuit breaker: who waits while calls fail, who does not, and who tries first."""

import uuid
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.chat.circuit_breaker import FORGET_SECONDS, GATEWAY, CallKey, CircuitBreaker, CircuitScope
from tests.support.examples import examples

SONNET, OPUS, GPT = 25, 30, 40


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def call(chat: int = 1, *, model: int = SONNET, subject: str = "ann") -> CallKey:
    return CallKey(uuid.UUID(int=chat), model, subject)


def fail(breaker: CircuitBreaker, *keys: CallKey, unreachable: bool = False) -> list[CircuitScope]:
    """Record a failure of each; returns the circuits that opened."""
    opened = [breaker.record_failure(key, "upstream_unavailable", unreachable=unreachable) for key in keys]
    return [scope for scope in opened if scope is not None]


def test_five_failures_in_a_row_open_it_and_an_answer_in_between_starts_again() -> None:
    breaker = CircuitBreaker()
    assert fail(breaker, *[call()] * 4) == []
    breaker.record_success(call())
    assert fail(breaker, *[call()] * 4) == []
    assert breaker.blocks(call()) is None
    assert fail(breaker, call()) == [CircuitScope(SONNET, "ann")]
    assert breaker.blocks(call()) is not None


def test_a_caller_whose_questions_draw_errors_stops_nobody_else() -> None:
    breaker = CircuitBreaker()
    fail(breaker, *(call(chat) for chat in range(200)))
    assert breaker.blocks(call(300)) is not None
    assert breaker.blocks(call(300, subject="ben")) is None
    assert breaker.blocks(call(300, model=OPUS)) is None


def test_one_failure_of_another_caller_does_not_make_everybody_wait() -> None:
    breaker = CircuitBreaker()
    fail(breaker, *[call()] * 5, call(2, subject="ben"))
    assert breaker.blocks(call(3, subject="cleo")) is None


def test_a_model_that_fails_several_callers_stops_for_all_and_no_other_model_does() -> None:
    breaker = CircuitBreaker()
    keys = [call(chat, subject=f"caller {chat}") for chat in range(5)]
    assert fail(breaker, *keys) == [CircuitScope(SONNET, None)]
    assert breaker.blocks(call(9, subject="new")) is not None
    assert breaker.blocks(call(9, subject="new", model=OPUS)) is None


def test_failures_of_several_models_and_callers_stop_all_calls() -> None:
    breaker = CircuitBreaker()
    keys = [call(chat, model=model, subject=f"caller {chat}") for chat, model in enumerate([SONNET, OPUS, GPT] * 2)]
    assert fail(breaker, *keys) == [GATEWAY]
    assert breaker.blocks(call(9, model=68, subject="new")) is not None


def test_a_gateway_that_cannot_be_reached_stops_all_calls_whoever_made_them() -> None:
    breaker = CircuitBreaker()
    assert fail(breaker, *[call()] * 5, unreachable=True) == [GATEWAY]
    assert breaker.blocks(call(2, model=OPUS, subject="ben")) is not None


def test_one_caller_alone_makes_wait_their_calls_to_all_models_when_several_fail() -> None:
    breaker = CircuitBreaker()
    keys = [call(chat, model=model) for chat, model in enumerate([SONNET, OPUS, SONNET, OPUS, SONNET])]
    assert fail(breaker, *keys) == [CircuitScope(None, "ann")]
    assert breaker.blocks(call(9, model=GPT)) is not None
    assert breaker.blocks(call(9, model=SONNET, subject="ben")) is None


def test_another_callers_answer_does_not_send_all_the_failing_ones_again() -> None:
    breaker = CircuitBreaker()
    fail(breaker, *(call(chat) for chat in range(5)))
    assert breaker.record_success(call(9, subject="ben")) == ()
    assert breaker.blocks(call(10)) is not None
    assert breaker.record_success(call(10)) == (CircuitScope(SONNET, "ann"),)
    assert breaker.blocks(call(11)) is None


def test_a_wider_circuit_takes_over_from_the_narrower_ones() -> None:
    breaker = CircuitBreaker()
    fail(breaker, *[call()] * 5, call(2, subject="ben"), call(3, subject="cleo"))
    assert [circuit.scope for circuit in breaker.open_circuits] == [CircuitScope(SONNET, None)]
    assert breaker.record_success(call(3, subject="cleo")) == (CircuitScope(SONNET, None),)
    assert breaker.open_circuits == ()


def test_while_it_is_open_one_probe_is_due_every_five_seconds() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    fail(breaker, *[call()] * 5)
    assert breaker.acquire() is None
    assert breaker.seconds_to_probe() == 5
    clock.now += 5
    assert breaker.acquire() is not None
    assert breaker.acquire() is None
    fail(breaker, call(2))
    clock.now += 4.9
    assert breaker.acquire() is None
    clock.now += 0.1
    assert breaker.acquire() is not None


def test_a_circuit_that_nobody_waits_for_probes_with_the_first_who_comes() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    fail(breaker, *[call()] * 5)
    clock.now += 5
    probe = breaker.acquire()
    assert probe is not None
    breaker.release(probe.scope, nobody_waits=True)
    assert (breaker.acquire(), breaker.seconds_to_probe()) == (None, None)
    breaker.request_probe()
    assert breaker.acquire() is not None


def test_a_probe_whose_chat_another_process_has_passes_its_turn_on_soon() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    fail(breaker, *[call()] * 5)
    clock.now += 5
    probe = breaker.acquire()
    assert probe is not None
    breaker.release(probe.scope, nobody_waits=False)
    clock.now += 0.5
    assert breaker.acquire() is not None


def test_what_nobody_has_called_for_an_hour_is_not_known_to_be_down() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    fail(breaker, *[call()] * 5)
    clock.now += FORGET_SECONDS + 1
    fail(breaker, call(2, model=OPUS, subject="ben"))
    assert breaker.blocks(call()) is None


@pytest.mark.parametrize("what", ["opened", "closed", "shut down", "wanted"])
def test_whoever_drives_the_probes_hears_of_each_change(what: str) -> None:
    heard: list[str] = []
    breaker = CircuitBreaker(changed=lambda: heard.append("changed"))
    fail(breaker, *[call()] * 4)
    assert heard == []
    if what != "shut down":
        fail(breaker, call())
    if what == "closed":
        breaker.record_success(call())
    if what == "wanted":
        breaker.request_probe()
    if what == "shut down":
        breaker.shutdown()
    assert len(heard) == (1 if what in ("opened", "shut down") else 2)


MODELS = st.sampled_from([SONNET, OPUS, GPT])
SUBJECTS = st.sampled_from(["ann", "ben", "cleo"])


class BreakerMachine(RuleBasedStateMachine):
    """Beside a plain history: nothing is open without the failures for it, and whoever waits is probed soon."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(clock=self.clock)
        self.history: list[tuple[CallKey, bool, bool]] = []
        self.last_probe: dict[CircuitScope, float] = {}
        self.chats = 0

    def _key(self, model: int, subject: str) -> CallKey:
        self.chats += 1
        return call(self.chats, model=model, subject=subject)

    def _failures(self, scope: CircuitScope) -> list[tuple[CallKey, bool]]:
        """Failures of a scope since its last success, by the whole history."""
        failures: list[tuple[CallKey, bool]] = []
        for key, good, unreachable in self.history:
            if scope.covers(CircuitScope(key.model, key.subject)):
                failures = [] if good else [*failures, (key, unreachable)]
        return failures

    @rule(model=MODELS, subject=SUBJECTS, unreachable=st.booleans(), number=st.integers(1, 6))
    def fails(self, model: int, subject: str, unreachable: bool, number: int) -> None:
        for _ in range(number):
            key = self._key(model, subject)
            self.history.append((key, False, unreachable))
            self.breaker.record_failure(key, "timeout", unreachable=unreachable)
        if number >= 5:
            assert self.breaker.blocks(self._key(model, subject)) is not None

    @rule(model=MODELS, subject=SUBJECTS)
    def succeeds(self, model: int, subject: str) -> None:
        key = self._key(model, subject)
        self.history.append((key, True, False))
        self.breaker.record_success(key)
        assert self.breaker.blocks(key) is None

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def probes(self) -> None:
        while (circuit := self.breaker.acquire()) is not None:
            assert self.clock.now - max(self.last_probe.get(circuit.scope, 0), circuit.opened_at) >= 5
            self.last_probe[circuit.scope] = self.clock.now

    @invariant()
    def an_open_circuit_has_the_failures_for_it(self) -> None:
        for circuit in self.breaker.open_circuits:
            failures = self._failures(circuit.scope)
            assert len(failures) >= 5
            if sum(unreachable for _, unreachable in failures) >= 5 and circuit.scope == GATEWAY:
                continue
            subjects = Counter(key.subject for key, _ in failures)
            models = Counter(key.model for key, _ in failures)
            if circuit.scope.subject is None:
                assert subjects.total() - max(subjects.values()) >= 2
            if circuit.scope.model is None:
                assert models.total() - max(models.values()) >= 2

    @invariant()
    def whoever_waits_is_probed_within_five_seconds(self) -> None:
        seconds = self.breaker.seconds_to_probe()
        assert (seconds is None) == (not self.breaker.open_circuits)
        assert seconds is None or seconds <= 5.000_001


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)


def test_a_pause_stops_all_until_its_time_and_the_last_word_counts() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    breaker.pause(call(), 2.0)
    clock.now += 1
    breaker.pause(call(2, model=OPUS, subject="ben"), 2.0)
    assert breaker.blocks(call(3, model=GPT, subject="cleo")) is not None
    clock.now += 1.5
    assert breaker.acquire() is None
    clock.now += 0.5
    circuit = breaker.acquire()
    assert circuit is not None
    assert circuit.is_pause
    assert breaker.acquire() is None, "one call goes first"
    assert breaker.record_success(call(2)) == (GATEWAY,)
    assert breaker.blocks(call()) is None
