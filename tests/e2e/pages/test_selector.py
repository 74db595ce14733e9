"""`<llm-model-select>` in a real browser, on our page and in pages of others."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from shared.catalogue.facts.capabilities import CAPABILITIES
from shared.catalogue.facts.mapping import load_mapping
from tests.e2e.pages.conftest import OtherServer
from tests.support.pages import Pages, Profiles, shoot, token
from tests.support.tools import ROOT
from tests.support.up import RunningUp

# Every list that a selector shows, from its first moment on.
WATCH_LISTS = """
  window.lists = [];
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (options) {
    const root = attach.call(this, options);
    const note = () => {
      const list = [...root.querySelectorAll("option")].map((option) => option.textContent);
      if (list.length && JSON.stringify(list) !== JSON.stringify(lists.at(-1))) lists.push(list);
    };
    new MutationObserver(note).observe(root, { childList: true, subtree: true, characterData: true });
    return root;
  };
"""
SOMEONE_ELSES = """
<!doctype html><html lang="en"{attributes}><title>Someone else's page</title><style>{style}</style>
<script type="module" src="/assets/llm-model-select.js"></script>
<form><label for="m">Which model?</label> <llm-model-select id="m" name="llm"{select}></llm-model-select></form>
"""


def select(page: Page) -> Locator:
    return page.locator("llm-model-select select")


def options(page: Page) -> list[str]:
    return select(page).locator("option").all_text_contents()


def someone_elses_page(pages: Pages, *, attributes: str = "", style: str = "", element: str = "") -> Page:
    """A page on the same server that is not ours: no policy, a form, its own style."""
    page = pages.open(None)
    body = SOMEONE_ELSES.format(attributes=attributes, style=style, select=element)
    page.route("**/someone", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("/someone")
    return page


def test_says_that_it_is_loading_and_then_shows_the_list_once(pages: Pages) -> None:
    page = pages.open(None, script=WATCH_LISTS)
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/api/llms", hold)
    page.goto("/")
    expect(select(page)).to_be_disabled()
    assert options(page) == ["Loading models…"]

    assert page.evaluate("lists.length") == 1
    waiting[0].continue_()
    expect(select(page)).to_be_enabled()
    loading, listed = page.evaluate("lists")  # these two, and never another
    assert loading == ["Loading models…"]
    assert len(listed) == 27


def test_groups_the_models_by_provider_and_marks_what_they_can(pages: Pages) -> None:
    page = pages.open()
    expect(select(page)).to_have_value("claude-3-7-sonnet")  # the default
    groups = select(page).locator("optgroup").evaluate_all("groups => groups.map(group => group.label)")
    assert groups == ["Anthropic", "Google", "OpenAI", "Cohere", "DeepSeek", "Meta", "Other"]
    labels = {label.partition(" 👁️")[0].partition(" 📎")[0]: label for label in options(page)}
    assert labels["Claude Sonnet 4.5"] == "Claude Sonnet 4.5 👁️ 📎"
    assert labels["Cohere Command A"] == "Cohere Command A"
    title = select(page).locator("option[value=claude-sonnet-4-5]").get_attribute("title")
    assert title is not None
    assert title.startswith("Claude Sonnet 4.5: sees images, takes files, ")


def test_has_a_name_a_role_and_a_state_that_is_announced(pages: Pages) -> None:
    page = pages.open()
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_be_enabled()
    expect(page.locator("llm-model-select").get_by_role("status")).to_have_text("27 models loaded")


def test_remembers_a_choice_while_the_model_is_active(pages: Pages, gateway: RunningStandIn, api: httpx.Client) -> None:
    page = pages.open()
    select(page).select_option("gpt-5")
    page.reload()
    expect(select(page)).to_have_value("gpt-5")

    assert api.patch("/api/llms/gpt-5", json={"is_active": False}).is_success
    try:
        wait_for(lambda: "gpt-5" not in {model["model_key"] for model in api.get("/api/llms").json()["models"]})
        page.reload()
        expect(select(page)).to_have_value("claude-3-7-sonnet")
        assert page.evaluate("localStorage.getItem('llm-model-select')") is None
    finally:
        assert api.patch("/api/llms/gpt-5", json={"is_active": None}).is_success


def test_shows_the_built_in_models_when_the_request_fails_and_says_so(pages: Pages, has_no_servers: str) -> None:
    page = pages.open(at=has_no_servers, script=WATCH_LISTS)
    expect(page.get_by_text("The list of models cannot be loaded now. These are built in.").last).to_be_visible()
    expect(select(page)).to_have_value("claude-3-7-sonnet")
    loading, built_in = page.evaluate("lists")
    assert loading == ["Loading models…"]
    assert built_in == [
        "Claude 3.7 Sonnet",
        "Claude 3.5 Sonnet",
        "Claude Opus 4.1",
        "Gemini 2.5 Flash-Lite",
        "GPT-4o",
    ]
    shoot(page, "selector-built-in")


def test_loads_the_list_when_it_is_asked_again(pages: Pages) -> None:
    page = pages.open(None)
    page.route("**/api/llms", lambda route: route.abort())
    page.goto("/")
    retry = page.get_by_role("button", name="Load again")
    expect(retry).to_be_visible()
    page.unroute("**/api/llms")
    retry.click()
    expect(retry).to_be_hidden()
    assert len(options(page)) == 27


def test_the_built_in_models_are_those_of_the_mapping(pages: Pages) -> None:
    built_in = pages.open().evaluate("import('/assets/llm-model-select.js').then((module) => module.BUILT_IN)")
    mapped = load_mapping()
    assert [(each["model_key"], each["model_name"], each["provider"]) for each in built_in] == [
        (each.key, each.name, each.provider) for each in sorted(mapped.models, key=lambda model: model.order)
    ]
    assert [each["capabilities"] for each in built_in] == [each.capabilities.stated() for each in mapped.models]


def test_takes_part_in_a_form(pages: Pages) -> None:
    page = someone_elses_page(pages, element=' value="gpt-4o"')
    expect(select(page)).to_have_value("gpt-4o")
    entries = "Object.fromEntries(new FormData(document.forms[0]))"
    assert page.evaluate(entries) == {"llm": "gpt-4o"}

    page.evaluate("document.addEventListener('change', ({detail}) => { window.chosen = detail; })")
    page.get_by_text("Which model?").click()  # the label leads to the select
    page.keyboard.type("Gemini 3")
    expect(select(page)).to_have_value("gemini-3-pro-reasoning")
    chosen = page.evaluate("chosen")
    assert (chosen["key"], chosen["model"]["model_name"]) == ("gemini-3-pro-reasoning", "Gemini 3 Pro - Reasoning")
    assert page.evaluate(entries) == {"llm": "gemini-3-pro-reasoning"}
    page.evaluate("document.forms[0].reset()")
    assert page.evaluate(entries) == {"llm": "gpt-4o"}


def test_can_be_read_in_a_dark_page_from_right_to_left(pages: Pages) -> None:
    page = someone_elses_page(pages, attributes=' dir="rtl"', style="body { background: #111; color: #eee }")
    expect(select(page)).to_be_enabled()
    assert select(page).evaluate("element => getComputedStyle(element).color") == "rgb(238, 238, 238)"
    assert select(page).evaluate("element => getComputedStyle(element).direction") == "rtl"
    # The list that opens has colours of its own: it is not part of the page's ground.
    option = select(page).locator("option").first
    colours = option.evaluate("element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]")
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


def test_sends_a_token_that_it_is_given(pages: Pages, asks_for_tokens: str) -> None:
    page = pages.open("/", at=asks_for_tokens)
    expect(page.get_by_text("The list of models needs a token. These are built in.").last).to_be_visible()
    page.locator("llm-model-select").evaluate("element => { element.token = 'wrong' }")
    expect(page.get_by_text("The token is not valid. These models are built in.").last).to_be_visible()
    page.locator("llm-model-select").evaluate("(element, token) => { element.token = token }", token("authenticated"))
    expect(select(page).locator("option")).to_have_count(27)


# The specification's own component, without a compiler for its markup.
SPECIFIED = """
  const { createElement, useEffect, useState } = React;
  function ModelSelector() {
    const [models, setModels] = useState([]);
    const [selected, setSelected] = useState('');
    useEffect(() => {
      fetch('/api/llms').then((response) => response.json()).then((data) => {
        setModels(data.models);
        setSelected(data.defaultModel);
      });
    }, []);
    return createElement('select', { value: selected, onChange: (event) => setSelected(event.target.value) },
      models.map((model) =>
        createElement('option', { key: model.model_key, value: model.model_key }, model.model_name)));
  }
