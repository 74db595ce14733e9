"""The page `/` as a conversation: earlier turns go along, answers are formatted, and nothing in them runs."""

import json
from collections.abc import Iterator, Mapping

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, expect

from harness.stand_in import RunningStandIn
from tests.support.pages import MAX_CHARS, Pages, answer, ask, shoot, state, token, too_wide, violations

SAMPLE = """# Leases

A lease is a claim **that ends by itself**. In *short*, three things matter:

1. Take it: `UPDATE … RETURNING`
2. Renew it
   - every third of its time
   - never past the deadline
3. Let it go

| step | who | seconds |
|:-----|:---:|--------:|
| take | worker | 0.01 |
| renew | heartbeat | 10 |

```sql
UPDATE llm_chats SET lease_until = now() + interval '30 s'
WHERE id = $1 AND attempt = $2;
```

> A lease that nobody renews is free again.

More in [the manual](https://docs.example.com/leases) and ![a picture](https://img.example.com/lease.png).
"""
HOSTILE = """<script>window.ran = 1</script>
<img src="https://evil.example/x.png" onerror="window.ran = 2">
<a href="javascript:window.ran=3" onclick="window.ran=4">click</a>
<style>body { display: none }</style><iframe srcdoc="<script>parent.ran = 5</script>"></iframe>

[one](javascript:window.ran=6) [two](JaVaScRiPt:window.ran=7) [three](data:text/html,<script>window.ran=8</script>)
[four](/api/chats) [five](#log) [six](//evil.example/) <javascript:window.ran=9> [seven](vbscript:x)
[eight](https://good.example/"onclick="window.ran=10) ![nine](javascript:window.ran=11) ![ten](https://evil.example/y.png)
[eleven][e] [twelve](https://good.example/ "\\" onmouseover=window.ran=12")

[e]: javascript:window.ran=13

| <img src=x onerror=window.ran=14> | `<script>window.ran=15</script>` |
|---|---|
| <svg onload=window.ran=16> | {{constructor.constructor('window.ran=17')()}} |

```html" onclick="window.ran=18
<script>window.ran = 19</script>
"""
TAGS = {"a", "bdi", "button", "code", "div", "p", "pre", "small", "table", "tbody", "td", "th", "thead", "tr"}
ATTRIBUTES = {"href", "title", "target", "rel", "class", "dir", "tabindex", "role", "aria-label", "scope", "type"}


@pytest.fixture
def answers(gateway: RunningStandIn) -> Iterator[Mapping[str, str]]:
    """What the stand-in answers to questions with these words."""
    texts = {"leases": SAMPLE, "hostile": HOSTILE}
    gateway.behave(by_words={words: {"body": json.dumps({"response": text})} for words, text in texts.items()})
    yield texts


def turn(page: Page, number: int = -1) -> Locator:
    return page.locator(".turn").nth(number)


def inputs(gateway: RunningStandIn) -> list[str]:
    """What the models were sent, the oldest first."""
    return [each["body"]["input"] for each in gateway.calls()["requests"] if each["llm_id"] is not None]


def test_earlier_turns_go_along(pages: Pages, gateway: RunningStandIn) -> None:
    page = pages.open()
    for number, (question, model) in enumerate(
        (("First?", "claude-3-5-sonnet"), ("Second?", "gpt-5"), ("Third?", "claude-3-5-sonnet")), 1
    ):
        ask(page, question, model)
        expect(page.locator(".turn")).to_have_count(number)
        assert f"{question}”" in answer(page)
        expect(page.locator("textarea")).to_have_value("")
    first, second, third = inputs(gateway)
    assert first == "First?"
    assert second.startswith("The conversation so far:")
    assert "User: First?" in second
    assert "Assistant: [stand-in for MatchaAI] model Claude 3.5 Sonnet (25) answers" in second
    assert "User: Second?" in third
    assert third.index("First?") < third.index("(25) answers") < third.index("User: Second?") < third.index("GPT-5")
    assert third.endswith("Third?")
    log = page.get_by_role("log", name="Conversation")
    assert log.locator(".theirs .who").all_inner_texts() == ["Claude 3.5 Sonnet", "GPT-5", "Claude 3.5 Sonnet"]
    assert log.locator(".asked").all_inner_texts() == ["First?", "Second?", "Third?"]


