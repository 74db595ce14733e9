"""The page `/ops`: what needs a person, finding chats, editing models, putting lines of the ledger back, and roles."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.e2e.pages.test_ops import dialog, keys, section
from tests.support.pages import Pages, shoot, token, too_wide, violations

LONG = "meta-llama-4-maverick-17b-128e-instruct-fp8-eu-west-3-provisioned-throughput"
WIDTHS = (360, 768, 1200, 1600)


def alert(page: Page, key: str) -> Locator:
    return page.locator(f"[data-alert={key}]")


@pytest.fixture
def chats(gateway: RunningStandIn, api: httpx.Client) -> Iterator[dict[str, str]]:
    """A chat that was answered and one that failed, by their status."""
    question = {"question": "What did the board decide?", "model": "gpt-4o"}
    good = api.post("/api/chasen/chat", json=question, headers={"Prefer": "wait=10"}).json()
    gateway.behave(completions={"status": 400})
    bad = api.post(
        "/api/chasen/chat", json=question | {"model": "claude-3-5-sonnet"}, headers={"Prefer": "wait=10"}
    ).json()
    assert (good["status"], bad["status"]) == ("succeeded", "failed")
    yield {"succeeded": good["id"], "failed": bad["id"]}


def test_failed_runs_raise_an_alarm_until_one_is_good(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    page = pages.open("/ops")
    expect(section(page, "Catalogue").locator("#fresh-state")).to_have_text("Fresh")
    catalogue.behave(llms={"status": 401})
    for _ in range(2):
        assert api.post("/api/llms/refresh", json={}).status_code == httpx.codes.BAD_GATEWAY
    expect(alert(page, "failed")).to_contain_text("The last 2 refreshes failed")
    expect(alert(page, "failed")).to_contain_text("The gateway refused our key.")
    expect(section(page, "Catalogue").locator("#fresh-state")).to_have_text("Failing")
    expect(page).to_have_title(re.compile(r"^\(\d\) Operations"))
    alert(page, "failed").get_by_role("button", name="Show the run").click()
    expect(section(page, "Sync runs").locator(".details")).to_contain_text("unauthorised")
    catalogue.behave()
    assert api.post("/api/llms/refresh", json={}).is_success
    expect(alert(page, "failed")).to_be_hidden()
    expect(section(page, "Catalogue").locator("#fresh-state")).to_have_text("Fresh")


def test_alerts_stand_worst_first(pages: Pages) -> None:
    page = pages.open("/ops")
    result = page.evaluate(
        """async () => {
          const { findAlerts } = await import("/assets/ops-alerts.js");
          const run = (status) => ({ id: status, status, attempt: 1, created_at: "2026-03-01T00:00:00Z",
            error: { code: "timeout" }, finished_at: "2026-03-01T00:00:00Z" });
          const parts = { postgresql: { ok: true }, migrations: { ok: true }, redis: { ok: true },
            workers: { refresh: 0, chat: 0, beat: 0 },
            matchaai: { state: "down", since: "2026-03-01T00:00:00Z", chats_waiting: 5,
              last_failure: { code: "upstream_unavailable", status: 503 } } };
          const at = new Date().toISOString();
          const changes = [
            { run_id: "r", model_key: "b", at, before: { is_default: false }, after: { is_default: true } },
            { run_id: "r", model_key: "a", at, before: { is_default: true }, after: { is_default: false } }];
          const models = [{ model_key: "b", is_default: true, overrides: {} }];
          const [first, rest] = findAlerts({ runs: [run("failed"), run("held"), run("abandoned"), run("succeeded"),
            run("failed")], listing: { stale: true }, ready: { parts }, models, changes });
          return [...first, ...rest].map(({ key, level, text }) => [key, level, text]);
        }"""
    )
    assert [(key, level) for key, level, _ in result] == [
        ("upstream", "bad"),
        ("failed", "bad"),
        ("chat", "bad"),
        ("refresh", "bad"),
        ("beat", "warn"),
        ("promoted", "warn"),
    ]
    texts = {key: text for key, _, text in result}
    assert "The last 2 refreshes failed" in texts["failed"]
    assert "(503 upstream_unavailable). 5 chats wait for it." in texts["upstream"]
    assert "The default a was lost" in texts["promoted"]


def test_what_only_a_missing_part_knows_is_unknown_and_a_refused_key_is_the_cause(pages: Pages) -> None:
    page = pages.open("/ops")
    texts_of = page.evaluate(
        """async () => {
          const { findAlerts } = await import("/assets/ops-alerts.js");
          const { partStates } = await import("/assets/ops-parts.js");
          const good = { postgresql: { ok: true }, migrations: { ok: true }, redis: { ok: true },
            matchaai: { ok: true, state: "unknown" }, workers: { refresh: 1, chat: 1, beat: 1 } };
          const away = { ...good, postgresql: { ok: false, detail: "cannot be reached" }, migrations: { ok: false },
            matchaai: { ok: null, state: "unknown" }, workers: {} };
          const full = (reason) => ({ ...good, workers: {},
            redis: { ok: false, detail: `takes no writes: ${reason}` } });
          const run = { id: "r", status: "failed", attempt: 1, created_at: "2026-03-01T00:00:00Z",
            error: { code: "unauthorised" }, finished_at: "2026-03-01T00:00:00Z" };
          const refused = { ...good, matchaai: { ok: false, state: "down",
            last_failure: { code: "unauthorised", status: 401 } } };
          const alerts = (parts, runs = []) => findAlerts({ runs, listing: { stale: true }, ready: { parts },
            models: [], changes: [] }).flat().map(({ key, text, next }) => [key, `${text} ${next}`]);
          return {
            away: alerts(away), states: partStates(away), good: partStates(good), stale: alerts(good),
            disk: alerts(full("it cannot write to its own disk")), memory: alerts(full("its memory is full")),
            silent: alerts({ ...good, redis: { ok: false, detail: "cannot be reached" } }),
            full: partStates(full("its memory is full")), refused: alerts(refused, [run]),
          };
        }"""
    )
    assert [key for key, _ in texts_of["away"]] == ["postgresql"]
    assert [key for key, _ in texts_of["stale"]] == ["stale"]
    states = {name: (state, words) for name, state, words in texts_of["states"]}
    assert states.pop("PostgreSQL") == ("bad", "cannot be reached")
    assert states.pop("Redis") == ("ok", "good")
    assert set(states.values()) == {("unknown", "unknown while PostgreSQL is away")}
    assert {state for _, state, _ in texts_of["good"]} == {"ok"}
    assert ["MatchaAI", "ok", "not called yet"] in texts_of["good"]
    texts = {name: dict(texts_of[name])["redis"] for name in ("disk", "memory", "silent")}
    assert "Redis takes no writes (it cannot write to its own disk)" in texts["disk"]
    assert "Make room on the disk" in texts["disk"]
    assert "Redis takes no writes (its memory is full)" in texts["memory"]
    assert "Redis does not answer" in texts["silent"]
    assert ["chat workers", "unknown", "unknown while Redis is away or takes no writes"] in texts_of["full"]
    (first, why), (second, failed) = texts_of["refused"][:2]
    assert (first, second) == ("upstream", "failed")
    assert why.startswith("MatchaAI refuses our key")
    assert failed.startswith("The gateway refused our key. The last refresh failed")
    assert "MATCHAAI_API_KEY" in failed


def test_counts_that_were_never_read_are_unknown_and_not_0(pages: Pages) -> None:
    page = pages.open(None)
    refusal = {"code": "database_unavailable", "status": 503}
    page.route("**/api/llms/usage*", lambda route: route.fulfill(status=503, json=refusal))
    page.goto("/ops")
    expect(page.locator("#chats-states .chat-succeeded")).to_have_text("unknown: succeeded")


def test_chats_that_wait_for_the_gateway_are_told_apart(pages: Pages) -> None:
    metrics = ""
    page = pages.open(None)
    page.route("**/metrics", lambda route: route.fulfill(body=metrics, content_type="text/plain"))
    page.goto("/ops")
    for queued, for_upstream, seconds, text in (
        (0, 0, 0, ""),
        (2, 0, 12, "The oldest that waits for its turn has waited 12 s."),
        (6, 6, 0, "6 chats wait for MatchaAI."),
        (3, 1, 12, "The oldest that waits for its turn has waited 12 s. 1 chat waits for MatchaAI."),
        (4, 1, 0, "1 chat waits for MatchaAI."),  # the others are lines of batches
    ):
        metrics = f"""
