"""What calls of the gateway experience: added up, and the same whenever it is written down."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gateway.errors import GatewayError
from shared.gateway.health import CallTallies, CallTally, concerns_health

DOWN = GatewayError("upstream_unavailable", "HTTP 503.", http_status=503, trips_circuit=True)
KEY = GatewayError("unauthorised", "The key was refused.", permanent=True, http_status=401)
REJECTED = GatewayError("upstream_rejected", "No.", permanent=True, http_status=400)
OUTCOMES = st.lists(st.sampled_from([None, DOWN, KEY, REJECTED]), max_size=12)


@pytest.mark.parametrize(("error", "concerns"), [(DOWN, True), (KEY, True), (REJECTED, False)])
def test_an_outage_and_a_refused_key_concern_everybody_a_rejection_one_question(
    error: GatewayError, concerns: bool
) -> None:
    assert concerns_health(error) is concerns


def test_a_refusal_is_a_sign_of_life_and_no_success() -> None:
    tallies = CallTallies()
    tallies.record("28", DOWN, 1.0)
    tallies.record("28", REJECTED, 2.0)
    (tally,) = tallies.take().values()
    assert (tally.answered_at, tally.succeeded_at, tally.failures_in_a_row, tally.failing_since) == (2.0, None, 0, None)
    assert tally.failures == {"upstream_unavailable": 1, "upstream_rejected": 1}


@dataclass
class Clock:
    now: float = 0.0


def record(tallies: CallTallies, outcomes: Sequence[GatewayError | None], clock: Clock) -> None:
    for outcome in outcomes:
        clock.now += 1
        tallies.record("28", outcome, clock.now)


@given(OUTCOMES, OUTCOMES)
def test_what_could_not_be_written_is_joined_with_what_came_after(
    earlier: list[GatewayError | None], later: list[GatewayError | None]
) -> None:
    at_once, in_two, clock = CallTallies(), CallTallies(), Clock()
    record(at_once, [*earlier, *later], clock)
    clock = Clock()
    record(in_two, earlier, clock)
    unwritten = in_two.take()
    record(in_two, later, clock)
    in_two.put_back(unwritten)
    assert in_two.take().get("28", CallTally()) == at_once.take().get("28", CallTally())
