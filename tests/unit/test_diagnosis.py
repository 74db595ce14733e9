"""What the doctor makes of clocks and settings, which no test can move on a real machine."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.catalogue.sync.holds import Hold
from shared.settings import Settings
from shared.system_status import SystemStatus
from worker.doctor import checks


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0.2, "good"), (-4.9, "good"), (6, "warning"), (-59, "warning"), (61, "fault"), (-61, "fault")],
)
def test_clocks_apart(seconds: float, level: str) -> None:
    assert checks.of_clock("PostgreSQL", seconds).level == level


def test_a_clock_is_said_to_be_ahead_or_behind() -> None:
    assert checks.of_clock("Redis", 90).detail == "Redis's clock is 90.0 s ahead of this machine's"
    assert checks.of_clock("Redis", -90).detail == "Redis's clock is 90.0 s behind this machine's"


def production(**more: object) -> Settings:
    defaults = {"database_url": "postgresql://h/d", "redis_url": "redis://h", "jwt_secret": "x" * 32}
    return Settings(**(defaults | more))


def levels(settings: Settings) -> list[str]:
    return [finding.level for finding in checks.of_settings(settings)]


def test_production_without_a_gateway_is_a_warning() -> None:
    assert levels(production()) == ["good", "warning"]


def test_a_name_that_looks_like_ours_is_a_warning() -> None:
    findings = list(checks.of_settings(production(), ["CHAT_CONCURENCY is not read: CHAT_CONCURRENCY is"]))
    assert ("warning", "CHAT_CONCURENCY is not read: CHAT_CONCURRENCY is") in [
        (each.level, each.detail) for each in findings
    ]


def test_a_gateway_without_a_mission_is_a_fault() -> None:
    variables = {"matchaai_base_url": "https://h/rest/api/v1", "matchaai_api_key": "k"}
    assert levels(production(**variables)) == ["good", "fault"]
    assert levels(production(**variables, matchaai_mission_id=1)) == ["good", "good"]
    for name, value in variables.items():
        assert levels(production(**{name: value})) == ["good", "fault"]


def test_local_mode_has_its_stand_in() -> None:
    assert levels(production(llm_refresh_env="local")) == ["good", "good"]


def read_status(**more: object) -> SystemStatus:
    """A healthy system, but for these."""
    values = {
        "active_models": 5,
        "has_default": True,
        "age_seconds": 3600.0,
        "ever_synced": True,
        "last_run": "succeeded",
        "last_error": None,
    }
    names = [field.name for field in fields(SystemStatus)]
    return SystemStatus(**(dict.fromkeys(names, 0) | values | more))


@pytest.mark.parametrize(("hours", "level"), [(1.0, "good"), (1.2, "fault")])
def test_the_age_that_is_allowed_follows_the_schedule(hours: float, level: str) -> None:
    findings = checks.of_status(read_status(age_seconds=hours * 3600), stale_after=timedelta(hours=1.08))
    assert next(finding.level for finding in findings if finding.name == "last sync") == level


def test_a_hold_is_a_warning_that_names_both_ways_out() -> None:
    model = {"model_key": "gpt-4o", "requests": 3, "callers": 1}
    held = {"absent": 4, "active": 5, "repointed": 0, "sha256": "f" * 64, "models": [model]}
    hold = Hold(UUID(int=1), datetime(2026, 11, 25, tzinfo=UTC), held, "matchaai")
    (finding,) = checks.of_hold(hold)
    assert finding.level == "warning"
    assert "gpt-4o (3 requests, 1 callers)" in finding.detail
    assert "--force " + "f" * 64 in (finding.advice or "")
    assert "dismissed" not in finding.detail
    (again,) = checks.of_hold(hold, dismissed_before={"by": "olga", "at": "2026-11-24T10:00:00+00:00"})
    assert "this very list was dismissed before, by olga at 2026-11-24 10:00 UTC" in again.detail
    assert list(checks.of_hold(None)) == []
