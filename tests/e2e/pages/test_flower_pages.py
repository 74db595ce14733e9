"""Flower as an operator uses it: what its pages show of refreshes and chats, and how to find one."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.support.pages import Profiles, shoot
from tests.support.up import RunningUp
from worker.local.stand_in import default_models

QUESTION = "zebra-question"
NOWHERE = "words of no task"


@pytest.fixture
def flower(profiles: Profiles, up: RunningUp) -> Iterator[Page]:
    """Flower's pages, with its login given; the window of a desk."""
    state = up.state
    options = {
        "base_url": f"http://127.0.0.1:{state['FLOWER_PORT']}",
        "http_credentials": {"username": state["FLOWER_USER"], "password": state["FLOWER_PASSWORD"]},
        "viewport": {"width": 1400, "height": 700},
    }
    profile = profiles.take(**options)
    yield profile.new_page()
    profiles.give_back(profile, **options)


def search(page: Page, query: str, state: str = "") -> Locator:
    """The rows that this search finds, once the first one is in this state: Flower hears of an end after its caller."""
    rows = page.locator("#tasks-table tbody tr:not(:has(.dt-empty))")
    box = page.get_by_role("searchbox")

    def has_row() -> bool:
        for words in (NOWHERE, query):  # the page asks nothing for the words that stand there
            with page.expect_response(lambda answer: "/tasks/datatable" in answer.url):
                box.fill(words)
        return rows.count() > 0 and state in rows.first.inner_text()

    with page.expect_response(lambda answer: "/tasks/datatable" in answer.url):
        page.goto("/tasks")
    wait_for(has_row)
    return rows


def ask(api: httpx.Client) -> dict:
    answer = api.post("/api/chasen/chat", json={"question": QUESTION}, headers={"Prefer": "wait=20"})
    return dict(answer.json())


def test_a_chat_is_found_by_its_id(flower: Page, api: httpx.Client, gateway: RunningStandIn) -> None:
    chat = ask(api)
    rows = search(flower, chat["id"], "SUCCESS")
    expect(rows.first).to_contain_text("llm.chat")
    shoot(flower, "flower-chat-by-id")


def test_a_failed_chat_is_a_failure_with_its_code_and_no_content(
    flower: Page, api: httpx.Client, gateway: RunningStandIn
) -> None:
    gateway.behave(completions={"status": 403})
    chat = ask(api)
    assert chat["status"] == "failed"
    search(flower, chat["id"], "FAILURE")
    flower.goto(f"/task/{chat['id']}")
    details = flower.locator("#task-page")
    expect(details).to_contain_text("ChatFailed")
    expect(details).to_contain_text(chat["error"]["code"])
    expect(details).not_to_contain_text(QUESTION)


def test_a_cancelled_chat_is_revoked(flower: Page, api: httpx.Client, gateway: RunningStandIn) -> None:
    gateway.behave(completions={"delay": 30})
    chat = api.post("/api/chasen/chat", json={"question": QUESTION}).json()
    wait_for(lambda: api.get(f"/api/chats/{chat['id']}").json()["status"] == "running")
    api.delete(f"/api/chats/{chat['id']}")
    search(flower, chat["id"], "REVOKED")
    assert api.get(f"/api/tasks/{chat['id']}").json()["status"] == "REVOKED"


def test_a_failed_refresh_is_found_by_its_run_and_says_what_to_do(
    flower: Page, api: httpx.Client, gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"status": 401})
    run = api.post("/api/llms/refresh", json={}).json()["runId"]
    rows = search(flower, run, "FAILURE")
    expect(rows.first).to_contain_text("llm.refresh")
    shoot(flower, "flower-run-by-id")
    rows.first.get_by_role("link", name=re.compile("^[0-9a-f-]{36}$")).click()
    details = flower.locator("#task-page")
    for part in ("RefreshFailed", run, "unauthorised", "What to do"):
        expect(details).to_contain_text(part)
    shoot(flower, "flower-failed-refresh", full=True)


def test_a_held_refresh_shows_the_sha256_that_applies_it(
    flower: Page, api: httpx.Client, catalogue: RunningStandIn
) -> None:
    catalogue.set_models(default_models()[:3])
    held = api.post("/api/llms/refresh", json={}).json()
    search(flower, f"kwargs:run_id={held['runId']}", "FAILURE")
    task = api.get(f"/api/llms/runs/{held['runId']}").json()["task_id"]
    flower.goto(f"/task/{task}")
    expect(flower.locator("#task-page")).to_contain_text("RefreshHeld")
    expect(flower.locator("#task-page")).to_contain_text(held["held"]["sha256"])


def test_tasks_are_found_by_state_and_by_name(flower: Page, api: httpx.Client, gateway: RunningStandIn) -> None:
    gateway.behave(llms={"status": 503})
    api.post("/api/llms/refresh", json={})
    rows = search(flower, "state:FAILURE name:llm.refresh")
    for row in rows.all():
        expect(row).to_contain_text("FAILURE")
        expect(row).to_contain_text("llm.refresh")
    shoot(flower, "flower-by-state-and-name")
    expect(search(flower, "state:FAILURE result:upstream_unavailable").first).to_contain_text("llm.refresh")
    expect(search(flower, "worker:refresh@").first).to_contain_text("llm.refresh")


def test_the_broker_page_names_every_queue(flower: Page, gateway: RunningStandIn) -> None:
    flower.goto("/broker")
    for queue in ("celery", "chat", "refresh"):
        expect(flower.get_by_role("cell", name=re.compile(f"^{queue}$"))).to_be_visible()
    shoot(flower, "flower-broker")
