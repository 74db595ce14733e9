"""Old processes on the new schema, and new ones on the old, as they meet during an upgrade and after a rollback.

The release before is taken from the history: `tests/previous_release` names its commit. A release changes that file.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from harness.processes import BIN, REFRESH, ROOT, Process, Web, local_variables, web, worker
from harness.servers import Database, Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.support.commands import Commands, LoadedCommands

CHAT = (
    "celery",
    "-A",
    "worker.main",
    "worker",
    "--hostname",
    "chat@%h",
    "-Q",
    "chat",
    "-P",
    "threads",
    "-c",
    "20",
    "--without-gossip",
    "--without-mingle",
    "--prefetch-multiplier=1",
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the release before."""
    commit = (ROOT / "tests" / "previous_release").read_text().strip()
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", commit], capture_output=True, check=False
    )
    if packed.returncode != 0:
        pytest.skip(f"the history with {commit[:10]} is not here: {packed.stderr.decode(errors='replace').strip()}")
    folder = tmp_path_factory.mktemp("previous-release")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    # Once, and not by each of the processes that start together.
    subprocess.run([sys.executable, "-m", "compileall", "-q", "worker", "shared", "migrations"], cwd=folder, check=True)
    return folder


@pytest.fixture
def database(servers: Servers) -> Iterator[Database]:
    with servers.empty_database() as empty:
        yield empty


@pytest.fixture
def variables(database: Database, servers: Servers, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of both releases."""
    with RunningStandIn() as gateway:
        yield local_variables(
            database.url,
            servers.redis_url(),
            MIGRATE_DATABASE_URL=database.owner_url,
            LLM_REFRESH_HOME=str(tmp_path),
            MATCHAAI_BASE_URL=gateway.url,
            MATCHAAI_API_KEY=gateway.api_key,
            MATCHAAI_MISSION_ID="7",
            WEB_CONCURRENCY="1",
        )


@pytest.fixture
def command(variables: dict[str, str], tmp_path: Path, loaded: LoadedCommands) -> Commands:
    """The commands of this release."""
    return Commands(variables, tmp_path, loaded)


def of(release: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The same, for processes of another tree: its modules come before the installed ones."""
    return {**variables, "PYTHONPATH": str(release)}


def old_command(*words: str, release: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [str(BIN / "llm-refresh"), *words],
        env={**kept, **of(release, variables)},
        cwd=release,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def wait_until_ready(running: Web, *workers: Process) -> None:
    """Asked from the beginning, web would have to share the processor with the workers."""
    wait_for(lambda: all(" ready." in each.output for each in workers), seconds=60)
    wait_for(lambda: {"refresh", "chat"} <= set(running.workers()), seconds=60)


def ask(running: Web) -> dict[str, Any]:
    answer = running.post("/api/chasen/chat", json={"question": "Which?"}, headers={"Prefer": "wait=20"})
    assert answer.status_code in (200, 202), answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_the_release_before_goes_on_working_on_the_new_schema(
    before: Path, variables: dict[str, str], command: Commands, tmp_path: Path
) -> None:
    old = of(before, variables)
    assert "at revision 0005" in old_command("migrate", release=before, variables=variables).stdout
    with (
        web(old, tmp_path, cwd=before) as running,
        worker(old, tmp_path, REFRESH, cwd=before) as refreshing,
        worker(old, tmp_path, CHAT, cwd=before) as chatting,
    ):
        wait_until_ready(running, refreshing, chatting)
        upgraded = command("migrate")
        assert upgraded.returncode == 0, upgraded.stderr
        readiness = running.get("/readyz")
        assert (readiness.status_code, readiness.json()["parts"]["migrations"]["head"]) == (200, "0005")
        assert running.post("/api/llms/refresh").json()["status"] == "succeeded"
        assert ask(running)["status"] == "succeeded"
        with web(variables, tmp_path) as new:
            assert new.get("/readyz").status_code == 200
            assert ask(new)["status"] == "succeeded"  # accepted by the new web, answered by the old worker
        again = old_command("migrate", release=before, variables=variables)
        assert again.returncode == 0, again.stderr
        assert (refreshing.exit_code, chatting.exit_code) == (None, None)


def test_this_release_waits_on_the_previous_schema_and_resumes_after_migrate(
    before: Path, variables: dict[str, str], command: Commands, tmp_path: Path, database: Database
) -> None:
    assert old_command("migrate", release=before, variables=variables).returncode == 0
    with (
        web(variables, tmp_path) as running,
        worker(variables, tmp_path, REFRESH) as refreshing,
        worker(variables, tmp_path, CHAT) as chatting,
    ):
        wait_until_ready(running, refreshing, chatting)
        readiness = running.get("/readyz")
        assert (readiness.status_code, readiness.json()["parts"]["migrations"]["current"]) == (503, "0005")
        assert "run `llm-refresh migrate`" in readiness.text
        for answer in (
            running.get("/api/llms"),
            running.get("/api/llms/runs"),
            running.get("/api/llms/usage"),
            running.post("/api/llms/refresh"),
            running.post("/api/chasen/chat", json={"question": "Which?"}),
            running.get("/api/chats"),
            running.get("/metrics"),
            running.get("/healthz"),
            running.get("/ops"),
        ):
            assert answer.status_code in (200, 202, 503), answer.text
        upgraded = command("migrate")
        assert upgraded.returncode == 0, upgraded.stderr
        assert running.get("/readyz").status_code == 200
        assert running.post("/api/llms/refresh").json()["status"] == "succeeded"
        assert ask(running)["status"] == "succeeded"
        assert (refreshing.exit_code, chatting.exit_code) == (None, None)
        with psycopg.connect(database.superuser_url) as connection:
            assert connection.execute("SELECT count(*) FROM llm_chats WHERE status = 'failed'").fetchone() == (0,)
