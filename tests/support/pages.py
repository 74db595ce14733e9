"""What the tests of the pages need beside a browser: web processes of their own, tokens, pages that report faults."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.support.up import ROOT, own_environment, process
from tests.support.waiting import wait_for
from worker.local.ports import free_port

SECRET = "a secret of the tests, of 32 bytes or more"
PATIENCE_MS = 20_000
# `UPDATE_IMAGES=1` renews the pictures of the documentation; other runs leave theirs where git does not look.
IMAGES = ROOT / ("docs/images" if os.environ.get("UPDATE_IMAGES") else "test-results/images")


def token(role: str, subject: str = "somebody") -> str:
    """A token that a process with this SECRET takes."""
    return jwt.encode({"sub": subject, "role": role, "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")


@contextlib.contextmanager
def running_web(**variables: str) -> Iterator[str]:
    """The Procfile's `web` by itself, with these variables; its address."""
    port, home = free_port(), tempfile.mkdtemp(prefix="llm-refresh-web-")
    own = {"LLM_REFRESH_ENV": "local", "PORT": str(port), "LLM_REFRESH_HOME": home, "WEB_CONCURRENCY": "1"}
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    command = [gunicorn, "-c", "python:worker.web.gunicorn_conf", "worker.web.wsgi:app"]
    url = f"http://127.0.0.1:{port}"
    try:
        with process(command, own_environment(**(variables | own)), [], ready="Booting worker"):
            wait_for(lambda: answers(url))
            yield url
    finally:
        shutil.rmtree(home)


def answers(url: str) -> bool:
    """Whether a web process answers at this address."""
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


@dataclass
class Pages:
    """Opens pages, each in a profile of its own, and collects what goes wrong in them."""

    browser: Browser
    base_url: str
    faults: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self,
        path: str | None = "/",
        *,
        at: str | None = None,
        width: int = 1100,
        dark: bool = False,
        script: str = "",
    ) -> Page:
        """A page that shows `path`, or nothing yet; `script` runs before any of its own scripts."""
        context = self.browser.new_context(
            base_url=at or self.base_url,
            viewport={"width": width, "height": 740 if width < 500 else 900},
            color_scheme="dark" if dark else "light",
        )
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._heard)
        if path is not None:
            page.goto(path)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        # A refused request is the test's business; a violated policy or a script's complaint is a fault.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.faults.append(f"{message.type}: {message.text}")


def shoot(page: Page, name: str, *, full: bool = False) -> None:
    """A picture of the page, for the documentation."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png", full_page=full, animations="disabled", caret="hide")


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than its window: above 0 it scrolls sideways."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds wrong, in light and, of the colours, in dark; one line each: the rule and where."""
    page.evaluate(axe)
    found = []
    for scheme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for each in page.evaluate("async (options) => (await axe.run(options)).violations", options):
            found += [f"{scheme}, {each['id']}: {node['target']} {node['failureSummary']}" for node in each["nodes"]]
    return found
