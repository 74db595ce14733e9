"""`doctor --live` against the stand-in, behaving and not."""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.stand_in import RunningStandIn
from shared.settings import Settings
from worker.doctor.findings import Finding
from worker.doctor.live_probe import check_gateway


@pytest.fixture(scope="module")
def started() -> Iterator[RunningStandIn]:
    with RunningStandIn() as running:
        yield running


@pytest.fixture
def gateway(started: RunningStandIn) -> RunningStandIn:
    started.behave()
    started.forget_calls()
    return started


def look(gateway: RunningStandIn, **more: Any) -> dict[str, Finding]:
    defaults = {
        "database_url": "postgresql://h/d",
        "redis_url": "redis://h",
        "jwt_secret": "x" * 32,
        "matchaai_base_url": gateway.url,
        "matchaai_api_key": gateway.api_key,
        "matchaai_mission_id": 7,
    }
    return {finding.name.removeprefix("live: "): finding for finding in check_gateway(Settings(**(defaults | more)))}


def faults(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.level == "fault"}


def test_a_gateway_as_expected_is_told_as_such(gateway: RunningStandIn) -> None:
    findings = look(gateway)
    assert {finding.level for finding in findings.values()} == {"good"}
    assert "27 models" in findings["list"].detail
    assert findings["answer shape"].detail == "the text stands at output[].content[].text, as expected"
    assert "llm_id and options.responseLLM took effect" in findings["model field"].detail


def test_it_makes_one_tiny_completion_by_each_field_of_a_listed_model(gateway: RunningStandIn) -> None:
    look(gateway)
    bodies = [call["body"] for call in gateway.calls()["requests"] if call["body"]]
    listed = [body for body in bodies if 28 in (body.get("llm_id"), body.get("options", {}).get("responseLLM"))]
    assert len(bodies) == 4  # beside each of the two one of a model that nobody lists
    assert sorted("llm_id" in body for body in listed) == [False, True]
    assert all(len(body["input"]) < 50 and body["mission_id"] == 7 for body in bodies)


def test_a_field_without_effect_is_a_fault_when_it_is_the_one_in_use(gateway: RunningStandIn) -> None:
    gateway.behave(ignores="llm_id")
    findings = look(gateway)
    assert faults(findings) == {"llm_id", "model field"}
    assert "has no effect" in findings["llm_id"].detail
    assert findings["model field"].advice == "set MATCHAAI_MODEL_FIELD=options.responseLLM"
    assert faults(look(gateway, matchaai_model_field="options.responseLLM")) == set()


def test_a_list_in_another_shape_is_named(gateway: RunningStandIn) -> None:
    gateway.behave(llms={"wrapped": "data"})
    findings = look(gateway)
    assert set(findings) == {"list"}
    assert "a list under 'data'" in findings["list"].detail


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ("message", "output[0].message.content"),
        ("choices", "choices[0].message.content"),
        ("output", "output"),
        ("response", "response"),
        ("text", "text"),
    ],
)
def test_another_shape_of_answer_is_named(gateway: RunningStandIn, shape: str, place: str) -> None:
    gateway.behave(completions={"shape": shape})
    finding = look(gateway)["answer shape"]
    assert finding.level == "warning"
    assert f"stands at {place}," in finding.detail


def test_a_refused_key_is_named_and_not_shown(gateway: RunningStandIn) -> None:
    finding = look(gateway, matchaai_api_key="another-key-than-that")["list"]
    assert finding.level == "fault"
    assert "unauthorised" in finding.detail
    assert "another-key" not in finding.detail


def test_completions_that_fail_are_named_with_their_cause(gateway: RunningStandIn) -> None:
    gateway.behave(completions={"html": True, "status": 502})
    findings = look(gateway)
    assert "llm_id" in faults(findings)
    assert "HTML page" in findings["llm_id"].detail


def test_nothing_is_asked_where_nothing_is_set_up(gateway: RunningStandIn) -> None:
    assert faults(look(gateway, matchaai_api_key=None)) == {"live"}
    assert gateway.calls()["llms"] == 0
