"""Every command of docker-compose.yml, run as it stands on a machine without a container engine."""

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from harness import plain_http
from harness.servers import Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from shared.signing import verify
from tests.integration.deploy.conftest import Stack
from tests.support.receiver import Receiver
from tests.support.tools import tool
from worker.local.database_roles import APP, OWNER


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    token = stack.run("web", "llm-refresh", "token", "--sub", "t").stdout.strip()
    with plain_http.Client(
        base_url=f"http://127.0.0.1:{stack.variables['PORT']}",
        timeout=40,
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        yield client


def test_a_refresh_and_a_chat_come_through(stack: Stack, api: httpx.Client, gateway: RunningStandIn) -> None:
    refreshed = api.post("/api/llms/refresh")
    assert refreshed.status_code == 200, refreshed.text
    assert refreshed.json()["syncResults"]["added"] > 20
    chat = api.post("/api/chasen/chat", json={"question": "q", "model": "gpt-4o"}, headers={"Prefer": "wait=20"})
    assert chat.status_code == 200, chat.text
    assert chat.json()["status"] == "succeeded"
    assert gateway.calls()["completions"] == 1


def test_a_receiver_that_never_answers_holds_nothing_up(
    stack: Stack, api: httpx.Client, gateway: RunningStandIn, notice_receiver: Receiver
) -> None:
    notice_receiver.answers = [None]
    gateway.behave(llms={"status": 401})
    assert api.post("/api/llms/refresh").status_code == 502
    wait_for(lambda: notice_receiver.posts)
    gateway.behave()
    assert api.post("/api/llms/refresh").status_code == 200
    assert stack.is_healthy("worker")
    assert stack.is_healthy("chat")
    notice_receiver.released.set()
    wait_for(lambda: "recovered" in notice_receiver.kinds(), seconds=30)
    failed = next(post for post in notice_receiver.posts if post.notice["kind"] == "failed")
    assert verify(stack.secret("notify_webhook_secret"), failed.body, failed.headers, now=time.time())


def test_the_doctor_finds_nothing_wrong(stack: Stack, api: httpx.Client) -> None:
    api.post("/api/llms/refresh")
    began = time.monotonic()
    examined = stack.run("web", "llm-refresh", "doctor", "--live", "--json")
    assert time.monotonic() - began < 30
    report = json.loads(examined.stdout)
    assert [finding for finding in report["findings"] if finding["level"] != "good"] == []
    assert (examined.returncode, report["healthy"]) == (0, True)


def test_prometheus_is_let_in_by_its_token(stack: Stack, api: httpx.Client) -> None:
    token = stack.secret("metrics_token")
    figures = api.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    alive = dict(re.findall(r'^llm_refresh_workers_alive\{queue="(\w+)"\} (\S+)$', figures, re.MULTILINE))
    assert alive == {"refresh": "1.0", "chat": "1.0", "beat": "1.0"}


def test_flower_wants_its_password(stack: Stack) -> None:
    address = f"http://127.0.0.1:{stack.variables['FLOWER_PORT']}/workers"
    assert plain_http.get(address).status_code == 401
    auth = ("operator", stack.secret("flower_password"))
    assert plain_http.get(address, auth=auth).status_code == 200


def test_no_secret_stands_in_a_command_line_or_a_log(stack: Stack) -> None:
    secrets = [
        file.read_text()
        for file in (stack.folder / "secrets").iterdir()
        if file.stat().st_size and file.name != "matchaai_api_key"
    ]
    secrets = [re.sub(r".*:([^:@]+)@.*", r"\1", secret) for secret in secrets]
    for name, process in stack.started.items():
        command = Path(f"/proc/{process.pid}/cmdline").read_text()
        log_text = stack.log(name).read_text(errors="replace")
        assert not [secret for secret in secrets if secret in command or secret in log_text], name


def test_valkey_s_health_check_knows_the_password(stack: Stack) -> None:
    tool("valkey-cli", "redis-cli")
    assert stack.is_healthy("valkey")


def test_valkey_keeps_what_it_takes_and_wants_its_password(stack: Stack) -> None:
    url = stack.secret("redis_url")
    with redis.Redis.from_url(url) as client:
        config = {name: client.config_get(name)[name] for name in ("appendonly", "maxmemory-policy")}
    assert config == {"appendonly": "yes", "maxmemory-policy": "noeviction"}
    with redis.Redis.from_url(re.sub(r":[^:@]+@", ":wrong@", url)) as stranger, pytest.raises(redis.RedisError):
        stranger.ping()


def test_the_roles_are_those_of_local_mode(stack: Stack, servers: Servers) -> None:
    """What `make up` and the tests work with is what Compose deploys."""
    with psycopg.connect(servers.services.superuser_url) as admin:
        assert described(admin, "composed_app") == described(admin, APP)
        assert described(admin, "composed_owner") == described(admin, OWNER)


def described(admin: psycopg.Connection[Any], login: str) -> list[Any]:
    attributes = admin.execute(
        "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = %s",
        [login],
    ).fetchone()
    member = admin.execute(
        "SELECT roleid::regrole::text, admin_option, inherit_option, set_option FROM pg_auth_members"
        " WHERE member = %s::regrole AND grantor = 10 ORDER BY 1",
        [login],
    ).fetchall()
    return [attributes, member]


def test_migrate_may_be_run_again(stack: Stack) -> None:
    again = stack.run("migrate")
    assert again.returncode == 0, again.stderr
    assert "seed: nothing to add" in again.stdout


def test_a_missing_secret_ends_a_process_with_one_line(stack: Stack) -> None:
    file = stack.folder / "secrets" / "database_url"
    aside = file.with_suffix(".aside")
    shutil.move(file, aside)
    try:
        refused = stack.run("beat")
    finally:
        shutil.move(aside, file)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "DATABASE_URL_FILE: names no file" in refused.stderr


def test_flower_without_a_password_does_not_start(stack: Stack) -> None:
    file = stack.folder / "secrets" / "flower_password"
    kept = file.read_text()
    file.write_text("")
    try:
        refused = stack.run("flower")
    finally:
        file.write_text(kept)
    assert (refused.returncode, "FLOWER_PASSWORD is missing" in refused.stderr) == (2, True)


def test_stopped_as_compose_stops_them_they_end_in_their_grace_and_leave_nothing(stack: Stack) -> None:
    """The last one: it ends them all."""
    began = time.monotonic()
    for process in stack.started.values():
        process.send_signal(signal.SIGTERM)
    codes = {name: process.wait(40) for name, process in stack.started.items()}
    took = time.monotonic() - began
    assert codes == dict.fromkeys(codes, 0)
    graces = [int(stack.services[name]["stop_grace_period"].removesuffix("s")) for name in codes]
    assert took < min(graces)
    assert list((stack.folder / "root").iterdir()) == []
    assert list((stack.folder / "tmp").iterdir()) == []