def test_a_reload_keeps_the_conversation(pages: Pages, gateway: RunningStandIn, answers: Mapping[str, str]) -> None:
    page = pages.open()
    ask(page, "What are leases?")
    answer(page)
    gateway.behave()
    ask(page, "And now?")
    expect(page.locator(".turn")).to_have_count(2)
    assert "And now?”" in answer(page)
    shown = page.locator("#log").inner_text()
    page.reload()
    expect(page.locator(".turn")).to_have_count(2)
    assert "And now?”" in answer(page)
    assert page.locator("#log").inner_text() == shown
    kept = page.evaluate("JSON.stringify({...sessionStorage}) + JSON.stringify({...localStorage})")
    assert "And now" not in kept  # ids only: the server has the texts, and may erase them
    ask(page, "Still there?")
    assert "Still there?”" in answer(page)
    assert "UPDATE llm_chats" in inputs(gateway)[-1]
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "question"
    page.reload()
    expect(page.locator(".turn")).to_have_count(0)
    ask(page, "Who are you?")
    answer(page)
    assert inputs(gateway)[-1] == "Who are you?"


def test_answers_are_formatted(pages: Pages, answers: Mapping[str, str]) -> None:
    page = pages.open()
    ask(page, "What are leases?")
    answer(page)
    shown = turn(page).locator(".answer")
    assert shown.locator("h3").inner_text() == "Leases"
    assert shown.locator("p > strong").inner_text() == "that ends by itself"
    assert shown.locator("ol > li").count() == 3
    assert shown.locator("ol > li > ul > li").all_inner_texts() == [
        "every third of its time",
        "never past the deadline",
    ]
    assert shown.locator("thead th").all_inner_texts() == ["step", "who", "seconds"]
    assert shown.locator("tbody tr").nth(1).locator("td").all_inner_texts() == ["renew", "heartbeat", "10"]
    assert shown.locator("blockquote").inner_text() == "A lease that nobody renews is free again."
    assert "WHERE id = $1" in shown.locator("pre code").inner_text()
    manual = shown.get_by_role("link", name="the manual")
    assert manual.get_attribute("href") == "https://docs.example.com/leases"
    assert manual.get_attribute("rel") == "noopener noreferrer nofollow"
    assert "the manual (https://docs.example.com/leases)" in shown.inner_text()
    assert (
        shown.get_by_role("link", name="Image: a picture").get_attribute("href") == "https://img.example.com/lease.png"
    )
    assert shown.locator("img").count() == 0
    page.set_viewport_size({"width": 1100, "height": 1500})
    shoot(page, "panel-conversation")


def test_the_stand_in_shows_what_markdown_looks_like(pages: Pages, gateway: RunningStandIn) -> None:
    page = pages.open()
    ask(page, "Show me some Markdown.")
    assert answer(page).startswith("[stand-in for MatchaAI]")
    for tag in ("h3", "ol ul", "table", "pre", "blockquote", "a"):
        expect(turn(page).locator(f".answer {tag}")).to_have_count(1)
    assert "<b>Raw HTML</b>" in answer(page)
    ask(page, "Thanks.")
    expect(page.locator(".turn")).to_have_count(2)
    answer(page)
    expect(turn(page).locator("table")).to_have_count(0)


def test_copy_copies_exactly_the_code(pages: Pages, gateway: RunningStandIn) -> None:
    code = "if a < b:\n\tprint('&amp; é 👁️')  \n\n    # end"
    text = f"Run\n\n```py\n{code}\n```\nand `x`."
    gateway.behave(completions={"body": json.dumps({"response": text})})
    page = pages.open()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "Some code?")
    answer(page)
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == code
    page.get_by_role("button", name="Copy answer").click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_copy_works_without_the_clipboard_of_secure_pages(pages: Pages, gateway: RunningStandIn) -> None:
    gateway.behave(completions={"body": json.dumps({"response": "```\nplain http\n```"})})
    page = pages.open(script="Object.defineProperty(navigator, 'clipboard', { value: undefined });")
    ask(page, "Some code?")
    answer(page)
    page.evaluate("document.addEventListener('copy', () => setTimeout(() => { window.copied = true; }))")
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.locator("textarea").focus()
    page.keyboard.press("Control+V")
    expect(page.locator("textarea")).to_have_value("plain http")


