"""Each alert provoked once for real: the system's processes, Debian's Prometheus, the alerts as they are deployed.

Only times are shortened (`for`, and the windows that tell which failure is the latest), so that minutes are seconds;
the queries stay what they are.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from harness import plain_http
from harness.chatting import System, chat_system
from harness.processes import BEAT
from harness.servers import Servers
from harness.waiting import wait_for
from tests.support.pooler import transaction_pooler
from tests.support.tools import ROOT, tool
from worker.local.binaries import find_valkey
from worker.local.ports import free_port

ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
NAMES = [rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]]


@dataclass
class Prometheus:
    """A running Prometheus that scrapes every second."""

    client: httpx.Client

    def firing(self) -> set[str]:
        alerts = self.client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def query(self, expression: str) -> list[Any]:
        answer = self.client.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        result: list[Any] = answer.json()["data"]["result"]
        return result


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Starts Prometheus against the metrics of this address."""
    program = tool("prometheus")
    started: list[Any] = []

    def start(url: str) -> Prometheus:
        quick = json.loads(json.dumps(ALERTS))
        for group in quick["groups"]:
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "2s"
                # Where the latest kind of failure is looked for, seconds count as well: it is scraped each second here.
                rule["expr"] = rule["expr"].replace("[3m]", "[5s]").replace("[26h:1m]", "[10m:1s]")
        (tmp_path / "alerts.yml").write_text(yaml.safe_dump(quick))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{"job_name": "web", "static_configs": [{"targets": [url.removeprefix("http://")]}]}],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={tmp_path}/prometheus.yml",
                    f"--storage.tsdb.path={tmp_path}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        client = plain_http.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        started.extend((process, client))
        running = Prometheus(client)
        wait_for(lambda: _scrapes(running), seconds=30)
        return running

    yield start
    for each in started:
        if isinstance(each, httpx.Client):
            each.close()
        else:
            each.terminate()
            each.wait(20)


def _scrapes(running: Prometheus) -> bool:
    try:
        ready = running.client.get("/-/ready").status_code == 200
        return ready and bool(running.query("llm_refresh_postgresql_up"))
    except httpx.TransportError:
        return False


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator["tuple[str, subprocess.Popen[bytes]]"]:
    """Valkey as Compose runs it, one that can be ended: its address and its process."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "valkey").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(find_valkey())
    port = free_port()
    (tmp_path / "redis_url").write_text(f"redis://:of-this-test@127.0.0.1:{port}/0")
    process = subprocess.Popen(
        ["/bin/sh", str(ROOT / "deploy/valkey/valkey.sh")],
        stdout=subprocess.DEVNULL,
        env={
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "REDIS_URL_FILE": str(tmp_path / "redis_url"),
            "VALKEY_DATA": str(tmp_path / "valkey"),
            "VALKEY_PORT": str(port),
            "VALKEY_BIND": "127.0.0.1",
        },
    )
    yield (tmp_path / "redis_url").read_text(), process
    process.kill()
    process.wait(10)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own where one can be mounted, small enough to be filled."""
    folder = tmp_path / "home"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def system(servers: Servers, valkey: Any, tmp_path: Path, home: Path) -> Iterator[tuple[System, ExitStack]]:
    """Web, workers and beat, behind a pooler that can be ended: PostgreSQL is gone then."""
    login, password = servers.services.database_url.split("://")[1].split("@")[0].split(":")
    with ExitStack() as poolers:
        port = poolers.enter_context(transaction_pooler(servers.services.superuser_url, {login: password}))
        grace = {"REFRESH_GRACE_SYNCS": "1", "REFRESH_GRACE_MIN_HOURS": "0", "LLM_REFRESH_HOME": str(home)}
        grace |= {"NOTIFY_WEBHOOK_URL": f"http://127.0.0.1:{free_port()}/", "NOTIFY_WEBHOOK_SECRET": "s" * 32}
        with chat_system(servers, tmp_path, start_web=False, REDIS_URL=valkey[0], **grace) as made:
            made.variables["DATABASE_URL"] = re.sub(r":\d+/", f":{port}/", made.variables["DATABASE_URL"])
            made.web = made.start_web()
            yield made, poolers


def refresh(system: System) -> str:
    status: str = system.web.post("/api/llms/refresh").json()["status"]
    return status