llm_refresh_chats_open{{status="queued"}} {queued}.0
llm_refresh_chat_oldest_queued_seconds {seconds}.0
llm_refresh_chats_waiting{{reason="upstream"}} {for_upstream}.0
"""
        page.evaluate("window.dispatchEvent(new Event('online'))")  # it asks for everything anew
        expect(page.locator("#chats-states .chat-queued")).to_have_text(f"{queued} queued")
        expect(page.locator("#chats-oldest")).to_have_text(text)


def test_a_chat_is_found_by_its_id_and_shows_no_content(pages: Pages, chats: dict[str, str]) -> None:
    page = pages.open("/ops")
    region = section(page, "Chats")
    region.get_by_text("Find chats").click()
    region.get_by_label("Id").fill(chats["failed"])
    region.get_by_label("Id").press("Enter")
    details = region.locator(".details")
    expect(details).to_contain_text(chats["failed"])
    expect(details).to_contain_text("upstream_rejected")
    expect(region.locator("tbody tr:not(.details)")).to_have_count(1)
    expect(region).not_to_contain_text("What did the board decide?")
    details.get_by_role("button", name="Show question and answer…").click()
    expect(dialog(page)).to_contain_text("is written into the log")
    expect(dialog(page).get_by_role("button", name="Cancel")).to_be_focused()
    dialog(page).get_by_role("button", name="Read it").click()
    expect(details).to_contain_text("What did the board decide?")
    region.get_by_label("Id").fill("no-such-chat")
    region.get_by_label("Id").press("Enter")
    expect(region).to_contain_text("No chat fits.")


def test_a_failed_chat_shows_its_cause_and_an_erased_one_that_it_was(
    pages: Pages, chats: dict[str, str], gateway: RunningStandIn, api: httpx.Client
) -> None:
    assert api.delete(f"/api/chats/{chats['succeeded']}?erase=1").status_code < 300
    page = pages.open("/ops")
    region = section(page, "Chats")
    region.get_by_text("Find chats").click()
    details = region.locator(".details")
    region.get_by_label("Id").fill(chats["failed"])
    region.get_by_label("Id").press("Enter")
    expect(details).to_contain_text(f"Cause: POST 127.0.0.1:{gateway.port}/rest/api/v1/completions answered HTTP 400")
    expect(details).not_to_contain_text("Answered by")  # nobody did
    region.get_by_label("Id").fill(chats["succeeded"])
    region.get_by_label("Id").press("Enter")
    expect(details).to_contain_text("Content erased")
    expect(details.get_by_role("button", name="Show question and answer…")).to_have_count(0)


def test_chats_are_filtered_by_status_and_model(pages: Pages, chats: dict[str, str]) -> None:
    page = pages.open("/ops")
    region = section(page, "Chats")
    region.get_by_text("Find chats").click()
    region.get_by_label("Status").select_option("failed")
    region.get_by_label("Model key").fill("claude-3-5-sonnet")
    region.get_by_role("button", name="Find", exact=True).click()
    expect(region.locator("tbody .chip").first).to_have_text("failed")
    expect(region.locator("tbody")).not_to_contain_text("succeeded")
    region.get_by_label("Caller").fill("nobody-of-that-name")
    region.get_by_role("button", name="Find", exact=True).click()
    expect(region).to_contain_text("No chat fits.")
    region.get_by_role("button", name="Show all").click()
    expect(region.locator("tbody")).to_contain_text("succeeded")


def test_an_open_chat_is_cancelled_after_a_question(pages: Pages, gateway: RunningStandIn, api: httpx.Client) -> None:
    gateway.behave(completions={"delay": 60})
    busy = api.post("/api/chasen/chat", json={"question": "q", "model": "gpt-4o"}).json()["id"]
    page = pages.open("/ops")
    region = section(page, "Chats")
    region.locator("tbody button").first.click()
    expect(region.locator(".details")).to_contain_text(busy)
    region.get_by_role("button", name="Cancel this chat…").click()
    expect(dialog(page)).to_contain_text("gets no answer")
    expect(dialog(page).get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    dialog(page).get_by_role("button", name="Cancel the chat").click()
    expect(region.locator("tbody .chip").first).to_have_text("cancelled")
    assert api.get(f"/api/chats/{busy}").json()["status"] == "cancelled"


def test_a_model_is_hidden_with_its_effect_in_words_and_put_back_by_the_ledger(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    page = pages.open("/ops")
    models = section(page, "Models")
    models.get_by_role("button", name="Edit GPT-4o Mini").click()
    expect(dialog(page)).to_contain_text("MatchaAI says: GPT-4o Mini")
    expect(dialog(page)).to_contain_text("Nothing is changed yet.")
    expect(dialog(page).get_by_role("button", name="Save")).to_be_disabled()
    dialog(page).get_by_label("Shown").select_option("never: hidden")
    expect(dialog(page)).to_contain_text(
        "Callers who ask for gpt-4o-mini get the default, with the reason inactive_key."
    )
    shoot(page, "ops-edit")
    size = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 640})
    expect(dialog(page).locator("#edit-effects")).to_be_in_viewport(ratio=1)
    expect(dialog(page).get_by_role("button", name="Hide it")).to_be_in_viewport(ratio=1)
    page.set_viewport_size(size or {"width": 1200, "height": 900})
    dialog(page).get_by_role("button", name="Hide it").click()
    expect(dialog(page)).to_be_hidden()
    wait_for(lambda: "gpt-4o-mini" not in keys(api))
    line = section(page, "Ledger").locator("tbody tr").first
    expect(line).to_contain_text(re.compile("operator.*gpt-4o-mini"))
    line.get_by_role("button", name="Put back").click()
    expect(dialog(page)).to_contain_text("It is shown while MatchaAI lists it.")
    expect(dialog(page).get_by_role("button", name="Cancel")).to_be_focused()
    dialog(page).get_by_role("button", name="Put back", exact=True).click()
    wait_for(lambda: "gpt-4o-mini" in keys(api))
    expect(dialog(page)).to_be_hidden()


def test_name_order_default_and_capabilities_are_edited(
    pages: Pages, catalogue: RunningStandIn, api: httpx.Client
) -> None:
    page = pages.open("/ops")
    section(page, "Models").get_by_role("button", name="Edit GPT-4o Mini").click()
    edit = dialog(page)
    expect(edit.get_by_label("Name")).to_be_focused()
    edit.get_by_label("Name").fill("The small one")
    edit.get_by_label("Order").fill("3")
    edit.get_by_label("Default").select_option("this model")
    edit.get_by_label("Vision").select_option("no")
    edit.get_by_label("Context, tokens").fill("1000")
    expect(edit).to_contain_text("go to gpt-4o-mini in place of claude-3-7-sonnet")
    edit.get_by_role("button", name="Save").click()
    expect(edit).to_be_hidden()
    try:
        listed = api.get("/api/llms", params={"all": "1"}).json()["models"]
        row = next(model for model in listed if model["model_key"] == "gpt-4o-mini")
        assert (row["model_name"], row["display_order"], row["is_default"]) == ("The small one", 3, True)
        assert (row["capabilities"]["supports_vision"], row["capabilities"]["context_window"]) == (False, 1000)
        expect(section(page, "Models").get_by_role("row").filter(has_text="The small one")).to_contain_text("default")
    finally:
        dropped = {"model_name": None, "display_order": None, "is_default": None, "capabilities": None}
        assert api.patch("/api/llms/gpt-4o-mini", json=dropped).is_success


def test_a_key_that_another_model_has_is_refused_in_the_dialog(pages: Pages, api: httpx.Client) -> None:
    page = pages.open("/ops")
    section(page, "Models").get_by_role("button", name="Edit GPT-4o Mini").click()
    dialog(page).get_by_label("Key").fill("gpt-4o")
    expect(dialog(page)).to_contain_text("with the reason retired_key")
    dialog(page).get_by_role("button", name="Save").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("Another model has the key")
    dialog(page).get_by_role("button", name="Cancel").click()
    assert "gpt-4o-mini" in keys(api)


def test_what_cannot_be_put_back_says_why(pages: Pages) -> None:
    page = pages.open("/ops")
    texts_of = page.evaluate(
        """async () => {
          const { undo } = await import("/assets/undo.js");
          const model = { matcha_llm_id: 1, model_key: "a", model_name: "A", is_active: true, overrides: {} };
          const line = (kind, before, after) =>
            undo({ kind, matcha_llm_id: 1, model_key: "a", before, after }, [model]);
          return {
            gone: undo({ kind: "renamed", matcha_llm_id: 9, before: {}, after: {} }, [model]),
            repointed: line("repointed", { model_name: "B" }, { model_name: "A" }),
            deactivated: line("deactivated", { is_active: true }, { is_active: false }),
            renamed: line("renamed", { model_name: "Old" }, { model_name: "A" }),
            added: line("added", null, { model_name: "A" }),
            capability: line("capability", { capabilities: { supports_vision: true } },
              { capabilities: { supports_vision: false } }),
            operator: line("operator", { overrides: { is_active: false, capabilities: { max_output: 5 } } },
              { overrides: { model_name: "X" } }),
            lost: line("default", { is_default: true }, { is_default: false }),
          };
        }"""
    )
    assert "not in the catalogue any more" in texts_of["gone"]["why"]
    assert "id means another model" in texts_of["repointed"]["why"]
    assert "comes back by itself" in texts_of["deactivated"]["why"]
    bodies = {name: each["body"] for name, each in texts_of.items() if "body" in each}
    assert bodies == {
        "renamed": {"model_name": "Old"},
        "added": {"is_active": False},
        "capability": {"capabilities": {"supports_vision": True}},
        "operator": {"model_name": None, "is_active": False, "capabilities": {"max_output": 5}},
        "lost": {"is_default": True},
    }


def test_an_operator_looks_and_previews_and_is_offered_nothing_else(pages: Pages, asks_for_tokens: str) -> None:
    page = pages.open("/ops", at=asks_for_tokens)
    field = page.get_by_label("Token")
    field.fill(token("operator", "olga"))
    field.press("Enter")
    expect(page.locator("#who")).to_have_text("olga: operator, reads and previews, changes nothing")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    expect(section(page, "Sync runs").locator("tbody")).to_contain_text("succeeded")
    expect(section(page, "Ledger").locator("tbody tr").first).to_be_visible()
    expect(section(page, "Chats").get_by_role("list")).to_contain_text("running")
    for name in ("Edit", "Put back"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.get_by_role("button", name="Preview refresh…").click()
    expect(dialog(page)).to_contain_text("Nothing has been changed yet.")
    expect(dialog(page).get_by_role("button", name="Close")).to_be_focused()
    expect(dialog(page).get_by_role("button")).to_have_count(1)
    dialog(page).get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Forget token").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page.evaluate("Object.values(sessionStorage).join()") == ""
    expect(page.locator("#who")).to_have_text("")


def many(page: Page) -> None:
    """Answer with 206 models of long keys, 30 runs and 10 chats with long causes."""

    def models(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        first = body["models"][0]
        body["models"] = [
            {
                **first,
                "id": n,
                "matcha_llm_id": n,
                "model_key": f"{LONG}-{n}",
                "model_name": f"Meta Llama 4 Maverick {n}",
                "is_default": n == 0,
            }
            for n in range(206)
        ]
        body["count"] = 206
        route.fulfill(response=response, json=body)

    def runs(route: Route) -> None:
        response = route.fetch()
        run = response.json()["runs"][0]
        error = {"code": "upstream_rejected", "detail": "The gateway answered 422."}
        listed = [
            {**run, "id": f"{n}", "status": "failed", "error": error, "actor": f"service-{LONG}"} for n in range(30)
        ]
        route.fulfill(response=response, json={"runs": listed, "undecided": None})

    def chats(route: Route) -> None:
        chat = {
            "status": "failed",
            "created_at": "2026-03-01T10:00:00Z",
            "finished_at": "2026-03-01T10:00:01Z",
            "attempts": 1,
            "model": {
                "requested": f"{LONG}-old",
                "key": LONG,
                "name": "x",
                "matcha_llm_id": 1,
                "fallback": True,
                "reason": "retired_key",
            },
            "error": {"code": "upstream_rejected", "detail": "no"},
            "caller": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
            "timings": {"queued_ms": 1, "upstream_ms": 2, "total_ms": 123456},
        }
        route.fulfill(json={"chats": [{**chat, "id": f"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a{n}"} for n in range(10, 20)]})

    page.route("**/api/llms?*", models)
    page.route("**/api/llms/runs?*", runs)
    page.route("**/api/chats?*", chats)


NARROWEST = r"""
() => {
  // A word that is broken letter by letter stands in lines of a few characters.
  const broken = [];
  for (const cell of document.querySelectorAll('td, th, dd, li, code, .chip')) {
    if (!cell.offsetParent || cell.closest('thead')) continue;
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode());) {
      for (const word of node.textContent.matchAll(/\S+/g)) {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (lines.size > 1 && word[0].length / lines.size < 5) broken.push(`${lines.size} lines: ${word[0]}`);
      }
    }
  }
  return broken;
}
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_long_keys_many_models_and_runs_are_readable(pages: Pages, width: int) -> None:
    page = pages.open(None, width=width)
    many(page)
    page.goto("/ops")
    expect(section(page, "Models").locator("tbody tr")).to_have_count(30)
    expect(section(page, "Sync runs").locator("tbody tr")).to_have_count(10)
    expect(section(page, "Chats").locator("tbody tr")).to_have_count(10)
    expect(page.get_by_role("button", name="Show all 206")).to_be_visible()
    expect(section(page, "Ledger").locator("tbody tr").first).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert too_wide(page) == 0
        assert page.evaluate(NARROWEST) == []
        assert page.evaluate("document.documentElement.scrollHeight") < 14_000
    page.unroute_all(behavior="ignoreErrors")


