"""The page `/`: asking, waiting, cancelling, reloading, and what stands there when something goes wrong."""

import json
import os
import re
import signal
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from harness.stand_in import RunningStandIn
from harness.waiting import live_processes, wait_for
from tests.support.pages import Pages, Profiles, answer, answers, ask, shoot, state, token, too_wide, violations
from tests.support.up import RunningUp

WATCH_CLOCK = """() => {
  window.shown = [];
  const clock = document.getElementById('clock');
  new MutationObserver(() => shown.push(clock.textContent))
    .observe(clock, { childList: true, characterData: true, subtree: true });
}"""


@pytest.fixture(scope="module", autouse=True)
def long_wait(profiles: Profiles, up: RunningUp, sandbox: RunningStandIn) -> Iterator[Page]:
    """A page that waits for a model that takes 15 s, while the other tests go on: the last one looks at it."""
    sandbox.forget_calls()
    sandbox.behave(by_llm_id={30: {"delay": 15.5}})
    opened = Pages(profiles, up.url)
    page = opened.open()
    page.evaluate(WATCH_CLOCK)
    ask(page, "Take your time.", "claude-3-opus-4-1")
    state(page, "Claude Opus 4.1 is answering…")
    shoot(page, "panel-waiting")
    sandbox.wait_for_calls(lambda calls: calls["completions"] == 1)
    sandbox.behave()
    yield page
    opened.close()
    opened.close()


def test_the_chosen_model_answers(pages: Pages, gateway: RunningStandIn) -> None:
    page = pages.open()
    ask(page, "How tall is Mont Blanc?", "claude-3-5-sonnet")
    assert "model Claude 3.5 Sonnet (25) answers: you asked “How tall is Mont Blanc?”" in answer(page)
    state(page, "Claude 3.5 Sonnet answered.")
    expect(page.locator(".note.warn")).to_be_hidden()
    assert [request["llm_id"] for request in gateway.calls()["requests"]] == [25]


def test_a_question_is_cancelled_while_the_model_answers(pages: Pages, gateway: RunningStandIn) -> None:
    gateway.behave(completions={"delay": 60})
    page = pages.open()
    ask(page, "Never mind.")
    gateway.wait_for_calls(lambda calls: calls["completions"] == 1)
    page.get_by_role("button", name="Cancel").click()
    state(page, "Cancelled.")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    gateway.wait_for_calls(lambda calls: calls["closed_by_client"] == 1)


def test_a_reload_in_mid_answer_asks_nothing_twice(pages: Pages, gateway: RunningStandIn) -> None:
    gateway.behave(completions={"delay": 2.5})
    page = pages.open()
    ask(page, "Still there?")
    state(page, "Claude 3.7 Sonnet is answering…")
    expect(page.locator("#clock")).to_have_text("1 s")
    page.reload()
    expect(page.locator(".asked")).to_have_text("Still there?")
    assert int(page.locator("#clock").inner_text().removesuffix(" s")) >= 1  # it did not begin again
    assert "you asked “Still there?”" in answer(page)
    assert gateway.calls()["completions"] == 1
    page.reload()
    assert "you asked “Still there?”" in answer(page)


def test_a_question_whose_acceptance_was_lost_is_sent_again_as_the_same_one(
    pages: Pages, gateway: RunningStandIn
) -> None:
    page = pages.open()
    sent: list[str | None] = []

    def lose_the_first(route: Route) -> None:
        sent.append(route.request.headers.get("idempotency-key"))
        if len(sent) == 1:
            route.fetch()  # it arrives, its answer does not
            route.abort()
        else:
            route.continue_()

    page.route("**/api/chasen/chat", lose_the_first)
    ask(page, "Did you hear me?")
    assert "Did you hear me?" in answer(page)
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert gateway.calls()["completions"] == 1


