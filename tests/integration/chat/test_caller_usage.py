"""Usage by caller, model and day: counted where a chat ends, shown to whom it concerns, and as a report."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.chat import erasure, usage
from shared.chat.wait_figures import wait_figures
from shared.db import Caller
from tests.integration.chat.conftest import ANN, BEN, SERVICE, Chats

OPERATOR = Caller("operator", "olga")
FORMULA = Caller("authenticated", "=HYPERLINK(1)")


@pytest.fixture
def used(chats: Chats) -> Chats:
    """Ann had two answers by one model and cancelled a chat; Ben had one by another."""
    for number in range(2):
        chats.answered(f"Number {number}?", model="gpt-4o")
    chats.call("DELETE", f"/api/chats/{chats.accepted('Not now.', model='gpt-4o')}")
    chats.answered("Mine?", caller=BEN, model="claude-3-5-sonnet")
    return chats


def lines(chats: Chats, caller: Caller, query: str) -> list[dict[str, Any]]:
    response = chats.call("GET", f"/api/llms/usage?{query}", caller)
    assert response.status_code == 200, response.text
    return list(response.json["usage"])


def test_a_line_for_each_caller_sums_how_its_chats_ended(used: Chats) -> None:
    for reader in (OPERATOR, SERVICE):
        ann, ben = lines(used, reader, "by=caller&days=1")
        assert (ann["caller"], ann["request_count"], ann["successes"], ann["cancelled"]) == ("ann", 3, 2, 1)
        assert (ben["caller"], ben["request_count"], ben["successes"], ben["failures"]) == ("ben", 1, 1, 0)
        assert ann["mean_ms"] >= 0
        assert "model_key" not in ann


def test_a_line_for_each_model_or_day(used: Chats) -> None:
    by_model = {line["model_key"]: line["request_count"] for line in lines(used, SERVICE, "by=model")}
    assert by_model == {"gpt-4o": 3, "claude-3-5-sonnet": 1}
    (today,) = lines(used, SERVICE, "by=day")
    assert (today["day"], today["request_count"]) == (datetime.now(UTC).date().isoformat(), 4)
    assert {line["model_key"] for line in lines(used, SERVICE, "days=1")} == set(by_model), "as before without `by`"


def test_a_caller_sees_its_own_use_alone(used: Chats) -> None:
    (own,) = lines(used, BEN, "by=caller")
    assert (own["caller"], own["request_count"]) == ("ben", 1)
    assert [line["model_key"] for line in lines(used, BEN, "by=model")] == ["claude-3-5-sonnet"]
    assert [line["request_count"] for line in lines(used, BEN, "by=day")] == [1]
    assert lines(used, Caller("authenticated", "nobody"), "by=caller") == []


@pytest.mark.parametrize(("query", "headers"), [("&format=csv", {}), ("", {"Accept": "text/csv"})])
def test_a_report_is_csv_without_formulas(used: Chats, query: str, headers: dict[str, str]) -> None:
    used.call("DELETE", f"/api/chats/{used.accepted(caller=FORMULA)}", FORMULA)
    response = used.call("GET", f"/api/llms/usage?by=caller{query}", headers=headers, caller=SERVICE)
    assert (response.status_code, response.mimetype) == (200, "text/csv")
    assert response.headers["Content-Disposition"] == 'attachment; filename="usage-by-caller.csv"'
    heading, *rows = csv.reader(io.StringIO(response.text))
    assert heading == [
        "caller",
        "request_count",
        "successes",
        "failures",
        "cancelled",
        "expired",
        "last_used",
        "mean_ms",
    ]
    assert {row[0]: row[1] for row in rows} == {"ann": "3", "ben": "1", "'=HYPERLINK(1)": "1"}


def test_unknown_groupings_and_formats_are_refused(chats: Chats) -> None:
    for query in ("by=role", "format=xml", "by=caller&days=0"):
        response = chats.call("GET", f"/api/llms/usage?{query}", SERVICE)
        assert (response.status_code, response.json["code"]) == (400, "invalid_query")


def test_an_erasure_takes_the_callers_lines_and_leaves_the_sums(used: Chats) -> None:
    erasure.erase_caller(used.runtime.database, "ann", actor="test")
    assert [line["caller"] for line in lines(used, SERVICE, "by=caller")] == ["ben"]
    assert sum(line["request_count"] for line in lines(used, SERVICE, "by=day")) == 4


def test_lines_are_deleted_when_they_are_old(used: Chats) -> None:
    used.catalogue.run(
        "UPDATE llm_caller_usage SET day = day - CAST(:days AS int) WHERE subject = 'ann'", days=usage.KEPT_DAYS
    )
    with used.runtime.database.transaction() as connection:
        assert [usage.delete_old(connection, limit=10) for _ in range(2)] == [1, 0]
    assert [line["caller"] for line in lines(used, SERVICE, "by=caller&days=3000")] == ["ben"]


def test_waits_are_counted_by_class_and_who_waits_is_told(used: Chats) -> None:
    with used.runtime.database.transaction() as connection:
        before = wait_figures(connection)
    assert {name: sum(numbers) for name, numbers in before.buckets.items()} == {"interactive": 4, "batch": 0}
    assert (before.callers_waiting, before.longest_seconds) == (0, {"interactive": 0.0, "batch": 0.0})
    for caller in (ANN, ANN, BEN):
        chat_id = used.accepted(caller=caller)
    used.catalogue.run("UPDATE llm_chats SET dispatched_at = NULL WHERE finished_at IS NULL")  # no place is free
    older = "UPDATE llm_chats SET class = 'batch', created_at = now() - interval '90 seconds' WHERE id = :id"
    used.catalogue.run(older, id=chat_id)
    with used.runtime.database.transaction() as connection:
        now = wait_figures(connection)
    assert now.callers_waiting == 2
    assert 0 < now.longest_seconds["interactive"] < 90 <= now.longest_seconds["batch"]
    used.call("DELETE", f"/api/chats/{chat_id}", BEN)
    with used.runtime.database.transaction() as connection:
        after = wait_figures(connection)
    assert sum(after.buckets["batch"]) == 1
    assert after.wait_ms["batch"] >= 90_000
