"""Limits of callers at the routes: refused before anything is written, in effect at once, and nothing is spent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.chat.accept import Submitter
from shared.chat.admission import CallerOverLimit
from shared.chat.chat_request import ChatRequest
from shared.chat.requests import Question
from shared.chat.wait_figures import wait_figures
from shared.db import Caller
from tests.integration.chat.conftest import ANN, BEN, SERVICE, Chats, token, wait_for
from worker.web.app import create_app
from worker.web.callers import CallerRoutes

OPERATOR = Caller("operator", "olga")


@pytest.fixture
def routes(chats: Chats) -> Iterator[FlaskClient]:
    yield create_app(chats.settings, CallerRoutes(chats.runtime).routes()).test_client()


def call(routes: FlaskClient, method: str, path: str, caller: Caller = SERVICE, **more: Any) -> TestResponse:
    return routes.open(path, method=method, headers={"Authorization": f"Bearer {token(caller)}"}, **more)


def limit(routes: FlaskClient, subject: str = "ann", **limits: Any) -> dict[str, Any]:
    response = call(routes, "PATCH", f"/api/callers/{subject}", json=limits)
    assert response.status_code == 200, response.text
    return dict(response.json)


def ask(chats: Chats, question: str = "Which?", caller: Caller = ANN, **headers: str) -> TestResponse:
    return chats.ask(question, caller=caller, headers={name.replace("_", "-"): text for name, text in headers.items()})


def one(routes: FlaskClient, subject: str = "ann") -> dict[str, Any]:
    (row,) = call(routes, "GET", f"/api/callers?subject={subject}").json["callers"]
    return dict(row)


def test_a_caller_has_no_more_open_chats_than_its_limit(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, max_open=2)
    first = ask(chats)
    assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (202, "1")
    assert ask(chats, "Another?").status_code == 202
    refused = ask(chats, "A third?")
    assert (refused.status_code, refused.mimetype) == (429, "application/problem+json")
    assert (refused.json["code"], refused.json["limit"], refused.json["allowed"]) == ("caller_limit", "max_open", 2)
    assert int(refused.headers["Retry-After"]) >= refused.json["retry_after_seconds"] > 0
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert chats.stored() == 2
    assert ask(chats, "Mine?", BEN).status_code == 202, "another caller has its own"
    assert chats.call("DELETE", f"/api/chats/{first.json['id']}").status_code == 200
    assert ask(chats, "A third?").status_code == 202


def test_the_settings_limit_callers_without_limits_of_their_own(chats: Chats, routes: FlaskClient) -> None:
    runtime = chats.with_settings(caller_max_open=1, caller_requests_per_minute=2)
    client = chats.routes(runtime)

    def status(caller: Caller) -> tuple[int, str | None]:
        response = client.post(
            "/api/chasen/chat", json={"question": "q"}, headers={"Authorization": f"Bearer {token(caller)}"}
        )
        return response.status_code, response.json.get("limit")

    limit(routes, "ann", max_open=5)
    assert [status(ANN) for _ in range(3)] == [(202, None), (202, None), (429, "per_minute")]
    assert [status(BEN) for _ in range(2)] == [(202, None), (429, "max_open")]


def test_a_minute_has_no_more_chats_than_the_limit_and_a_refusal_is_none(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, per_minute=2)
    accepted = [ask(chats, f"Number {number}?") for number in range(2)]
    assert [each.headers["x-ratelimit-remaining-requests"] for each in accepted] == ["1", "0"]
    assert accepted[0].headers["x-ratelimit-reset-requests"] == "1m0s"
    for _ in range(3):
        refused = ask(chats)
        assert (refused.status_code, refused.json["limit"], refused.json["allowed"]) == (429, "per_minute", 2)
        assert 0 < refused.json["retry_after_seconds"] <= 60
    # The first one leaves the window: there is room for one, whatever was refused meanwhile.
    move = "UPDATE llm_chats SET created_at = created_at - interval '60 seconds' WHERE id = :id"
    chats.catalogue.run(move, id=uuid.UUID(accepted[0].json["id"]))
    assert [ask(chats).status_code for _ in range(2)] == [202, 429]


def test_ended_and_erased_chats_of_the_minute_count(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, per_minute=1)
    chat_id = ask(chats).json["id"]
    for path in (f"/api/chats/{chat_id}", f"/api/chats/{chat_id}?erase=1"):
        assert chats.call("DELETE", path).status_code == 200
    assert ask(chats).status_code == 429


def test_a_repeated_question_is_no_new_chat(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, max_open=1, per_minute=1)
    first = ask(chats, Idempotency_Key="k")
    again = ask(chats, Idempotency_Key="k")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert "x-ratelimit-limit-requests" not in again.headers
    assert ask(chats, Idempotency_Key="other").status_code == 429
    assert ask(chats, Idempotency_Key="k").status_code == 202
    assert chats.stored() == 1


def test_a_lowered_limit_leaves_open_chats_open(chats: Chats, routes: FlaskClient) -> None:
    ids = [ask(chats, f"Number {number}?").json["id"] for number in range(3)]
    limit(routes, max_open=1)
    assert ask(chats).status_code == 429
    assert {chats.shown(uuid.UUID(chat_id))["status"] for chat_id in ids} == {"queued"}
    for chat_id in ids[:2]:
        chats.call("DELETE", f"/api/chats/{chat_id}")
    assert ask(chats).status_code == 429, "one is open, which is the limit"
    limit(routes, max_open=None)
    assert ask(chats).status_code == 202


def test_null_drops_a_limit_and_the_last_one_the_row(chats: Chats, routes: FlaskClient) -> None:
    assert limit(routes, max_open=3, weight=2)["weight"] == 2.0
    assert limit(routes, per_minute=7)["max_open"] == 3
    row = limit(routes, max_open=None, weight=None)
    assert (row["max_open"], row["per_minute"], row["weight"]) == (None, 7, None)
    limit(routes, per_minute=None)
    assert chats.catalogue.run("SELECT * FROM llm_callers") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_open": -1}, "max_open"),
        ({"max_open": 0}, "max_open"),
        ({"max_running": 2**31}, "max_running"),
        ({"per_minute": 1.5}, "per_minute"),
        ({"per_minute": "6"}, "per_minute"),
        ({"weight": 0}, "weight"),
        ({"weight": -2}, "weight"),
        ({"weight": 1e-320}, "weight"),
        ({"max_opened": 1}, "max_opened"),
        ({}, "max_open"),
    ],
)
def test_a_wrong_limit_is_refused_by_its_name(chats: Chats, routes: FlaskClient, body: Any, field: str) -> None:
    response = call(routes, "PATCH", "/api/callers/ann", json=body)
    assert (response.status_code, response.json["code"]) == (422, "invalid_body")
    assert field in response.json["detail"]
    assert chats.catalogue.run("SELECT * FROM llm_callers") == []


def test_a_blank_subject_has_no_limits(chats: Chats, routes: FlaskClient) -> None:
    response = call(routes, "PATCH", "/api/callers/%20", json={"max_open": 4})
    assert (response.status_code, response.json["code"]) == (422, "invalid_body")
    assert chats.catalogue.run("SELECT * FROM llm_callers") == []


def test_a_subject_may_hold_a_slash(routes: FlaskClient) -> None:
    assert limit(routes, "spiffe:%2F%2Fexample%2Fjob", max_open=4)["subject"] == "spiffe://example/job"


def test_callers_are_listed_with_what_they_have(chats: Chats, routes: FlaskClient) -> None:
    for number in range(2):
        ask(chats, f"Number {number}?")
    chats.answered("Done?", caller=BEN)
    limit(routes, "never seen", weight=0.5)
    body = call(routes, "GET", "/api/callers", OPERATOR).json
    assert body["defaults"] == {"max_open": 1000, "max_running": None, "per_minute": None, "weight": 1.0}
    assert body["total"] == 3
    ann, ben, unseen = body["callers"]
    assert (ann["subject"], ann["open"], ann["running"], ann["requests_today"]) == ("ann", 2, 0, 2)
    assert ann["longest_wait_seconds"] >= 0
    assert (ben["subject"], ben["open"], ben["requests_today"], ben["longest_wait_seconds"]) == ("ben", 0, 1, None)
    assert (unseen["subject"], unseen["weight"], unseen["requests_today"]) == ("never seen", 0.5, 0)
    assert call(routes, "GET", "/api/callers?limit=1").json["total"] == 3
    assert one(routes, "nobody")["requests_today"] == 0


def test_who_may_see_and_set_limits(chats: Chats, routes: FlaskClient) -> None:
    assert call(routes, "GET", "/api/callers", ANN).status_code == 403
    assert call(routes, "GET", "/api/callers", OPERATOR).status_code == 200
    for caller in (ANN, OPERATOR):
        assert call(routes, "PATCH", "/api/callers/ann", caller, json={"max_open": 1}).status_code == 403


def test_a_web_process_with_a_slow_clock_counts_like_any_other(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, per_minute=2)
    hour_ago = int((time.time() - 3600) * 1000)
    slow = Submitter(
        chats.runtime.database,
        ids=lambda: uuid.UUID(int=(hour_ago << 80) | uuid.uuid4().int & (1 << 80) - 1),
        deadline_seconds=60,
        max_open=100,
    )

    def submit(submitter: Submitter) -> None:
        submitter.submit(ChatRequest(Question(question="Which?"), ANN, None, None))

    submit(slow)
    submit(chats.runtime.submitter)
    for submitter in (slow, chats.runtime.submitter):
        with pytest.raises(CallerOverLimit):
            submit(submitter)


def test_ten_thousand_callers_at_once_are_accepted_and_listed(chats: Chats, routes: FlaskClient) -> None:
    chats.catalogue.run("""
        INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, deadline_at)
        SELECT gen_random_uuid(), 'caller ' || number, '', 'q', 'k', 'n', 1, now() + interval '1 hour'
        FROM generate_series(1, 10000) AS number
    """)
    chats.submit(runtime=chats.with_settings(chat_max_queued=100_000))
    body = call(routes, "GET", "/api/callers?limit=10000").json
    assert (body["total"], len(body["callers"])) == (10_001, 10_000)
    with chats.runtime.database.transaction() as connection:
        assert wait_figures(connection).callers_waiting == 10_001


def test_a_caller_whose_limits_are_deleted_while_it_waits_has_the_usual_ones(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, max_open=1)
    chat_id = ask(chats).json["id"]
    limit(routes, max_open=None)
    assert ask(chats).status_code == 202
    assert chats.shown(uuid.UUID(chat_id))["status"] == "queued"
    chats.process().run(uuid.UUID(chat_id))
    assert chats.shown(uuid.UUID(chat_id))["status"] == "succeeded"


def test_near_a_limit_a_chat_is_admitted_alone(chats: Chats) -> None:
    """Sixteen of a caller's chats may be under way unseen: with room for one more they are admitted side by side."""
    admit = "SELECT decision FROM llm_admit_chat('ann', gen_random_uuid(), %s, NULL, NULL, NULL, %s)"
    assert ask(chats).status_code == 202
    with psycopg.connect(chats.superuser_url) as one:
        for max_open, alone, decision in ((18, False, "admitted"), (17, False, "alone"), (17, True, "admitted")):
            assert one.execute(admit, (max_open, alone)).fetchone() == (decision,)
            one.rollback()


def test_who_asks_for_the_last_place_waits_for_whoever_is_getting_it(chats: Chats, routes: FlaskClient) -> None:
    limit(routes, max_open=1)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        psycopg.connect(chats.superuser_url, autocommit=True) as watch,
        psycopg.connect(chats.superuser_url) as first,
        ThreadPoolExecutor(1) as pool,
    ):
        admitted = first.execute(
            "SELECT decision FROM llm_admit_chat('ann', gen_random_uuid(), 9, NULL, NULL, NULL, false)"
        )
        assert admitted.fetchone() == ("admitted",)
        first.execute(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
            " deadline_at) VALUES (gen_random_uuid(), 'ann', '', 'q', 'k', 'n', 1, now() + interval '1 hour')"
        )
        second = pool.submit(ask, chats)
        wait_for(lambda: watch.execute(waiting).fetchone() == (1,))
        first.commit()
        assert second.result().status_code == 429