def test_the_page_connects_again_when_the_web_process_dies(
    pages: Pages, gateway: RunningStandIn, up: RunningUp
) -> None:
    gateway.behave(completions={"delay": 4})
    page = pages.open()
    ask(page, "Hold on.")
    gateway.wait_for_calls(lambda calls: calls["completions"] == 1)
    for line in live_processes(up.home):
        pid, _, command = line.partition(": ")
        if "worker.web.wsgi" in command:
            os.kill(int(pid), signal.SIGKILL)
    state(page, "Connection lost, connecting again…")
    assert "you asked “Hold on.”" in answer(page)
    wait_for(lambda: answers(up.url))


def test_another_model_that_answers_is_announced_with_the_reason(
    pages: Pages, gateway: RunningStandIn, api: httpx.Client
) -> None:
    page = pages.open()
    expect(page.locator("llm-model-select select")).to_be_enabled()
    assert api.patch("/api/llms/gpt-5", json={"is_active": False}).is_success  # after the page has loaded its list
    try:
        ask(page, "Who is there?", "gpt-5")
        assert "Claude 3.7 Sonnet (28) answers" in answer(page)
        sentence = "Claude 3.7 Sonnet answers instead of gpt-5: it is no longer active."
        expect(page.locator(".note.warn")).to_have_text(sentence)
        shoot(page, "panel-fallback")
    finally:
        assert api.patch("/api/llms/gpt-5", json={"is_active": None}).is_success


def test_markup_in_an_answer_is_text(pages: Pages, gateway: RunningStandIn) -> None:
    hostile = '<script>window.ran = 1</script><img src=x onerror="window.ran = 2"> & <b>bold</b>'
    gateway.behave(completions={"body": json.dumps({"response": hostile})})
    page = pages.open()
    ask(page, "Write some HTML.")
    assert answer(page) == hostile
    assert page.locator(".answer").evaluate("(answer) => answer.innerHTML").startswith("<p>&lt;script&gt;")
    assert page.locator(".answer *").count() == 1
    assert page.evaluate("window.ran") is None


