"""What the doctor makes of clocks and settings, which no test can move on a real machine."""

import pytest

from shared.settings import Settings
from worker import diagnosis


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0.2, "good"), (-4.9, "good"), (6, "warning"), (-59, "warning"), (61, "fault"), (-61, "fault")],
)
def test_clocks_apart(seconds: float, level: str) -> None:
    assert diagnosis.of_clock("PostgreSQL", seconds).level == level


def test_a_clock_is_said_to_be_ahead_or_behind() -> None:
    assert diagnosis.of_clock("Redis", 90).detail == "Redis's clock is 90.0 s ahead of this machine's"
    assert diagnosis.of_clock("Redis", -90).detail == "Redis's clock is 90.0 s behind this machine's"


def production(**more: object) -> Settings:
    known = {"database_url": "postgresql://h/d", "redis_url": "redis://h", "jwt_secret": "x" * 32}
    return Settings(**(known | more))  # type: ignore[arg-type]


def levels(settings: Settings) -> list[str]:
    return [finding.level for finding in diagnosis.of_settings(settings)]


def test_production_without_a_gateway_is_a_warning() -> None:
    assert levels(production()) == ["good", "warning"]


def test_a_gateway_without_a_mission_is_a_fault() -> None:
    given = {"matchaai_base_url": "https://h/rest/api/v1", "matchaai_api_key": "k"}
    assert levels(production(**given)) == ["good", "fault"]
    assert levels(production(**given, matchaai_mission_id=1)) == ["good", "good"]
    for name, value in given.items():
        assert levels(production(**{name: value})) == ["good", "fault"]


def test_local_mode_has_its_stand_in() -> None:
    assert levels(production(llm_refresh_env="local")) == ["good", "good"]
