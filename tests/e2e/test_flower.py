"""Flower in front of the real workers: what operators find there."""

import time
from collections.abc import Iterator

import httpx
import jwt
import pytest

from harness import plain_http
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.e2e.conftest import JWT_SECRET, METRICS_TOKEN
from tests.support.up import RunningUp


@pytest.fixture
def api(up: RunningUp) -> Iterator[httpx.Client]:
    claims = {"sub": "t", "role": "service_role", "exp": int(time.time()) + 600}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET)}"}
    with plain_http.Client(base_url=up.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def matchaai_is_down(gateway: RunningStandIn, api: httpx.Client) -> Iterator[None]:
    """For the test; afterwards until a call has closed the circuit, for which the chats of other tests would wait."""
    gateway.behave(completions={"status": 503})
    yield
    gateway.behave()
    wait_for(lambda: ask(api)["status"] == "succeeded", seconds=60)


@pytest.fixture
def flower(up: RunningUp) -> Iterator[httpx.Client]:
    state = up.state
    with plain_http.Client(
        base_url=f"http://127.0.0.1:{state['FLOWER_PORT']}",
        auth=(state.get("FLOWER_USER", "operator"), state["FLOWER_PASSWORD"]),
    ) as client:
        yield client


def ask(api: httpx.Client, **body: str) -> dict:
    response = api.post("/api/chasen/chat", json={"question": "Why?", **body}, headers={"Prefer": "wait=20"})
    return dict(response.json())


def tasks(flower: httpx.Client) -> list[dict]:
    return list(flower.get("/api/tasks").json().values())


def test_a_refresh_is_shown_with_its_result(api: httpx.Client, flower: httpx.Client) -> None:
    run = api.post("/api/llms/refresh").json()["runId"]
    shown = wait_for(
        lambda: [task for task in tasks(flower) if task["name"] == "llm.refresh" and run in (task["result"] or "")]
    )
    assert shown[0]["state"] == "SUCCESS"
    assert "'status': 'succeeded'" in shown[0]["result"]


def test_a_chat_is_shown_by_its_id_without_prompt_or_answer(api: httpx.Client, flower: httpx.Client) -> None:
    chat = ask(api, question="zebra-question", systemPrompt="zebra-prompt")
    assert chat["status"] == "succeeded"
    shown = wait_for(
        lambda: [task for task in tasks(flower) if task["state"] == "SUCCESS" and chat["id"] in task["args"]]
    )
    assert "zebra" not in str(shown)
    assert chat["answer"][:20] not in str(shown)


def test_the_queues_of_the_broker_are_shown(flower: httpx.Client) -> None:
    shown = flower.get("/api/queues/length").json()["active_queues"]
    assert {queue["name"] for queue in shown} == {"chat", "celery", "refresh"}
    assert flower.get("/broker").status_code == 200


@pytest.mark.parametrize("auth", [None, ("operator", "wrong"), ("operator", "strong")])
@pytest.mark.parametrize("path", ["/", "/api/tasks", "/metrics", "/healthcheck", "/broker"])
def test_nobody_else_sees_it(up: RunningUp, auth: tuple[str, str] | None, path: str) -> None:
    url = f"http://127.0.0.1:{up.state['FLOWER_PORT']}{path}"
    assert plain_http.get(url, auth=auth).status_code == 401


def test_machines_may_bring_the_token_of_the_metrics(up: RunningUp, flower: httpx.Client) -> None:
    assert "flower_events_total" in flower.get("/metrics").text
    for token, status in ((METRICS_TOKEN, 200), ("wrong", 401), ("wröng", 401)):
        for path in ("/metrics", "/healthcheck"):
            headers = {"Authorization": f"Bearer {token}".encode()}
            url = f"http://127.0.0.1:{up.state['FLOWER_PORT']}{path}"
            assert plain_http.get(url, headers=headers).status_code == status


def test_nothing_but_log_lines_is_said(up: RunningUp) -> None:
    """No banner of Celery's, which is many lines of drawing, and no warning that a good start has no ground for."""
    output = "".join(up.lines)
    banners = ("-- ** --", "[config]", "Visit me at", "Registered tasks", "LocalTime ->")
    for word in (*banners, "SecurityWarning", "superuser", "Inspect method"):
        assert word not in output


def test_no_secret_prompt_or_answer_stands_in_what_the_processes_say(up: RunningUp) -> None:
    output = "".join(up.lines)
    assert "zebra" not in output
    state = up.state
    for name in ("DATABASE_URL", "MIGRATE_DATABASE_URL", "REDIS_URL"):
        password = httpx.URL(state[name]).password
        assert password
        assert password not in output


def test_a_chat_that_expires_while_matchaai_is_down_is_no_success_at_any_time(
    api: httpx.Client, flower: httpx.Client, matchaai_is_down: None
) -> None:
    states: set[str] = set()
    chat_ids = [api.post("/api/chasen/chat", json={"question": "Why?"}).json()["id"] for _ in range(8)]

    def ends() -> list[str]:
        shown = flower.get("/api/tasks").json()
        tasks = [shown.get(chat_id, {"state": None}) for chat_id in chat_ids]
        states.update(task["state"] for task in tasks)
        return [task["exception"] for task in tasks if task["state"] == "FAILURE"]

    exceptions = wait_for(lambda: len(rows := ends()) == len(chat_ids) and rows, seconds=60)
    assert "SUCCESS" not in states
    for exception, chat_id in zip(exceptions, chat_ids, strict=True):
        assert chat_id in exception
        assert "ChatFailed" in exception