"""
# docs/frontend.md
WRAPPED = """
  const { createElement, useLayoutEffect, useRef } = React;
  function ModelSelect({ token, onModel }) {
    const ref = useRef(null);
    useLayoutEffect(() => {
      const element = ref.current;
      element.token = token;
      const changed = (event) => onModel(event.detail.key);
      element.addEventListener('change', changed);
      return () => element.removeEventListener('change', changed);
    }, [token, onModel]);
    return createElement('llm-model-select', { ref, label: 'Model' });
  }
"""


def react_page(pages: Pages, npm_file: Callable[[str, str], str], at: str | None = None) -> Page:
    """An empty page with React in it."""
    page = pages.open(None, at=at)
    body = "<!doctype html><html lang=en><title>React</title><div id=root></div>"
    page.route("**/react", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("/react")
    for package in ("react", "react-dom"):
        page.evaluate(npm_file(package, f"umd/{package}.production.min.js"))
    return page


def test_the_component_of_the_specification_works_unchanged(pages: Pages, npm_file: Callable[[str, str], str]) -> None:
    page = react_page(pages, npm_file)
    page.evaluate(f"() => {{ {SPECIFIED} ReactDOM.createRoot(root).render(createElement(ModelSelector)); }}")
    expect(page.locator("select")).to_have_value("claude-3-7-sonnet")
    expect(page.locator("option")).to_have_count(27)
    assert "Claude 3.5 Sonnet" in page.locator("option").all_text_contents()


def test_in_react_it_sends_the_token_with_its_first_request(
    pages: Pages, npm_file: Callable[[str, str], str], asks_for_tokens: str
) -> None:
    page = react_page(pages, npm_file, at=asks_for_tokens)
    refused: list[int] = []
    page.on("response", lambda response: refused.append(response.status) if response.status == 401 else None)
    page.evaluate(
        f"""async (token) => {{
          await import('/assets/llm-model-select.js');
          {WRAPPED}
          const onModel = (key) => {{ window.chosen = key; }};
          ReactDOM.createRoot(root).render(createElement(ModelSelect, {{ token, onModel }}));
        }}""",
        token("authenticated"),
    )
    expect(page.locator("option")).to_have_count(27)
    page.locator("select").select_option("gpt-5-mini")
    assert page.evaluate("chosen") == "gpt-5-mini"
    assert refused == []


def test_a_server_that_renders_pages_may_import_it_where_there_are_no_elements(node: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "worker" / "web" / "static" / "llm-model-select.js", tmp_path / "llm-model-select.mjs")
    script = (
        "const count = () => Object.keys(globalThis).length; const before = count();"
        "const module = await import('./llm-model-select.mjs');"
        "console.log(module.providerName('openai'), typeof module.LlmModelSelect, count() - before)"
    )
    done = subprocess.run(
        [node, "--input-type=module", "--eval", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "OpenAI function 0\n", "")


def test_it_stands_in_a_page_of_another_server_with_a_token_as_the_guide_says(
    pages: Pages, other_server: OtherServer, asks_for_tokens: str
) -> None:
    guide = (ROOT / "docs" / "frontend.md").read_text().partition("### A page on another server")[2]
    snippet = guide.partition("```html\n")[2].partition("```")[0]
    (other_server.folder / "assets").mkdir(exist_ok=True)
    shutil.copy(ROOT / "worker" / "web" / "static" / "llm-model-select.js", other_server.folder / "assets")
    (other_server.folder / "page.html").write_text(
        "<!doctype html><html lang=en><title>Of another server</title><link rel=icon href=data:,><script>"
        f"const tokenOfYourApplication = async () => '{token('authenticated')}'</script>"
        + snippet.replace("https://llm.example.com", asks_for_tokens)
    )
    page = pages.open(None)
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status) if "/api/llms" in response.url else None)
    page.goto(f"{other_server.origin}/page.html")
    expect(select(page)).to_be_enabled()
    assert page.evaluate("document.querySelector('llm-model-select').builtIn") is False
    assert len(options(page)) > 5
    assert 401 not in statuses


def test_the_guide_lists_each_capability() -> None:
    guide = (ROOT / "docs" / "frontend.md").read_text()
    assert [name for name in CAPABILITIES if f"| `{name}` |" not in guide] == []


def test_a_page_finds_nothing_that_the_page_before_left(profiles: Profiles, up: RunningUp) -> None:
    """The profiles of these tests are used again: what is stored in one must not reach the next test."""
    for _ in range(2):
        opened = Pages(profiles, up.url)
        page = opened.open("/docs")
        assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
        page.evaluate("localStorage.left = sessionStorage.left = 1; document.cookie = 'left=1; max-age=600'")
        opened.close()
