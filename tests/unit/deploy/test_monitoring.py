"""Alerts and dashboard: the rules hold, they name metrics that exist, and each alert leads into the runbook."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
import yaml

from shared.chat import counting, figures
from shared.chat.wait_figures import WaitFigures
from shared.system_status import CatalogueFigures
from shared.upstream_health import TargetCalls, judge
from tests.support.tools import ROOT, run_tool, tool
from worker.doctor.findings import SECTIONS, Line
from worker.web import metric_families, metrics
from worker.web.access_log import HttpExchange

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULE_TESTS = sorted(PROMETHEUS.glob("alerts*.test.yml"))
CATALOGUE = CatalogueFigures({("failed", "api"): 1}, "failed", 1, 2.0, {("active", "openai"): 1}, {"added": 1}, 0, 0, 0)
CHATS = figures.Figures(
    {("gpt-4o", "failed"): 1}, {}, {"queued": 1}, 3.0, 0, 0, (0,) * (len(counting.BUCKETS_MS) + 1), 0
)
WAITS = WaitFigures({"batch": (0,) * (len(counting.BUCKETS_MS) + 1)}, {"batch": 0}, {"batch": 0.0}, 0)
HEALTH = judge([TargetCalls("28", last_success_at=datetime(2026, 1, 1, tzinfo=UTC))], [], chats_waiting=0)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def exported() -> dict[str, set[str]]:
    """Each series that `/metrics` shows, with its labels."""
    times = metrics.RequestTimes(None)
    times.observe(HttpExchange("GET", "/api/llms", 200, 0.1, None, "request"))
    families = [
        *metric_families.of_catalogue(CATALOGUE, stale_after=timedelta(hours=26)),
        *metric_families.of_chats(CHATS, {"gpt-4o"}),
        *metric_families.of_waits(WAITS),
        *metric_families.of_upstream(HEALTH),
        *metric_families.of_disks({"home": (1, 2)}),
        metric_families.of_workers({}),
        metric_families.of_dispatch(1),
        metric_families.up("postgresql", True),
        metric_families.up("redis", True),
        *times.collector().collect(),
    ]
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """The series that a query reads, with the labels that it selects by."""
    queried = re.findall(r"(llm_refresh_\w+)(?:\{([^}]*)\})?", query)
    return [(name, set(re.findall(r"(\w+)\s*=~?", labels))) for name, labels in queried]


@pytest.mark.parametrize("query", [rule["expr"] for rule in rules()] + queries())
def test_every_query_reads_series_and_labels_that_exist(query: str) -> None:
    exported_names = exported()
    assert selectors(query)
    for name, labels in selectors(query):
        assert name in exported_names
        assert labels <= exported_names[name]
    for labels in re.findall(r"by \(([^)]*)\)", query):
        read = set().union(*(exported_names[name] for name, _ in selectors(query)))
        assert set(labels.split(", ")) <= read


@pytest.mark.parametrize("query", [query for query in queries() if "http_request" not in query])
def test_figures_that_replicas_repeat_are_never_summed_over_them(query: str) -> None:
    """Before anything is added, `max` or `min` has made one series of all replicas' copies."""
    assert re.search(r"\b(max|min)( by \([^)]*\))? ?\(", query)
    assert not re.search(r"sum( by \([^)]*\))? ?\((?!max)", query)


def test_the_rules_are_what_prometheus_takes_and_fire_when_they_should() -> None:
    promtool = tool("promtool")
    run_tool(promtool, "check", "rules", PROMETHEUS / "alerts.yml")
    run_tool(promtool, "check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    run_tool(promtool, "test", "rules", *RULE_TESTS)


def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    tests = [test for file in RULE_TESTS for test in yaml.safe_load(file.read_text())["tests"]]
    tested = {(each["alertname"], bool(each["exp_alerts"])) for test in tests for each in test["alert_rule_test"]}
    assert tested == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def headings() -> list[str]:
    """The runbook's sections, as links name them."""
    titles = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_alerts_and_lines_of_doctor_match_the_sections_of_the_runbook() -> None:
    linked = [rule["annotations"]["runbook_url"].removeprefix("docs/runbook.md#") for rule in rules()]
    assert len(linked) == len(set(linked))  # an alert has one of its own
    assert {*linked, *SECTIONS.values()} == set(headings())
    assert len(headings()) == len(set(headings()))


def test_the_lines_of_doctor_are_those_that_it_says_and_no_others() -> None:
    assert set(get_args(Line)) == set(SECTIONS)
    sources = [file for file in (ROOT / "worker").rglob("*.py") if "doctor" in str(file) or "diagnosis" in file.name]
    code = "".join(file.read_text() for file in sources if file.name != "findings.py")
    assert [line for line in SECTIONS if f'"{line}"' not in code] == []


def test_links_within_the_runbook_lead_somewhere() -> None:
    links = re.findall(r"\]\(#([^)]+)\)", (ROOT / "docs" / "runbook.md").read_text())
    assert set(links) <= set(headings())


def test_each_section_of_the_runbook_has_its_meaning_checks_and_actions() -> None:
    sections = (ROOT / "docs" / "runbook.md").read_text().split("\n## ")[1:]
    for section in sections:
        for part in ("**What it means.**", "**What to look at.**", "**What to do.**"):
            assert part in section, section.splitlines()[0]
