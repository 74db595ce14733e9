"""`/docs` in a real browser: each call of openapi.json, readable, with nothing from elsewhere."""

import httpx
from playwright.sync_api import expect

from tests.support.pages import Pages, shoot, too_wide, violations


def test_each_call_and_schema_of_openapi_json_is_there_and_its_links_lead_to_it(
    pages: Pages, api: httpx.Client
) -> None:
    document = api.get("/openapi.json").json()
    page = pages.open("/docs")
    calls = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert {"GET /openapi.json", "GET /docs", "POST /api/chasen/chat"} <= calls
    assert set(page.locator("article[id] h3:has(b)").all_inner_texts()) == calls
    schemas = set(page.locator("article[id^=schema-] h3").all_inner_texts())
    assert schemas == set(document["components"]["schemas"])
    dead = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash.slice(1))"
        ".filter((id) => !document.getElementById(id))"
    )
    assert dead == []
    page.get_by_role("link", name="POST /api/chasen/chat").click()
    expect(page).to_have_url(f"{pages.base_url}/docs#post_api_chasen_chat")
    expect(page.locator("#post_api_chasen_chat")).to_be_in_viewport()


def test_a_call_says_who_may_what_it_takes_and_what_comes_back(pages: Pages) -> None:
    page = pages.open("/docs")
    asking = page.locator("#post_api_chasen_chat")
    expect(asking).to_contain_text("Roles: authenticated, service_role.")
    expect(asking.get_by_role("row", name="Idempotency-Key (header)")).to_contain_text(
        "The same key and body: the same chat"
    )
    expect(asking.locator("pre")).to_contain_text('curl "$URL/api/chasen/chat"')
    expect(asking.locator("pre")).to_contain_text('-d \'{"question": "…"}\'')
    for status in ("200", "202", "any other"):
        expect(asking.locator("li code", has_text=status).first).to_be_visible()
    asking.get_by_role("link", name="Question").first.click()
    expect(page.locator("#schema-Question")).to_be_in_viewport()
    expect(page.locator("#schema-Question tbody th", has_text="question").first).to_contain_text("required")


def test_it_is_open_to_anyone_and_loads_nothing_from_elsewhere(pages: Pages, asks_for_tokens: str) -> None:
    page = pages.open(None, at=asks_for_tokens)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    answer = page.goto("/docs")
    assert answer is not None
    assert answer.status == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    page.wait_for_load_state("networkidle")
    assert addresses
    assert [url for url in addresses if not url.startswith(f"{asks_for_tokens}/")] == []
    assert page.locator("script").count() == 0


def test_it_is_readable_from_360_pixels_on_and_axe_finds_nothing(pages: Pages, axe: str) -> None:
    page = pages.open("/docs")
    for width in (360, 768, 1200, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert too_wide(page) <= 0
    shoot(page, "api-docs")
    assert violations(page, axe) == []