def test_axe_finds_nothing_in_dialogs_and_open_chats(pages: Pages, chats: dict[str, str], axe: str) -> None:
    page = pages.open("/ops", width=1600)
    region = section(page, "Chats")
    region.get_by_text("Find chats").click()
    region.locator("tbody button").first.click()
    expect(region.locator(".details")).to_be_visible()
    expect(section(page, "Models").locator("tbody tr")).to_have_count(27)
    assert violations(page, axe) == []
    section(page, "Models").get_by_role("button", name="Edit").first.click()
    assert violations(page, axe) == []
    dialog(page).get_by_role("button", name="Cancel").click()
    section(page, "Ledger").get_by_role("button", name="Put back").first.click()
    assert violations(page, axe) == []


def test_callers_stand_with_their_limits_and_service_role_changes_them(
    pages: Pages, chats: dict[str, str], api: httpx.Client
) -> None:
    page = pages.open("/ops")
    row = section(page, "Callers").get_by_role("row").filter(has_text="local")
    expect(row).to_contain_text("open chats 1,000")
    row.get_by_role("button", name="Change the limits of local").click()
    box = dialog(page)
    box.get_by_label("Chats a minute").fill("600")
    box.get_by_label("Weight").fill("0")
    box.get_by_role("button", name="Save").click()
    expect(box).to_contain_text("A number is not one that this limit takes.")
    box.get_by_label("Weight").fill("2.5")
    box.get_by_role("button", name="Save").click()
    expect(row.locator("strong")).to_have_text("chats a minute 600 · weight 2.5")
    (caller,) = api.get("/api/callers?subject=local").json()["callers"]
    assert (caller["per_minute"], caller["weight"], caller["max_open"]) == (600, 2.5, None)
    assert api.patch("/api/callers/local", json={"per_minute": None, "weight": None}).is_success
    section(page, "Callers").get_by_role("searchbox").fill("nobody yet")
    section(page, "Callers").get_by_role("button", name="Limits…", exact=True).first.click()
    expect(dialog(page)).to_contain_text("Limits of nobody yet")
