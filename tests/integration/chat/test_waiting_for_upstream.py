"""What is known and told of MatchaAI's health, from the calls of chats and refreshes."""

import uuid
from typing import Any

import pytest

from shared.db import DatabaseError
from shared.gateway.errors import GatewayError
from shared.upstream_health import CircuitReport, UpstreamHealth, read_health, report_circuits
from tests.integration.chat.conftest import ANN, BEN, Chats, wait_for
from worker.chat.process import ChatProcess
from worker.runtime import sources_of


def health(chats: Chats) -> UpstreamHealth:
    with chats.runtime.database.transaction() as connection:
        return read_health(connection)


@pytest.fixture(autouse=True)
def _nothing_called_yet(chats: Chats) -> None:
    for table in ("llm_upstream_calls", "llm_upstream_circuits"):
        chats.catalogue.run(f"DELETE FROM {table}")


def outage(chats: Chats, number: int = 6) -> tuple[ChatProcess, list[uuid.UUID]]:
    """A process whose calls fail, and chats that wait therefore."""
    chats.gateway.behave(completions={"status": 503})
    process = chats.process()
    chat_ids = [chats.accepted() for _ in range(number)]
    for chat_id in chat_ids:
        process.run(chat_id)
    return process, chat_ids


def test_before_the_first_call_nothing_is_known(chats: Chats) -> None:
    assert health(chats).state == "unknown"


def test_an_outage_is_known_with_its_beginning_and_cause_and_ends_with_an_answer(chats: Chats) -> None:
    _, chat_ids = outage(chats)
    wait_for(lambda: health(chats).state == "down" and health(chats).chats_waiting == 6)
    wait_for(lambda: health(chats).failures["upstream_unavailable"] >= 5)
    health_now = health(chats)
    assert health_now.last_failure == "503 upstream_unavailable"
    assert health_now.since is not None
    assert chats.catalogue.run("SELECT count(*) AS number FROM llm_upstream_circuits")[0]["number"] == 1
    chats.gateway.behave()
    wait_for(lambda: health(chats).state == "up")
    wait_for(lambda: chats.catalogue.run("SELECT count(*) AS number FROM llm_upstream_circuits")[0]["number"] == 0)
    assert health(chats).last_success_at is not None
    wait_for(lambda: any(chats.row(chat_id)["status"] == "succeeded" for chat_id in chat_ids))


def test_a_waiting_chat_says_what_it_waits_for_since_when_and_why(chats: Chats) -> None:
    process, chat_ids = outage(chats)
    late = chats.accepted("Late?")
    assert chats.shown(late, ANN)["waiting_for"] == "turn"
    process.run(late)
    shown = chats.shown(late, ANN)
    assert (shown["status"], shown["waiting_for"], shown["attempts"]) == ("queued", "upstream", 0)
    assert shown["last_failure"]["code"] == "upstream_unavailable"
    assert shown["waiting_since"] <= chats.row(late)["waiting_since"].isoformat()
    listed = chats.call("GET", "/api/chats").json["chats"]
    assert [chat["waiting_for"] for chat in listed] == ["upstream"] * 7
    chats.gateway.behave()
    wait_for(lambda: any(chats.row(chat_id)["status"] == "succeeded" for chat_id in [late, *chat_ids]))
    ended = next(chat_id for chat_id in [late, *chat_ids] if chats.row(chat_id)["status"] == "succeeded")
    assert {"waiting_for", "waiting_since", "last_failure"} & set(chats.shown(ended)) == set()


def test_a_failed_list_counts_and_a_good_one_ends_it(chats: Chats) -> None:
    sources = sources_of(chats.settings, chats.runtime.database)

    def fetch() -> Any:
        return sources.fetch("matchaai", deadline_seconds=5, request_id=None)

    chats.gateway.behave(llms={"status": 401})
    with pytest.raises(GatewayError):
        fetch()
    assert (health(chats).state, health(chats).last_failure) == ("down", "401 unauthorised")
    chats.gateway.behave()
    fetch()
    assert health(chats).state == "up"


def test_refusals_of_single_questions_are_counted_and_are_no_outage(chats: Chats) -> None:
    chats.gateway.behave(completions={"status": 400})
    process = chats.process()
    for _ in range(6):
        process.run(chats.accepted())
    wait_for(lambda: health(chats).failures.get("upstream_rejected") == 6)
    assert health(chats).state == "up"


def test_what_two_processes_experience_is_added_up(chats: Chats) -> None:
    chats.gateway.behave(completions={"status": 400})
    for _ in range(2):
        process = chats.process()
        process.run(chats.accepted())
    wait_for(lambda: health(chats).failures.get("upstream_rejected") == 2)


def test_circuits_of_a_process_that_is_gone_are_forgotten(chats: Chats) -> None:
    with chats.runtime.database.transaction() as connection:
        report_circuits(connection, "gone:1", [CircuitReport("28", False, 5.0, "timeout")])
    assert health(chats).state == "degraded"
    chats.catalogue.run("UPDATE llm_upstream_circuits SET seen_at = now() - interval '1 minute'")
    assert not health(chats).models
    assert health(chats).state == "unknown"


def test_a_process_that_ends_takes_its_open_circuits_along(chats: Chats) -> None:
    process, _ = outage(chats)
    wait_for(lambda: chats.catalogue.run("SELECT count(*) AS number FROM llm_upstream_circuits")[0]["number"] == 1)
    process.close()
    assert chats.catalogue.run("SELECT count(*) AS number FROM llm_upstream_circuits")[0]["number"] == 0
    assert health(chats).state == "down", "the last calls failed all the same"


def test_callers_read_nothing_of_the_health_in_postgresql(chats: Chats) -> None:
    for table in ("llm_upstream_calls", "llm_upstream_circuits"):
        with pytest.raises(DatabaseError, match="42501"), chats.runtime.database.transaction(BEN) as connection:
            connection.exec_driver_sql(f"SELECT * FROM {table}")
