"""PostgreSQL or Redis away: what is still answered, and how the rest is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.folders import server_folder
from harness.processes import Process, free_port, local_variables, web
from harness.refreshing import catalogue_harness
from harness.waiting import wait_for
from migrations.run import upgrade
from worker.local.services import start_services


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("away")


@pytest.fixture
def homes() -> Iterator[tuple[Path, Path]]:
    """For the data of one server each."""
    with server_folder("away") as one, server_folder("away") as other:
        yield one, other


def test_without_postgresql_new_processes_serve_the_last_good_listing(folder: Path, homes: tuple[Path, Path]) -> None:
    redis = start_services(homes[0], postgres=False, valkey=True, durable=False, say=lambda _: None)
    postgres = start_services(homes[1], postgres=True, valkey=False, durable=False, say=lambda _: None)
    try:
        upgrade(postgres.migrate_database_url.replace("postgresql://", "postgresql+psycopg://", 1))
        with catalogue_harness(postgres.database_url, None) as catalogue:
            catalogue.seed()
            catalogue.refresh()
        variables = local_variables(postgres.database_url, redis.redis_url, WEB_CONCURRENCY="1")
        with web(variables, folder) as shim:
            wait_for(lambda: shim.get("/api/llms").json()["stale"] is False)
            tag = shim.get("/api/llms").headers["etag"]
            postgres.stop()
            wait_for(lambda: shim.get("/api/llms").json()["stale"])
            assert shim.get("/api/llms").json()["count"] == 5
            assert shim.get("/api/llms", headers={"If-None-Match": tag}).status_code == 200
            assert shim.get("/readyz").status_code == 503
            refused = shim.post("/api/llms/refresh")
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        with web(variables, folder) as late:
            wait_for(lambda: late.get("/api/llms").status_code == 200)
            assert late.get("/api/llms").json()["stale"] is True
            assert late.get("/api/llms").json()["count"] == 5
            redis.stop()
            assert late.get("/api/llms").status_code == 200
        with web(variables, folder) as blind:
            response = blind.get("/api/llms")
            assert (response.status_code, response.json()["code"]) == (503, "listing_unavailable")
    finally:
        postgres.stop()
        redis.stop()


def test_a_wrong_setting_is_one_line_and_exit_2_in_every_process(folder: Path) -> None:
    wrong = local_variables("postgresql://h/d", "redis://h", PORT=str(free_port()), REFRESH_CRON="never")
    for name, command in {
        "web": ("gunicorn", "-c", "python:worker.web.gunicorn_conf", "worker.web.wsgi:app"),
        "worker": ("celery", "-A", "worker.main", "worker"),
        "beat": ("celery", "-A", "worker.main", "beat"),
        "cli": ("llm-refresh", "verify"),
    }.items():
        with Process(command, wrong, folder / f"{name}.log") as process:
            assert process.wait() == 2, process.output
        assert process.output.strip().splitlines() == [process.output.strip()], name
        assert process.output.startswith("llm-refresh: REFRESH_CRON")