def test_a_failure_tells_its_cause_and_can_be_tried_again(pages: Pages, gateway: RunningStandIn) -> None:
    gateway.behave(completions={"status": 401})
    page = pages.open()
    ask(page, "Are you well?")
    expect(page.get_by_role("alert")).to_contain_text("The gateway refused our key.")
    state(page, "Failed.")
    gateway.behave()
    page.get_by_role("button", name="Try again").click()
    assert "you asked “Are you well?”" in answer(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_question_that_waits_for_the_gateway_says_so(
    pages: Pages, gateway: RunningStandIn, api: httpx.Client
) -> None:
    gateway.behave(completions={"status": 503})
    for number in range(8):
        api.post("/api/chasen/chat", json={"question": f"Is it down, {number}?"})
    page = pages.open()
    ask(page, "Are you there?")
    expect(page.locator("#state")).to_contain_text("Waiting for the gateway, which does not answer since")
    expect(page.locator("#state")).to_contain_text("The question is kept.")
    ops = pages.open("/ops")
    expect(ops.locator("#parts")).to_contain_text(
        re.compile(r"MatchaAI: .*not answer since .*\(503 upstream_unavailable\)")
    )
    gateway.behave()
    assert "Are you there?" in answer(page)
    expect(ops.locator("#parts")).to_contain_text("MatchaAI: good")


def test_a_refused_question_is_no_loss(pages: Pages) -> None:
    page = pages.open()
    ask(page, "x" * 250_000)
    expect(page.get_by_role("alert")).to_contain_text("The question is too long")
    expect(page.locator("#state")).to_have_text("Not sent.")
    assert len(page.locator("textarea").input_value()) == 250_000


def test_events_are_read_whole_however_they_are_cut(pages: Pages) -> None:
    text = ': here\r\n\r\nid: 1\r\nevent: status\r\ndata: {"a":"é👁️"}\r\n\r\n'
    text += "id: 2\ndata: one\ndata: two\n\n: x\n\ndata: lost"
    read = pages.open().evaluate(
        """async (text) => {
          const { readEvents } = await import('/assets/events.js');
          const bytes = new TextEncoder().encode(text), runs = [];
          for (let size = 1; size <= bytes.length; size++) {
            const stream = new ReadableStream({ start(controller) {
              for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
              controller.close();
            } });
            const events = [];
            for await (const event of readEvents(stream)) events.push(event);
            runs.push(JSON.stringify(events));
          }
          return [...new Set(runs)];
        }""",
        text,
    )
    status = '{"event":"status","data":"{\\"a\\":\\"é👁️\\"}","id":"1"}'
    assert read == [f'[{status},{{"event":"message","data":"one\\ntwo","id":"2"}}]']


def test_asks_for_a_token_and_keeps_it_for_the_tab(pages: Pages, asks_for_tokens: str, gateway: RunningStandIn) -> None:
    page = pages.open(at=asks_for_tokens)
    field = page.get_by_label("Token")
    expect(field).to_be_visible()
    assert field.get_attribute("type") == "password"
    field.fill("not a token")
    field.press("Enter")
    expect(page.locator("#token-note")).to_contain_text("the token is not valid")

    mine = token("authenticated")
    field.fill(mine)
    page.get_by_role("button", name="Use token").click()
    expect(page.locator("llm-model-select option")).to_have_count(27)
    expect(field).to_be_hidden()
    ask(page, "May I?")
    assert "you asked “May I?”" in answer(page)

    page.reload()
    expect(page.locator("llm-model-select option")).to_have_count(27)
    assert mine not in page.url
    assert mine not in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("button", name="Forget token").click()
    expect(field).to_be_visible()


def test_everything_is_done_without_a_mouse(pages: Pages, gateway: RunningStandIn) -> None:
    page = pages.open()
    expect(page.locator("llm-model-select select")).to_be_enabled()
    for _ in range(5):  # the skip link, the three pages, the select
        page.keyboard.press("Tab")
    page.keyboard.type("GPT-5 M")
    page.keyboard.press("Tab")
    page.keyboard.type("Hands off?")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "model GPT-5 Mini (68) answers: you asked “Hands off?”" in answer(page)

    gateway.behave(completions={"delay": 60})
    page.locator("textarea").focus()
    page.keyboard.type("And now?")
    page.keyboard.press("Control+Enter")
    state(page, "GPT-5 Mini is answering…")
    while page.evaluate("document.activeElement.id") != "cancel":  # above the form, where the answer will stand
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement !== document.body")
    page.keyboard.press("Enter")
    state(page, "Cancelled.")
    assert page.evaluate("document.activeElement.id") == "again"  # the focus is not lost with the button


def test_360_pixels_are_wide_enough(pages: Pages, gateway: RunningStandIn) -> None:
    long = {"response": "An unbroken " + "word" * 200 + "\n\n    and an indented line " + "x " * 200}
    gateway.behave(completions={"body": json.dumps(long)})
    page = pages.open(width=360, dark=True)
    assert too_wide(page) == 0
    ask(page, "Q" * 500)
    answer(page)
    assert too_wide(page) == 0


def test_axe_finds_nothing(pages: Pages, gateway: RunningStandIn, axe: str, asks_for_tokens: str) -> None:
    page = pages.open()
    ask(page, "Anything wrong?")
    answer(page)
    gateway.behave(completions={"status": 400})
    failed = pages.open()
    ask(failed, "And now?")
    expect(failed.get_by_role("alert")).to_be_visible()
    refused = pages.open(at=asks_for_tokens)
    expect(refused.get_by_label("Token")).to_be_visible()
    expect(refused.get_by_role("button", name="Load again")).to_be_visible()
    for each in (page, failed, refused):
        assert violations(each, axe) == []


def test_the_clock_runs_from_the_first_second_to_the_last(long_wait: Page) -> None:
    assert "Claude Opus 4.1 (30) answers: you asked “Take your time.”" in answer(long_wait)
    shown = [int(text.removesuffix(" s")) for text in long_wait.evaluate("shown") if re.fullmatch(r"\d+ s", text)]
    seconds = sorted(set(shown))
    assert seconds[0] == 0
    assert seconds[-1] >= 15
    # Every second has its turn; a machine with other work to do may make the page skip one.
    assert max(later - earlier for earlier, later in pairwise(seconds)) <= 2
