"""`/metrics` of real web processes."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from harness.processes import Web, local_variables, web
from harness.servers import Servers
from harness.waiting import wait_for
from tests.support.hung_disk import hung_disk

SECRET, TOKEN = "a-secret-of-the-tests-of-metrics-123", "token-of-the-scraper"


@pytest.fixture(scope="module")
def shim(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Two web processes with auth on."""
    folder = tmp_path_factory.mktemp("metrics")
    with servers.database() as database:
        variables = local_variables(
            database.url, servers.redis_url(), JWT_SECRET=SECRET, METRICS_TOKEN=TOKEN, LLM_REFRESH_HOME=str(folder)
        )
        with web(variables, folder) as running:
            yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def of_role(role: str) -> dict[str, str]:
    return bearer(jwt.encode({"sub": "t", "role": role, "exp": time.time() + 60}, SECRET, algorithm="HS256"))


def scrape(shim: Web) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = shim.get("/metrics", headers={**bearer(TOKEN), "Connection": "close"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def requests_of(shim: Web, route: str) -> float:
    name = "llm_refresh_http_request_seconds_count"
    return sum(
        value for (sample, labels), value in scrape(shim).items() if sample == name and ("route", route) in labels
    )


def test_the_scraper_s_token_and_service_role_may_read_and_nobody_else(shim: Web) -> None:
    assert shim.get("/metrics", headers=bearer(TOKEN)).status_code == 200
    assert shim.get("/metrics", headers=of_role("service_role")).status_code == 200
    assert shim.get("/metrics", headers=of_role("authenticated")).status_code == 403
    assert shim.get("/metrics", headers=bearer(TOKEN + "x")).status_code == 401
    refused = shim.get("/metrics")
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert shim.get("/api/llms", headers=bearer(TOKEN)).status_code == 401  # it opens nothing else


def test_every_name_of_the_contract_is_there(shim: Web) -> None:
    shim.get("/healthz")
    names = {name for name, _ in scrape(shim)}
    for name in (
        "sync_runs_total",
        "catalogue_age_seconds",
        "models",
        "model_changes_total",
        "chat_fallbacks_total",
        "chats_open",
        "chat_oldest_queued_seconds",
        "chat_places",
        "dispatch_turns_failed_total",
        "upstream_seconds_bucket",
        "http_request_seconds_bucket",
        "workers_alive",
        "upstream_up",
        "upstream_key_refused",
        "upstream_failures_total",
        "chats_waiting",
        "chats_past_deadline",
        "disk_free_bytes",
        "disk_size_bytes",
    ):
        # A total by model has no sample before the first chat, and no model before the first refresh.
        assert name == "models" or f"llm_refresh_{name}" in names


def test_requests_of_all_web_processes_are_added_up_and_survive_the_end_of_one(shim: Web) -> None:
    before = requests_of(shim, "/healthz")
    for _ in range(30):
        shim.get("/healthz", headers={"Connection": "close"})
    assert {requests_of(shim, "/healthz") - before for _ in range(6)} == {30}
    children = Path(f"/proc/{shim.process.pid}/task/{shim.process.pid}/children").read_text().split()
    assert len(children) == 2
    os.kill(int(children[0]), signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{children[0]}").exists())
    wait_for(shim.answers)
    assert requests_of(shim, "/healthz") - before >= 30


def test_labels_are_as_many_whatever_is_asked_for(shim: Web) -> None:
    scrape(shim)
    before = {key for key in scrape(shim) if "http_request" in key[0]}
    for number in range(20):
        shim.get(f"/nowhere/{number}")
        shim.get(f"/api/llms/runs/{number}", headers=of_role("service_role"))
        shim.client.request(f"METHOD{number}", "/healthz")
    routes = {dict(labels).get("route") for name, labels in scrape(shim) if "http_request" in name}
    assert {"unmatched", "/api/llms/runs/{run_id}"} <= routes
    assert not [route for route in routes if route and "/nowhere" in route]
    grown = {key for key in scrape(shim) if "http_request" in key[0]} - before
    assert len({(dict(labels)["route"], dict(labels)["method"], dict(labels)["status"]) for _, labels in grown}) <= 4


def test_without_its_servers_it_still_answers_and_says_so(tmp_path: Path) -> None:
    variables = local_variables(
        "postgresql://a:b@127.0.0.1:9/c", "redis://127.0.0.1:9/0", METRICS_TOKEN=TOKEN, LLM_REFRESH_HOME=str(tmp_path)
    )
    with web(variables, tmp_path) as alone:
        metrics = scrape(alone)
        assert metrics["llm_refresh_postgresql_up", frozenset()] == 0
        assert metrics["llm_refresh_redis_up", frozenset()] == 0
        assert requests_of(alone, "/healthz") > 0
    assert not list(tmp_path.glob("web-metrics*"))  # the master has taken its folder away


def test_a_redis_that_takes_no_writes_is_told_and_no_worker_is_called_missing(shim: Web, servers: Servers) -> None:
    with redis.Redis.from_url(servers.redis_url()) as client:
        client.config_set("maxmemory", "1")
        try:
            metrics = scrape(shim)
            part = shim.get("/readyz").json()["parts"]["redis"]
        finally:
            client.config_set("maxmemory", "0")
    assert metrics["llm_refresh_redis_up", frozenset()] == 0
    assert not [name for name, _ in metrics if name == "llm_refresh_workers_alive"]
    assert part == {"ok": False, "detail": "takes no writes: its memory is full"}
    assert scrape(shim)["llm_refresh_redis_up", frozenset()] == 1


def test_a_disk_that_hangs_holds_up_neither_a_scrape_nor_the_process(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    variables = local_variables(
        "postgresql://a:b@127.0.0.1:9/c",
        "redis://127.0.0.1:9/0",
        METRICS_TOKEN=TOKEN,
        LLM_REFRESH_HOME=str(tmp_path / "home"),
        TMPDIR=str(temporary),
        WEB_CONCURRENCY="1",
    )
    free = ("llm_refresh_disk_free_bytes", frozenset({("folder", "tmp")}))
    with web(variables, tmp_path) as alone:
        assert free in scrape(alone)
        try:
            with hung_disk(temporary):
                for _ in range(3):
                    figures = scrape(alone)
                    assert free not in figures
                    assert figures["llm_refresh_postgresql_up", frozenset()] == 0
                assert alone.get("/healthz").status_code == 200
        except OSError as error:
            pytest.skip(f"a hung disk cannot be mounted here: {error}")
        wait_for(lambda: free in scrape(alone))
