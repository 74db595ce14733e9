"""What the tests of the pages need beside a browser: web processes of their own, tokens, pages that report faults."""

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from harness import plain_http
from harness.folders import server_folder
from harness.waiting import wait_for
from tests.support.up import ROOT, own_environment, process
from worker.local.ports import free_port

SECRET = "a secret of the tests, of 32 bytes or more"
MAX_CHARS = 600
PATIENCE_MS = 20_000
# `UPDATE_IMAGES=1` renews the pictures of the documentation; other runs leave theirs where git does not look.
IMAGES = ROOT / ("docs/images" if os.environ.get("UPDATE_IMAGES") else "test-results/images")

# Of elements that are made alike only those stay that hold the first of a kind: another path of elements, their classes
# and whether they can be used. What nobody sees is of no kind.
ONE_OF_EACH_KIND = """() => {
  const alike = 'article, li, tr';
  const path = (node) =>
    node && `${path(node.parentElement)} ${node.localName}.${node.className}${node.matches(':disabled') ? '!' : ''}`;
  const kinds = new Set(), staying = new Set();
  for (const node of document.querySelectorAll('*')) {
    const kind = path(node);
    if (kinds.has(kind) || !node.checkVisibility()) continue;
    kinds.add(kind);
    for (let each = node.closest(alike); each; each = each.parentElement.closest(alike)) staying.add(each);
  }
  for (const each of document.querySelectorAll(alike)) each.hidden ||= !staying.has(each);
}"""


def token(role: str, subject: str = "somebody") -> str:
    """A token that a process with this SECRET takes."""
    return jwt.encode({"sub": subject, "role": role, "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")


@contextlib.contextmanager
def running_web(**variables: str) -> Iterator[str]:
    """The Procfile's `web` by itself, with these variables; its address."""
    port = free_port()
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    command = [gunicorn, "-c", "python:worker.web.gunicorn_conf", "worker.web.wsgi:app"]
    url = f"http://127.0.0.1:{port}"
    with server_folder("web") as home:
        own = {"LLM_REFRESH_ENV": "local", "PORT": str(port), "LLM_REFRESH_HOME": str(home), "WEB_CONCURRENCY": "1"}
        with process(command, own_environment(**(variables | own)), [], ready="Booting worker"):
            wait_for(lambda: answers(url))
            yield url


def answers(url: str) -> bool:
    """Whether a web process answers at this address."""
    try:
        return plain_http.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def files_served(folder: Path) -> Iterator[str]:
    """The origin of a server of somebody else's: it serves these files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Profile:
    """A context of the browser for one page at a time; afterwards everything that pages left in it can be taken out."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        context.set_default_timeout(PATIENCE_MS)
        # It holds the window: the next page is a tab of it, and a new window takes half a second of CPU.
        self._devtools = context.new_cdp_session(context.new_page())
        self._pages: list[Page] = []
        self._origins: set[str] = set()
        context.on("page", self._opened)

    def new_page(self) -> Page:
        return self.context.new_page()

    def empty(self) -> None:
        """As it was when it was made: no page, no cookie, nothing stored or cached, and on line."""
        for page in self._pages:
            page.close()
        self._pages.clear()
        self.context.set_offline(False)
        self._devtools.send("Network.clearBrowserCache")
        for origin in self._origins:
            self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        self._origins.clear()

    def _opened(self, page: Page) -> None:
        self._pages.append(page)
        page.on("framenavigated", lambda frame: self._origins.add("/".join(frame.url.split("/")[:3])))


class Profiles:
    """The profiles of one browser that nobody uses now."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: dict[str, list[Profile]] = {}

    def take(self, **options: Any) -> Profile:
        """An empty profile with these options of a context."""
        idle = self._idle.setdefault(repr(options), [])
        return idle.pop() if idle else Profile(self._browser.new_context(**options))

    def give_back(self, profile: Profile, **options: Any) -> None:
        """Empty it, for the next who takes one with the same options."""
        profile.empty()
        self._idle[repr(options)].append(profile)


@dataclass
class Pages:
    """Opens pages, each in a profile of its own, and collects what goes wrong in them."""

    profiles: Profiles
    base_url: str
    faults: list[str] = field(default_factory=list)
    _taken: list[tuple[Profile, dict[str, str], bool]] = field(default_factory=list)

    def open(
        self,
        path: str | None = "/",
        *,
        at: str | None = None,
        width: int = 1100,
        dark: bool = False,
        script: str = "",
        own_clock: bool = False,
    ) -> Page:
        """A page that shows `path`, or nothing yet; `script` runs before any of its own scripts.

        `own_clock`: the test sets `page.clock`, which a profile keeps to its end, so no other page gets this one.
        """
        profile = self.profiles.take(base_url=at or self.base_url)
        self._taken.append((profile, {"base_url": at or self.base_url}, own_clock))
        page = profile.new_page()
        page.set_viewport_size({"width": width, "height": 740 if width < 500 else 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        if script:
            page.add_init_script(script)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._heard)
        if path is not None:
            page.goto(path)
        return page

    def close(self) -> None:
        for profile, options, own_clock in self._taken:
            if own_clock:
                profile.context.close()
            else:
                self.profiles.give_back(profile, **options)

    def _heard(self, message: ConsoleMessage) -> None:
        # A refused request is the test's business; a violated policy or a script's complaint is a fault.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.faults.append(f"{message.type}: {message.text}")


def ask(page: Page, question: str, model: str | None = None) -> None:
    """Ask on the page `/`, when its models are there."""
    expect(page.locator("llm-model-select select")).to_be_enabled()
    if model is not None:
        page.locator("llm-model-select select").select_option(model)
    page.locator("textarea").first.fill(question)
    page.get_by_role("button", name="Send").click()


def state(page: Page, says: str) -> None:
    """Wait until the page `/` says this of the question under way."""
    expect(page.locator("#state")).to_have_text(says)


def answer(page: Page) -> str:
    """The text of the last answer of the page `/`, when it is there."""
    shown = page.locator(".turn").last.locator(".answer")
    expect(shown).to_be_visible(timeout=20_000)
    return shown.inner_text()


def shoot(page: Page, name: str, *, full: bool = False) -> None:
    """A picture of the page, for the documentation."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png", full_page=full, animations="disabled", caret="hide")


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than its window: above 0 it scrolls sideways."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds wrong, in light and, of the colours, in dark; one line each: the rule and where.

    Colours, which take longest, are looked at in the first of each kind of text.
    """
    page.evaluate(axe)
    problems = []
    for scheme, options in (
        ("light", {"rules": {"color-contrast": {"enabled": False}}}),
        ("light", {"runOnly": ["color-contrast"]}),
        ("dark", {"runOnly": ["color-contrast"]}),
    ):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        if "runOnly" in options:
            page.evaluate(ONE_OF_EACH_KIND)
        # Without details of what is good, which of a long page take as long as the checks themselves.
        shown = {**options, "resultTypes": ["violations"]}
        for each in page.evaluate("async (options) => (await axe.run(options)).violations", shown):
            problems += [f"{scheme}, {each['id']}: {node['target']} {node['failureSummary']}" for node in each["nodes"]]
    return problems
