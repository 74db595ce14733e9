"""The page `/ops`: a list that waits for a decision, and models that are hidden or gone."""

import re

import httpx
from playwright.sync_api import expect

from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.e2e.pages.test_ops import dialog, hold, keys, section
from tests.support.pages import Pages, too_wide, violations
from worker.local.stand_in import default_models

CHAT = {"question": "How are you?", "model": "gpt-4o"}


def test_a_hold_asks_on_while_refreshes_fail(pages: Pages, catalogue: RunningStandIn, api: httpx.Client) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops")
    state = section(page, "Catalogue").locator("#fresh-state")
    expect(state).to_have_text("Held")
    catalogue.behave(llms={"status": 401})
    for _ in range(2):
        assert api.post("/api/llms/refresh", json={}).status_code == httpx.codes.BAD_GATEWAY
    expect(state).to_have_text("Failing")
    expect(state).to_have_class(re.compile("status-failed"))
    expect(page.locator("#held")).to_contain_text("22 of 27 active models are missing from it")
    expect(page.locator("#held").get_by_role("button", name="Apply anyway…")).to_be_visible()


def test_a_held_list_names_the_models_that_would_go_and_their_use(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    chat = api.post("/api/chasen/chat", json=CHAT, headers={"Prefer": "wait=10"}).json()
    assert chat["status"] == "succeeded"
    hold(catalogue, api, listed=2)
    page = pages.open("/ops")
    held = page.locator("#held")
    expect(held).to_contain_text(re.compile(r"Asked in the last 30 days: .*gpt-4o \(\d+ requests? by 1 caller\)"))
    held.get_by_text("25 models that would go").click()
    expect(held.get_by_role("listitem").filter(has_text="gpt-4o").first).to_contain_text("absent")
    expect(held.get_by_role("listitem")).to_have_count(25)
    held.get_by_role("button", name="Apply anyway…").click()
    expect(dialog(page)).to_contain_text("Applying it makes 25 models inactive at once.")
    expect(dialog(page)).to_contain_text("gpt-4o")
    dialog(page).get_by_text("changes", exact=False).first.click()
    expect(dialog(page)).to_contain_text("requests in 30 days: 0")
    expect(dialog(page)).not_to_contain_text("requests in 30 days: unknown")


def test_an_empty_list_by_the_time_of_applying_says_what_it_does(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops")
    button = page.locator("#held").get_by_role("button", name="Apply anyway…")
    expect(button).to_be_visible()
    catalogue.set_models([])
    button.click()
    expect(dialog(page)).to_contain_text("The list is not the one that was held any more.")
    expect(dialog(page)).to_contain_text("Applying it makes 27 models inactive at once. No model is left then")
    expect(dialog(page).get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog(page)).to_be_hidden()
    assert len(keys(api)) == 27


def test_a_good_list_by_the_time_of_applying_needs_no_force(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    hold(catalogue, api, listed=5)
    page = pages.open("/ops")
    button = page.locator("#held").get_by_role("button", name="Apply anyway…")
    expect(button).to_be_visible()
    catalogue.set_models(default_models())
    button.click()
    expect(dialog(page)).to_contain_text("The held list is gone: what is listed now is not held.")
    dialog(page).get_by_role("button", name="Refresh all the same").click()
    expect(dialog(page)).to_contain_text("Refreshed: 27 unchanged.")
    expect(page.locator("#held")).to_be_hidden()


def test_a_hold_is_dismissed_and_asks_again_when_the_list_comes_again(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    run = hold(catalogue, api, listed=5)
    page = pages.open("/ops")
    held = page.locator("#held")
    held.get_by_role("button", name="Dismiss").click()
    expect(held).to_be_hidden()
    expect(section(page, "Catalogue").locator("#fresh-state")).to_have_text("Fresh")
    assert api.get(f"/api/llms/runs/{run['id']}").json()["dismissed"]["by"] == "local"
    section(page, "Sync runs").locator("tbody tr").first.get_by_role("button").click()
    expect(section(page, "Sync runs").locator(".details")).to_contain_text("Dismissed by local")
    hold(catalogue, api, listed=5)
    expect(held).to_contain_text("This very list was dismissed before, by local")
    assert len(keys(api)) == 27


def test_a_hidden_model_is_found_with_why_and_shown_again(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    assert api.patch("/api/llms/gpt-4o-mini", json={"is_active": False}).is_success
    page = pages.open("/ops")
    models = section(page, "Models")
    expect(models.locator("tbody tr")).to_have_count(26)
    models.get_by_label("Which models").select_option("Hidden and gone")
    row = models.get_by_role("row").filter(has_text="gpt-4o-mini")
    expect(row).to_contain_text("hidden by local on 20")
    row.get_by_role("button", name="again").click()
    expect(models).to_contain_text("is active again.")
    wait_for(lambda: "gpt-4o-mini" in keys(api))
    models.get_by_label("Which models").select_option("Active")
    expect(models.locator("tbody tr")).to_have_count(27)


def test_a_model_that_upstream_dropped_stays_inactive_when_it_is_shown(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    assert api.patch("/api/llms/gpt-4o-mini", json={"is_active": False}).is_success
    page = pages.open("/ops")
    models = section(page, "Models")
    models.get_by_label("Which models").select_option("All")
    expect(models.get_by_role("row").filter(has_text="gpt-4o-mini")).to_be_visible()
    catalogue.set_models([model for model in default_models() if model["id"] != 41])
    assert api.post("/api/llms/refresh", json={}).is_success
    models.get_by_role("row").filter(has_text="gpt-4o-mini").get_by_role("button", name="again").click()
    expect(models).to_contain_text("stays inactive: upstream has not listed it since")
    assert "gpt-4o-mini" not in keys(api)


def test_a_held_list_and_inactive_models_pass_axe_and_fit_360_pixels(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client, axe: str
) -> None:
    assert api.patch("/api/llms/gpt-4o-mini", json={"is_active": False}).is_success
    hold(catalogue, api, listed=5)
    page = pages.open("/ops", width=360)
    page.locator("#held summary").click()
    section(page, "Models").get_by_label("Which models").select_option("All")
    expect(section(page, "Models").get_by_role("row").filter(has_text="gpt-4o-mini")).to_be_visible()
    assert violations(page, axe) == []
    assert too_wide(page) == 0
    assert api.patch("/api/llms/gpt-4o-mini", json={"is_active": None}).is_success