def ask(system: System, number: int, **body: Any) -> None:
    for _ in range(number):
        system.ask(headers={"Prefer": "wait=20"}, **body)


def dashboard() -> list[str]:
    panels = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())["panels"]
    return [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]


@pytest.mark.timeout(400)
def test_each_alert_fires_and_each_query_of_the_dashboard_has_figures(
    system: tuple[System, ExitStack],
    valkey: Any,
    home: Path,
    prometheus: Callable[[str], Prometheus],
    report: Callable[..., None],
) -> None:
    at, poolers = system
    refreshing = at.start_refresh_worker()
    beat = at.start(BEAT)
    chat = at.start_chat_worker()
    fired: dict[str, str] = {}
    watching = prometheus(at.web.url)

    def expect(alert: str, *, seconds: float = 60) -> None:
        began = time.monotonic()
        wait_for(lambda: alert in watching.firing(), seconds=seconds)
        fired[alert] = f"{time.monotonic() - began:.0f} s"

    assert refresh(at) == "succeeded"
    ask(at, 3)
    wait_for(lambda: watching.query('llm_refresh_chats_total{outcome="succeeded"} >= 3'))
    assert watching.firing() == set()

    names = set(NAMES)
    if os.path.ismount(home):
        (home / "rest").write_bytes(bytes(shutil.disk_usage(home).free - (4 << 20)))
        expect("LlmRefreshDiskFull")
        (home / "rest").unlink()
    else:
        names.remove("LlmRefreshDiskFull")

    # Callers ask for what is not there, then MatchaAI refuses.
    ask(at, 4, model="nobody-knows-it")
    expect("LlmRefreshChatFallbacks")
    at.gateway.behave(completions={"status": 400})
    ask(at, 4)
    expect("LlmRefreshChatFailures")
    at.gateway.behave()
    unanswered = [query for query in dashboard() if not watching.query(query)]
    # No row is inactive yet; a queued chat is still to come.
    assert unanswered == ['sum(max by (provider) (llm_refresh_models{state="inactive"}))']

    # MatchaAI is down, and nobody blames the queue for it.
    at.gateway.behave(completions={"status": 503})
    for _ in range(5):
        at.ask()
    expect("LlmRefreshUpstreamDown")
    wait_for(lambda: watching.query('llm_refresh_chats_waiting{reason="upstream"} == 5'), seconds=60)
    assert "LlmRefreshChatsQueued" not in watching.firing()
    at.gateway.behave()
    wait_for(lambda: "LlmRefreshUpstreamDown" not in watching.firing(), seconds=60)

    # The default goes, and another takes its place; then nearly everything goes, and is held.
    every = at.web.get("/api/llms").json()["models"]
    listed = [{"id": model["matcha_llm_id"], "name": model["model_name"]} for model in every]
    at.gateway.set_models([entry for entry in listed if entry["name"] != "Claude 3.7 Sonnet"])
    assert refresh(at) == "succeeded"
    expect("LlmRefreshDefaultPromoted")
    expect("LlmRefreshNoticesNotDelivered")
    at.gateway.set_models(listed[-2:])
    assert refresh(at) == "held"
    expect("LlmRefreshRunHeld")

    # The key is refused, twice; and the last good sync becomes 27 hours old.
    at.gateway.behave(llms={"status": 401})
    assert [refresh(at), refresh(at)] == ["failed", "failed"]
    expect("LlmRefreshFailing")
    expect("LlmRefreshGatewayKeyRefused")
    assert "LlmRefreshUpstreamDown" not in watching.firing()
    at.query("UPDATE llm_catalogue_version SET last_synced_at = now() - interval '27 hours'")
    expect("LlmRefreshCatalogueStale")

    # The chat worker goes while a chat waits.
    chat.stop()
    at.ask()
    expect("LlmRefreshWorkersMissing")
    expect("LlmRefreshChatsQueued", seconds=100)
    refreshing.stop()
    at.query("UPDATE llm_chats SET deadline_at = now() - interval '10 s' WHERE status = 'queued'")
    expect("LlmRefreshChatsPastDeadline")
    beat.stop()

    valkey[1].terminate()
    expect("LlmRefreshRedisDown")
    poolers.close()
    expect("LlmRefreshPostgresqlDown")
    at.web.process.stop()
    expect("LlmRefreshMetricsMissing")

    assert set(fired) == names
    report(**fired)
