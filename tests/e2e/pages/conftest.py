"""A real Chromium in front of the processes of the Procfile and the stand-in.

Where there is no browser these tests say so and are skipped; with CI=true that is a failure.
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from harness import plain_http
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.support.pages import MAX_CHARS, PATIENCE_MS, SECRET, Pages, Profiles, files_served, running_web
from tests.support.up import RunningUp, running_up
from worker.local.stand_in import default_models

# The first is Chromium without windows: a page takes a third less CPU.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # One process for all pages: starting one takes as long as a page.
    "--renderer-process-limit=1",
)
NPM_PACKAGES = ("axe-core@4.10.3", "react@18.3.1", "react-dom@18.3.1")
REFUSED = 400  # a completion that MatchaAI refuses like this is an answer, and says nothing against it


def cannot(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}, and CI=true")
    pytest.skip(f"{why}: these tests of the pages are skipped")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    match = next(filter(None, map(shutil.which, BROWSERS)), None)
    if match is None:
        cannot(f"there is no browser here (looked for {', '.join(BROWSERS)})")
    return match


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """Ended with this folder: while Playwright runs, no other test of this process can run an event loop of its own."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def npm_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """Reads a file of a package of the npm registry: `npm_file("axe-core", "axe.min.js")`."""
    npm = shutil.which("npm")
    if npm is None:
        cannot("there is no npm here")
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "pack", *NPM_PACKAGES, "--silent", "--pack-destination", str(folder)]
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, timeout=90, check=False).returncode != 0:
        cannot(f"npm cannot fetch {' '.join(NPM_PACKAGES)}")

    def read(package: str, path: str) -> str:
        (file,) = folder.glob(f"{package}-[0-9]*.tgz")
        with tarfile.open(file) as archive:
            match = archive.extractfile(f"package/{path}")
            assert match is not None
            return match.read().decode()

    return read


@pytest.fixture(scope="session")
def axe(npm_file: Callable[[str, str], str]) -> str:
    """The source of axe-core."""
    return npm_file("axe-core", "axe.min.js")


@pytest.fixture(scope="session")
def node() -> str:
    """Where Node.js is."""
    match = shutil.which("node")
    if match is None:
        cannot("there is no node here")
    return match


class Gateway(RunningStandIn):
    """The stand-in, which remembers whether it was told to fail: then the installation takes MatchaAI for down."""

    told_to_fail = False

    def behave(
        self,
        *,
        llms: Mapping[str, object] | None = None,
        completions: Mapping[str, object] | None = None,
        **others: Any,
    ) -> None:
        self.told_to_fail |= "status" in (llms or {}) or (completions or {}).get("status", REFUSED) != REFUSED
        super().behave(llms=llms, completions=completions, **others)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Gateway]:
    with Gateway(delay=0.3) as running:
        yield running


@pytest.fixture(scope="session")
def up(chromium: str, sandbox: RunningStandIn) -> Iterator[RunningUp]:
    """All processes, with the stand-in as their MatchaAI. A model that upstream drops is gone at once."""
    with running_up(**upstream(sandbox), REFRESH_GRACE_SYNCS="1", REFRESH_GRACE_MIN_HOURS="0") as running:
        yield running


def upstream(sandbox: RunningStandIn) -> dict[str, str]:
    return {
        "MATCHAAI_BASE_URL": sandbox.url,
        "MATCHAAI_API_KEY": sandbox.api_key,
        "MATCHAAI_MISSION_ID": "1",
    }


@pytest.fixture
def api(up: RunningUp) -> Iterator[httpx.Client]:
    with plain_http.Client(base_url=up.url, timeout=30) as client:
        yield client


@pytest.fixture
def gateway(sandbox: Gateway, api: httpx.Client) -> Iterator[RunningStandIn]:
    """The stand-in; after the test it answers well again, and the installation knows it."""
    sandbox.forget_calls()
    yield sandbox
    sandbox.behave()
    if sandbox.told_to_fail:
        refresh(sandbox, api)


@pytest.fixture
def catalogue(gateway: Gateway, api: httpx.Client) -> Iterator[RunningStandIn]:
    """The same, whose list of models may be changed; after the test its 27 models are the catalogue again."""
    yield gateway
    gateway.behave()
    gateway.set_models(default_models())
    refresh(gateway, api)


def refresh(gateway: Gateway, api: httpx.Client) -> None:
    """A good run, whatever it takes away; then MatchaAI answers as far as the installation knows."""
    refreshed = api.post("/api/llms/refresh", json={})
    if refreshed.status_code == httpx.codes.CONFLICT:
        refreshed = api.post("/api/llms/refresh", json={"force": refreshed.json()["held"]["sha256"]})
    assert refreshed.status_code == httpx.codes.OK, refreshed.text
    if gateway.told_to_fail:
        wait_for(lambda: api.get("/readyz").json()["parts"]["matchaai"]["state"] == "up")
        gateway.told_to_fail = False


@pytest.fixture(scope="package")
def profiles(browser: Browser) -> Profiles:
    return Profiles(browser)


@pytest.fixture
def pages(profiles: Profiles, up: RunningUp) -> Iterator[Pages]:
    opened = Pages(profiles, up.url)
    yield opened
    opened.close()
    assert opened.faults == []


@dataclass(frozen=True)
class OtherServer:
    """A server of somebody else's, and the folder of the files that it serves."""

    origin: str
    folder: Path


@pytest.fixture(scope="session")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherServer]:
    folder = tmp_path_factory.mktemp("other-server")
    with files_served(folder) as origin:
        yield OtherServer(origin, folder)


@pytest.fixture(scope="session")
def asks_for_tokens(up: RunningUp, other_server: OtherServer) -> Iterator[str]:
    """The address of a second web process over the same servers.

    It also lets pages of the other server in, and its questions hold few characters (MAX_CHARS).
    """
    own = {
        "JWT_SECRET": SECRET,
        "CORS_ORIGINS": f"https://app.example.com,{other_server.origin}",
        "CHAT_MAX_CHARS": str(MAX_CHARS),
    }
    with running_web(**(up.state | own)) as url:
        yield url


@pytest.fixture(scope="session")
def has_no_servers() -> Iterator[str]:
    """The address of a web process whose PostgreSQL and Redis are down."""
    nobody_listens = 1  # a reserved port: a free one may be taken by somebody else in the meantime
    with running_web(
        DATABASE_URL=f"postgresql://nobody@127.0.0.1:{nobody_listens}/nothing",
        REDIS_URL=f"redis://127.0.0.1:{nobody_listens}/0",
    ) as url:
        yield url