def test_nothing_in_an_answer_runs_or_loads(pages: Pages, answers: Mapping[str, str]) -> None:
    page = pages.open()
    requested: list[str] = []

    def record(request: Request) -> None:
        requested.append(request.url)

    page.on("request", record)
    ask(page, "Be hostile.")
    answer(page)
    shown = turn(page).locator(".answer")
    tags = shown.evaluate("(answer) => [...new Set([...answer.querySelectorAll('*')].map((each) => each.localName))]")
    assert set(tags) <= TAGS
    names = shown.evaluate("(answer) => [...answer.querySelectorAll('*')].flatMap((each) => each.getAttributeNames())")
    assert set(names) <= ATTRIBUTES
    hrefs = shown.locator("a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    assert hrefs
    assert all(href.startswith(("https://good.example/", "https://evil.example/y.png")) for href in hrefs), hrefs
    for link in shown.locator("a").all():
        link.hover()
    for button in shown.get_by_role("button").all():
        button.click()
    assert page.evaluate("window.ran") is None
    assert not [url for url in requested if "evil.example" in url]  # and pages.faults: the policy was not even asked
    for word in ("<script>window.ran = 1</script>", "[four](/api/chats)", "javascript:window.ran=9"):
        assert word in shown.inner_text()


def test_the_oldest_turns_stay_behind_and_the_page_says_so(
    pages: Pages, gateway: RunningStandIn, asks_for_tokens: str
) -> None:
    page = pages.open(at=asks_for_tokens)
    page.get_by_label("Token").fill(token("authenticated"))
    page.get_by_role("button", name="Use token").click()
    questions = [f"{word} {'x' * 60}?" for word in ("One", "Two", "Three", "Four")]
    for number, question in enumerate(questions, 1):
        ask(page, question)
        expect(page.locator(".turn")).to_have_count(number)
        answer(page)
    latest = inputs(gateway)[-1]
    assert "User: Three" in latest
    assert "User: One" not in latest
    note = page.locator(".cut")
    expect(note).to_contain_text(f"a question may hold {MAX_CHARS} characters")
    before = note.evaluate("(note) => note.nextElementSibling.querySelector('.asked').textContent")
    page.reload()
    expect(page.locator(".turn")).to_have_count(4)
    expect(note).to_be_visible()
    assert note.evaluate("(note) => note.nextElementSibling.querySelector('.asked').textContent") == before


def test_an_answer_is_shown_as_it_is_where_it_cannot_be_formatted(
    pages: Pages, gateway: RunningStandIn, answers: Mapping[str, str]
) -> None:
    page = pages.open()
    page.route("**/api/chats/*/markdown", lambda route: route.abort())
    ask(page, "What are leases?")
    assert answer(page).strip() == SAMPLE.strip()
    gateway.behave(completions={"body": json.dumps({"response": "[" * 20_000})})
    heavy = pages.open()
    ask(heavy, "Brackets?")
    assert answer(heavy) == "[" * 20_000


def test_a_long_answer_is_shown(pages: Pages, gateway: RunningStandIn) -> None:
    text = (SAMPLE + "\n\n") * (100_000 // len(SAMPLE))
    gateway.behave(completions={"body": json.dumps({"response": text})})
    page = pages.open()
    ask(page, "At length?")
    answer(page)
    expect(turn(page).locator("h3")).to_have_count(100_000 // len(SAMPLE))


def test_a_failed_question_keeps_its_place_and_the_conversation(pages: Pages, gateway: RunningStandIn) -> None:
    page = pages.open()
    ask(page, "First?")
    answer(page)
    gateway.behave(completions={"status": 400})
    ask(page, "Second?")
    expect(page.get_by_role("alert")).to_be_visible()
    page.reload()
    expect(turn(page)).to_contain_text("The gateway refused this request.")
    gateway.behave()
    page.get_by_role("button", name="Try again").click()
    assert "Second?”" in answer(page)
    expect(page.locator(".turn")).to_have_count(2)
    assert "User: First?" in inputs(gateway)[-1]
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


def test_a_new_conversation_cancels_what_is_under_way(pages: Pages, gateway: RunningStandIn) -> None:
    gateway.behave(completions={"delay": 60})
    page = pages.open()
    ask(page, "Wait for me.")
    gateway.wait_for_calls(lambda calls: calls["completions"] == 1)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    gateway.wait_for_calls(lambda calls: calls["closed_by_client"] == 1)
    gateway.behave()
    ask(page, "Hello?")
    assert "you asked “Hello?”" in answer(page)


def test_an_erased_answer_is_gone_from_the_page(pages: Pages, gateway: RunningStandIn, api: httpx.Client) -> None:
    page = pages.open()
    ask(page, "Forget this.")
    answer(page)
    chat = api.get("/api/chats?limit=1").json()["chats"][0]["id"]
    assert api.delete(f"/api/chats/{chat}?erase=1").is_success
    page.reload()
    expect(turn(page)).to_contain_text("Its content was erased.")
    assert "Forget this." not in page.locator("body").inner_text()
    ask(page, "What did I say?")
    answer(page)
    assert inputs(gateway)[-1] == "What did I say?"


def test_forgetting_the_token_forgets_the_conversation(
    pages: Pages, asks_for_tokens: str, gateway: RunningStandIn
) -> None:
    page = pages.open(at=asks_for_tokens)
    page.get_by_label("Token").fill(token("authenticated", "ann"))
    page.get_by_role("button", name="Use token").click()
    ask(page, "Mine?")
    assert "Mine?”" in answer(page)
    page.reload()
    assert "Mine?”" in answer(page)
    page.evaluate("sessionStorage.setItem('llm-refresh.token', '')")  # as if it had never been kept
    page.reload()
    expect(page.locator("#state")).to_have_text("A token is needed.")
    page.get_by_label("Token").fill(token("authenticated", "ben"))
    page.get_by_role("button", name="Use token").click()
    expect(turn(page)).to_contain_text("This question is no longer kept on the server.")  # ann's
    page.get_by_role("button", name="Forget token").click()
    expect(page.get_by_label("Token")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)


def test_a_conversation_fits_360_pixels(pages: Pages, gateway: RunningStandIn, answers: Mapping[str, str]) -> None:
    page = pages.open(width=360, dark=True)
    ask(page, "What are leases?")
    answer(page)
    assert too_wide(page) == 0
    shoot(page, "panel-360-dark")
    table = f"| {'wide | ' * 20}\n|{'---|' * 20}"
    wide = f"```\n{'long ' * 100}\n```\n\n{table}\n\n[x](https://a.example/{'y' * 300})"
    gateway.behave(completions={"body": json.dumps({"response": wide})})
    ask(page, "Q" * 500)
    expect(page.locator(".turn")).to_have_count(2)
    answer(page)
    assert too_wide(page) == 0
    scrolls = "(box) => box.scrollWidth > box.clientWidth"
    assert turn(page).locator("pre").evaluate(scrolls)
    assert turn(page).locator(".wide").evaluate(scrolls)


def test_a_conversation_is_held_without_a_mouse(pages: Pages, answers: Mapping[str, str], axe: str) -> None:
    page = pages.open()
    expect(page.locator("llm-model-select select")).to_be_enabled()
    page.locator("textarea").focus()
    page.keyboard.type("What are leases?")
    page.keyboard.press("Control+Enter")
    answer(page)
    assert page.evaluate("document.activeElement.id") == "question"
    reached = set()
    while page.evaluate("document.activeElement.id") != "fresh":
        page.keyboard.press("Shift+Tab")
        reached.add(page.evaluate("document.activeElement.textContent"))
    assert {"Copy code", "Copy answer", "the manual"} <= reached
    assert violations(page, axe) == []
    page.keyboard.press("Enter")
    state(page, "A new conversation.")
