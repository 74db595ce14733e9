"""Trying again: what may pass, with growing pauses, within the deadline, and with the real cause kept."""

import asyncio
from collections.abc import Callable

import pytest

from shared.gateway.errors import GatewayError
from shared.gateway.retry import call_with_retries

BAD_GATEWAY = GatewayError("upstream_unavailable", "HTTP 502.", http_status=502, trips_circuit=True)
TIMED_OUT = GatewayError("timeout", "Nothing came.", trips_circuit=True)
WRONG_KEY = GatewayError("unauthorised", "Wrong key.", permanent=True)


class Upstream:
    """Fails as listed, one after the other, then answers; each try takes `takes` seconds of a clock of its own."""

    def __init__(self, *failures: GatewayError, takes: float = 0.0) -> None:
        self.failures = list(failures)
        self.takes = takes
        self.now = 100.0
        self.given: list[float] = []
        self.pauses: list[float] = []
        self.told: list[tuple[str, int, float | None]] = []

    async def call(self, seconds: float) -> str:
        self.given.append(seconds)
        self.now += self.takes
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def on_failure(self, error: GatewayError, try_number: int, pause: float | None) -> None:
        self.told.append((error.code, try_number, pause))

    def tried(
        self, *, deadline: float = 60.0, base: float = 1.0, longest: float = 30.0, jitter: Callable[[], float] = float
    ) -> str:
        return asyncio.run(
            call_with_retries(
                self.call,
                deadline_seconds=deadline,
                base_seconds=base,
                max_pause_seconds=longest,
                jitter=jitter,
                on_failure=self.on_failure,
                sleep=self.sleep,
                clock=lambda: self.now,
            )
        )


def test_a_good_answer_is_returned_at_once() -> None:
    upstream = Upstream()

    assert upstream.tried() == "answer"
    assert (upstream.pauses, upstream.told) == ([], [])


def test_what_may_pass_is_tried_again_with_pauses_that_double_up_to_a_cap() -> None:
    upstream = Upstream(*[BAD_GATEWAY] * 5)

    assert upstream.tried(longest=6.0) == "answer"
    assert upstream.pauses == [1.0, 2.0, 4.0, 6.0, 6.0]


def test_jitter_takes_away_at_most_half_of_a_pause() -> None:
    upstream = Upstream(BAD_GATEWAY, BAD_GATEWAY)

    upstream.tried(jitter=iter([1.0, 0.5]).__next__)

    assert upstream.pauses == [0.5, 1.5]


def test_what_is_permanent_is_raised_as_it_came_and_not_tried_again() -> None:
    upstream = Upstream(BAD_GATEWAY, WRONG_KEY)

    with pytest.raises(GatewayError) as caught:
        upstream.tried()

    assert caught.value is WRONG_KEY
    assert upstream.told == [("upstream_unavailable", 1, 1.0), ("unauthorised", 2, None)]


def test_a_longer_pause_that_the_upstream_asks_for_is_kept() -> None:
    upstream = Upstream(GatewayError("rate_limited", "Slow down.", retry_after_seconds=7.0))

    assert upstream.tried() == "answer"
    assert upstream.pauses == [7.0]


def test_a_pause_that_would_not_end_before_the_deadline_is_not_begun() -> None:
    upstream = Upstream(GatewayError("rate_limited", "Slow down.", retry_after_seconds=60.0))

    with pytest.raises(GatewayError) as caught:
        upstream.tried(deadline=60.0)

    assert (caught.value.code, caught.value.retry_after_seconds) == ("rate_limited", 60.0)
    assert upstream.pauses == []


def test_an_outage_that_is_to_outlast_the_deadline_is_tried_again_within_it() -> None:
    upstream = Upstream(GatewayError("upstream_unavailable", "HTTP 503.", http_status=503, retry_after_seconds=3600.0))

    assert upstream.tried(deadline=60.0) == "answer"
    assert upstream.pauses == [1.0]


def test_each_try_is_given_what_is_left_of_the_deadline() -> None:
    upstream = Upstream(BAD_GATEWAY, BAD_GATEWAY, takes=2.0)

    upstream.tried(deadline=20.0)

    assert upstream.given == [20.0, 17.0, 13.0]


def test_the_end_of_the_deadline_names_the_cause_and_the_number_of_tries() -> None:
    upstream = Upstream(*[BAD_GATEWAY] * 9)

    with pytest.raises(GatewayError) as caught:
        upstream.tried(deadline=5.0)

    assert (caught.value.code, caught.value.http_status) == ("upstream_unavailable", 502)
    assert caught.value.detail == "HTTP 502. Gave up after 3 tries within 5 s."
    assert [number for _, number, _ in upstream.told] == [1, 2, 3]


def test_a_time_out_at_the_end_does_not_hide_the_cause_before_it() -> None:
    upstream = Upstream(BAD_GATEWAY, TIMED_OUT, takes=3.0)

    with pytest.raises(GatewayError) as caught:
        upstream.tried(deadline=5.0)

    assert caught.value.code == "upstream_unavailable"
    assert caught.value.detail == "HTTP 502. Gave up after 2 tries within 5 s, the last of which timed out."


def test_time_outs_alone_are_a_time_out() -> None:
    upstream = Upstream(TIMED_OUT, TIMED_OUT, takes=3.0)

    with pytest.raises(GatewayError) as caught:
        upstream.tried(deadline=5.0)

    assert caught.value.code == "timeout"


def test_a_deadline_with_room_for_one_try_tells_just_its_cause() -> None:
    with pytest.raises(GatewayError) as caught:
        Upstream(TIMED_OUT).tried(deadline=0.5)

    assert caught.value is TIMED_OUT
