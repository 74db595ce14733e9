"""Whether MatchaAI is up, down, or down for one model: what is made of what processes have reported."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.upstream_health import ALL_TARGETS, ReportedCircuit, TargetCalls, describe_health, judge
from worker.doctor.work import of_upstream

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def answering(target: str, minutes: float) -> TargetCalls:
    return TargetCalls(target, at(minutes), at(minutes))


def failing(target: str, since: float, *, answered: float | None = None, number: int = 7) -> TargetCalls:
    """A target that has failed from a moment until half an hour after noon."""
    answer = None if answered is None else at(answered)
    return TargetCalls(
        target, answer, answer, at(30), "upstream_unavailable", 503, at(since), number, {"upstream_unavailable": number}
    )


def test_nothing_called_yet_is_unknown_and_not_down() -> None:
    health = judge([], [], chats_waiting=0)
    assert (health.state, health.is_up) == ("unknown", True)
    assert of_upstream(health).level == "good"


def test_calls_that_fail_in_a_row_are_an_outage_since_the_first_of_them() -> None:
    health = judge([failing("28", 19, answered=18), failing("40", 20)], [], chats_waiting=5)
    assert (health.state, health.since, health.failures_in_a_row) == ("down", at(19), 14)
    assert describe_health(health) == (
        "MatchaAI has not answered since 12:19 UTC (503 upstream_unavailable); 5 chats wait"
    )
    finding = of_upstream(health)
    assert (finding.level, finding.detail.endswith("; nothing to do here")) == ("fault", True)
    assert "worker" not in f"{finding.detail} {finding.advice}"


def test_one_model_that_fails_beside_others_that_answer_is_no_outage_of_all() -> None:
    circuit = ReportedCircuit("28", False, at(20), "Claude 3.7 Sonnet")
    health = judge([failing("28", 19, answered=18), answering("40", 29)], [circuit], chats_waiting=0)
    assert (health.state, health.is_up, health.since) == ("degraded", False, at(19))
    assert describe_health(health) == ("Claude 3.7 Sonnet has not answered since 12:19 UTC; other models answer")
    assert of_upstream(health).level == "warning"


def test_errors_of_one_caller_are_no_outage_once_the_model_answers_others() -> None:
    circuit = ReportedCircuit("28", True, at(20), "Claude 3.7 Sonnet")
    assert judge([answering("28", 25)], [circuit], chats_waiting=0).state == "up"
    assert judge([failing("28", 19, answered=18)], [circuit], chats_waiting=0).state == "down"


def test_a_circuit_for_all_calls_is_an_outage_although_the_list_is_answered() -> None:
    circuit = ReportedCircuit(ALL_TARGETS, False, at(20))
    health = judge([failing("28", 19), answering("list", 25)], [circuit], chats_waiting=1)
    assert (health.state, health.since) == ("down", at(20))


def test_an_answer_after_the_failures_ends_it() -> None:
    calls = [TargetCalls("28", at(31), at(31), at(30), "timeout", None, None, 0, {"timeout": 3})]
    health = judge(calls, [], chats_waiting=0)
    assert (health.state, health.since, health.failures_in_a_row) == ("up", None, 0)
    assert health.failures == {"timeout": 3}


def test_a_refused_key_is_told_as_such_and_as_something_to_do() -> None:
    calls = [TargetCalls("28", at(1), at(1), at(30), "unauthorised", 401, at(2), 4, {"unauthorised": 4})]
    finding = of_upstream(judge(calls, [], chats_waiting=0))
    assert finding.detail == "MatchaAI has refused the key since 12:02 UTC (401 unauthorised)"
    assert "MATCHAAI_API_KEY" in str(finding.advice)


@pytest.mark.parametrize(("number", "words"), [(1, "1 chat waits"), (2, "2 chats wait")])
def test_chats_that_wait_are_counted(number: int, words: str) -> None:
    assert words in describe_health(judge([failing("28", 1)], [], chats_waiting=number))


def test_an_outage_of_yesterday_has_its_day() -> None:
    assert "2026-02-28 12:00 UTC" in describe_health(judge([failing("28", -1440)], [], chats_waiting=0))
