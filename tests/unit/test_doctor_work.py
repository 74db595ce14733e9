"""What the doctor makes of workers, gateway and rows together: each fault is told as what it is."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.chat.recent import ChatEndings, Fallbacks
from shared.system_status import LockHolder, SystemStatus
from shared.upstream_health import TargetCalls, UpstreamHealth, judge
from worker.doctor.findings import Finding
from worker.doctor.work import Facts, of_endings, of_work

LIVING = {"refresh": 1, "chat": 1, "beat": 1}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def read_status(**more: int) -> SystemStatus:
    """Nothing is stuck, but for these."""
    return SystemStatus(**(dict.fromkeys([field.name for field in fields(SystemStatus)], 0) | more))


def outage(code: str = "upstream_unavailable", status: int | None = 503) -> UpstreamHealth:
    failing = TargetCalls(
        "28",
        last_failure_at=NOON,
        last_failure_code=code,
        last_failure_status=status,
        failing_since=NOON,
        failures_in_a_row=9,
    )
    return judge([failing], [], chats_waiting=5)


def look(**facts: Any) -> dict[str, Finding]:
    defaults: dict[str, Any] = {
        "database": "answers",
        "redis": "writes",
        "alive": LIVING,
        "status": read_status(),
        "health": judge([], [], chats_waiting=0),
    }
    return {finding.name: finding for finding in of_work(Facts(**(defaults | facts)))}


def faults(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.level == "fault"}


def test_a_healthy_system_has_no_fault() -> None:
    assert {finding.level for finding in look().values()} == {"good"}


def test_chats_that_wait_for_a_gateway_that_is_down_are_not_stuck() -> None:
    report = look(status=read_status(chats_waiting=5), health=outage())
    assert faults(report) == {"upstream"}
    assert report["upstream"].detail.endswith("(503 upstream_unavailable); 5 chats wait; nothing to do here")


def test_without_a_chat_worker_an_old_outage_is_not_what_chats_wait_for() -> None:
    report = look(status=read_status(chats_waiting=5), health=outage(), alive=LIVING | {"chat": 0})
    assert faults(report) == {"chat worker", "chats"}
    assert "no chat worker is alive" in report["chats"].detail
    assert "not asked while no chat worker lives" in report["upstream"].detail


def test_a_refused_key_is_no_outage() -> None:
    report = look(health=outage("unauthorised", 401))
    assert faults(report) == {"upstream key"}
    assert "MATCHAAI_API_KEY" in str(report["upstream key"].advice)


def test_chats_that_wait_for_their_turn_are_no_fault_and_ask_for_more_places() -> None:
    report = look(status=read_status(chats_in_line=5, oldest_in_line_seconds=75, places=10))
    assert faults(report) == set()
    assert report["chats"].detail == "5 chats wait their turn behind 10 places; the oldest has waited for 75 s"
    assert "CHAT_CONCURRENCY" in str(report["chats"].advice)


def test_living_workers_are_not_to_be_started() -> None:
    report = look(status=read_status(chats_waiting=5, runs_waiting=1))
    assert faults(report) == {"chats", "runs"}
    for name, kind in (("chats", "chat"), ("runs", "refresh")):
        assert f"although a {kind} worker is alive" in report[name].detail
        assert "restart" in str(report[name].advice)


@pytest.mark.parametrize("facts", [{"redis": "no writes", "alive": {}}, {"redis": "unknown", "alive": None}])
def test_while_redis_cannot_be_used_no_worker_is_blamed(facts: dict[str, Any]) -> None:
    report = look(status=read_status(chats_waiting=5, chats_without_lease=2, runs_waiting=1), **facts)
    assert faults(report) == set()
    for name in ("chats", "runs"):
        assert "Redis" in report[name].detail


def test_while_postgresql_is_away_silent_workers_are_not_called_dead() -> None:
    report = look(database="away", status=None, health=None, alive={"refresh": 1, "beat": 1})
    assert faults(report) == set()
    assert "PostgreSQL" in report["chat worker"].detail


def test_chats_past_their_deadline_are_a_fault_of_their_own() -> None:
    assert faults(look(status=read_status(chats_past_deadline=3))) == {"deadlines"}


@pytest.mark.parametrize(
    ("codes", "ended", "lately", "level"),
    [
        ({}, 50, (0, 50), "good"),
        ({"timeout": 1}, 50, (0, 20), "warning"),
        ({"timeout": 2}, 2, (2, 2), "warning"),  # as with the alert: one bad chat in a quiet hour wakes nobody
        ({"timeout": 3}, 60, (3, 60), "warning"),
        ({"timeout": 4}, 60, (4, 60), "fault"),
    ],
)
def test_failures_of_chats(codes: dict[str, int], ended: int, lately: tuple[int, int], level: str) -> None:
    assert of_endings(ChatEndings(codes, ended, *lately, last_failed_at=NOON)).level == level


def test_failures_are_named_by_code_the_most_frequent_first_with_what_helps() -> None:
    codes = {"timeout": 2, "unauthorised": 7, "expired": 1, "upstream_shape": 1, "unknown_model": 1, "rate_limited": 1}
    finding = of_endings(ChatEndings(codes, 40, 0, 0, NOON))
    counted = "7 unauthorised, 2 timeout, 1 expired, 1 rate_limited, 2 others"
    assert finding.detail == f"13 of 40 chats failed or expired in the last hour: {counted}"
    assert "MATCHAAI_API_KEY" in str(finding.advice)


def test_what_fails_now_says_what_to_do_and_the_models_are_named() -> None:
    finding = of_endings(
        ChatEndings(
            {"expired": 8, "prompt_too_long": 6},
            14,
            14,
            14,
            NOON,
            failing_now={"prompt_too_long": 6},
            by_model={"gpt-4o": 13, "gpt-5": 1},
        )
    )
    assert "(models: 13 gpt-4o, 1 gpt-5)" in finding.detail
    assert str(finding.advice).startswith("callers send too much")


@pytest.mark.parametrize(("good_since", "level"), [(2, "fault"), (3, "warning")])
def test_failures_after_which_chats_succeed_are_over(good_since: int, level: str) -> None:
    finding = of_endings(ChatEndings({"upstream_rejected": 6}, 9, 6, 9, NOON, good_since=good_since))
    assert finding.level == level
    assert (f"none since 12:00 UTC, and {good_since} succeeded since" in finding.detail) == (level == "warning")


@pytest.mark.parametrize(
    ("ended", "number", "shown"), [(40, 2, False), (40, 3, True), (60, 3, False)], ids=["few", "many", "a small share"]
)
def test_names_asked_for_in_vain_are_named_from_where_the_alert_fires(ended: int, number: int, shown: bool) -> None:
    report = look(fallbacks=Fallbacks(ended, number, [("gpt-99", "unknown_key", number)]))
    assert ("chat fallbacks" in report) == shown
    if shown:
        assert report["chat fallbacks"].detail.endswith(f"by another model: {number} for gpt-99 (unknown_key)")
        assert "llm-refresh chats --model KEY" in str(report["chat fallbacks"].advice)


def test_rows_that_another_program_holds_are_not_blamed_on_a_worker() -> None:
    holder = LockHolder(4711, "postgres", "", "public.llm_sync_runs")
    report = look(status=read_status(runs_waiting=1, chats_past_deadline=1), holders=[holder])
    assert report["runs"].detail.endswith("by a transaction of another program: pid 4711 (postgres, without a name)")
    assert "pg_terminate_backend(4711)" in str(report["runs"].advice)
    assert "4711" not in report["deadlines"].detail  # it holds the other table


@pytest.mark.parametrize(
    ("code", "answered_after_minutes", "level"),
    [("unauthorised", 1, "warning"), ("unauthorised", -1, "fault"), ("attempts_exhausted", 1, "fault")],
)
def test_a_cause_that_is_over_asks_for_nothing(code: str, answered_after_minutes: int, level: str) -> None:
    answered = NOON + timedelta(minutes=answered_after_minutes)
    health = judge([TargetCalls("28", last_answer_at=answered, last_success_at=answered)], [], chats_waiting=0)
    finding = of_endings(ChatEndings({code: 9}, 10, 9, 10, NOON), health)
    assert finding.level == level
    assert ("nothing to do" in str(finding.advice)) == (level == "warning")
