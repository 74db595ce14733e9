"""The doctor beside servers that are stopped, full or read-only, and disks that are full: real ones each."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from harness.processes import BIN, local_variables
from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database, Servers, running_servers
from migrations.run import upgrade
from shared.chat import places
from shared.clock import new_id
from shared.db import Database as Pool
from shared.db import DatabaseUnavailable
from shared.redis_store import RedisStore, connect
from shared.system_status import spill_to_disk
from tests.integration.doctor.conftest import Examine
from tests.integration.doctor.test_faults import execute, faults
from tests.support.commands import Commands, LoadedCommands
from tests.support.stopping import stopped, with_children
from worker.local.services import start_services

CHAT = """INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, deadline_at,
 created_at, status, error_code, finished_at, attempt) VALUES ('{id}', 's', 'x', 'q', 'gpt-4o', 'GPT-4o', 40,
 now() + interval '5 minutes', now() - interval '2 minutes', '{status}', {code}, {finished}, {attempt})"""


@dataclass(frozen=True)
class Own:
    """Servers that this test may stop: their processes, and the variables for a command."""

    postgresql: list[int]
    redis: list[int]
    variables: dict[str, str]


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    with running_servers() as servers, servers.database() as database:
        url = servers.redis_url()
        with psycopg.connect(database.superuser_url) as connection:
            row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        with redis.Redis.from_url(url) as client:
            redis_pid = client.info("server")["process_id"]
        cache = RedisStore(connect(url))
        for kind in ("refresh", "beat"):  # no chat worker: it withdraws while PostgreSQL is silent
            cache.announce(kind, kind, seconds=600)
        assert row is not None
        yield Own([int(row[0].split()[0])], [redis_pid], local_variables(database.url, url))


Doctor = Callable[[dict[str, str]], tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def doctor(tmp_path: Path, loaded: LoadedCommands) -> Doctor:
    """`llm-refresh doctor --json` as a process of its own: its exit code and its findings, the worst of each name."""

    def run(variables: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
        variables = {"LLM_REFRESH_HOME": str(tmp_path / "home"), **variables}
        began = time.monotonic()
        done = Commands(variables, tmp_path, loaded)("doctor", "--json")
        assert time.monotonic() - began < 30
        report = json.loads(done.stdout)
        order = {"good": 0, "warning": 1, "fault": 2}
        findings = sorted(report["findings"], key=lambda each: order[each["level"]])
        assert report["healthy"] == (done.returncode == 0)
        assert all(each["advice"] and each["runbook"] for each in findings if each["level"] != "good")
        return done.returncode, {each["name"]: each for each in findings}

    return run


def levels(findings: dict[str, dict[str, Any]], level: str) -> set[str]:
    return {name for name, finding in findings.items() if finding["level"] == level}


def test_a_stopped_postgresql_is_named_in_time_and_nothing_else_is_blamed(own: Own, doctor: Doctor) -> None:
    with stopped([pid for each in own.postgresql for pid in with_children(each)]):
        code, findings = doctor(own.variables)
    assert (code, levels(findings, "fault")) == (1, {"database"})
    assert "while PostgreSQL is away" in findings["chat worker"]["detail"]
    assert findings["refresh worker"]["level"] == "good"


def test_a_stopped_redis_is_named_in_time_and_nothing_else_is_blamed(own: Own, doctor: Doctor) -> None:
    with stopped(own.redis):
        code, findings = doctor(own.variables)
    assert code == 1
    assert levels(findings, "fault") - {"catalogue"} == {"redis"}  # nothing is seeded here
    assert findings["chats"]["level"] == "good"
    assert not {"refresh worker", "chat worker", "beat"} & set(findings)


def test_both_stopped_end_in_time_too(own: Own, doctor: Doctor) -> None:
    with stopped([*own.redis, *(pid for each in own.postgresql for pid in with_children(each))]):
        code, findings = doctor(own.variables)
    assert (code, levels(findings, "fault")) == (1, {"database", "redis"})


def test_a_full_redis_is_named_and_workers_that_cannot_say_so_are_not_called_dead(
    healthy: CatalogueHarness, redis_url: str, examined: Examine
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()  # as after a minute in which nobody could write a sign of life
        try:
            client.config_set("maxmemory", "1")
            findings = examined()
            client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
            nearly = examined()
        finally:
            client.config_set("maxmemory", "0")
    assert set(faults(findings)) == {"redis memory"}
    assert "its memory is full" in faults(findings)["redis memory"]
    assert "Redis takes no writes" in findings["chat worker"].detail
    assert nearly["redis memory"].level == "warning"
    assert "nearly full" in nearly["redis memory"].detail


def test_a_redis_that_is_a_replica_is_named(healthy: CatalogueHarness, redis_url: str, examined: Examine) -> None:
    with redis.Redis.from_url(redis_url) as client:
        try:
            client.execute_command("REPLICAOF", "127.0.0.1", "9")
            problems = faults(examined())
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    assert set(problems) == {"redis writes"}
    assert "it is a replica" in problems["redis writes"]


def test_a_postgresql_that_takes_no_writes_is_named(
    healthy: CatalogueHarness, database: Database, examined: Examine
) -> None:
    execute(database.superuser_url, f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    assert set(faults(examined())) == {"database writes"}


def insert(healthy: CatalogueHarness, status: str, *, code: str | None = None) -> None:
    ended = status not in ("queued", "running")
    healthy.run(
        CHAT.format(
            id=new_id(),
            status=status,
            code=f"'{code}'" if code else "NULL",
            finished="now()" if ended else "NULL",
            attempt=int(status == "running"),
        )
    )


def test_failures_of_chats_are_counted_by_code(healthy: CatalogueHarness, examined: Examine) -> None:
    for code in ("unauthorised", "unauthorised", "timeout"):
        insert(healthy, "failed", code=code)
    insert(healthy, "expired", code="expired")
    insert(healthy, "cancelled", code="cancelled")
    finding = examined()["chat failures"]
    assert finding.level == "fault"
    assert "4 of 4 chats failed or expired in the last hour: 2 unauthorised, 1 expired, 1 timeout" in finding.detail


def announce_places(healthy: CatalogueHarness, number: int) -> None:
    with healthy.database.transaction() as connection:
        places.announce(connection, new_id(), "chat@test", number, lease_seconds=600)


def test_chats_that_wait_for_a_place_are_told_so(healthy: CatalogueHarness, examined: Examine) -> None:
    announce_places(healthy, 1)
    insert(healthy, "running")
    insert(healthy, "queued")
    healthy.run("UPDATE llm_chats SET dispatched_at = now() - interval '2 minutes' WHERE status = 'running'")
    line = examined()["chats"]
    assert line.level == "warning"
    assert line.detail.startswith("1 chat waits its turn behind 1 places; the oldest has waited for 1")


def test_a_chat_that_nobody_dispatches_though_places_are_free_is_a_fault(
    healthy: CatalogueHarness, examined: Examine
) -> None:
    announce_places(healthy, 2)
    insert(healthy, "running")
    insert(healthy, "queued")
    healthy.run(
        "UPDATE llm_chats SET subject = 'other', dispatched_at = now() - interval '2 minutes' WHERE status = 'running'"
    )
    assert "1 chat waiting for more than a minute" in faults(examined())["chats"]
    healthy.run("UPDATE llm_chats SET subject = (SELECT subject FROM llm_chats WHERE status = 'queued')")
    assert examined()["chats"].level == "warning", "its caller has a place, and may have no more of them"


def test_a_dispatched_chat_that_nobody_claims_is_a_fault(healthy: CatalogueHarness, examined: Examine) -> None:
    announce_places(healthy, 1)
    insert(healthy, "queued")
    healthy.run("UPDATE llm_chats SET dispatched_at = now()")
    assert examined()["chats"].level == "good"
    healthy.run("UPDATE llm_chats SET dispatched_at = now() - interval '2 minutes'")
    assert "1 chat waiting for more than a minute" in faults(examined())["chats"]


def test_a_variable_that_looks_like_ours_is_a_warning_and_exits_with_0(
    healthy: CatalogueHarness, database: Database, redis_url: str, doctor: Doctor
) -> None:
    code, findings = doctor(local_variables(database.url, redis_url, CHAT_CONCURENCY="10"))
    assert (code, levels(findings, "fault")) == (0, set())
    assert findings["settings"]["level"] == "warning"
    assert "CHAT_CONCURRENCY" in findings["settings"]["detail"]
    assert findings["settings"]["runbook"] == "docs/runbook.md#settings"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
@pytest.mark.parametrize("place", ["LLM_REFRESH_HOME", "TMPDIR"])
def test_a_full_disk_is_named(
    healthy: CatalogueHarness, database: Database, redis_url: str, tmp_path: Path, place: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=32m tmpfs {disk}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("a disk of its own cannot be mounted here")
    # The disk is seen by this shell and by what it becomes.
    script = f"{mount} && (cat /dev/zero > {disk}/rest; exec {BIN}/llm-refresh doctor)"
    base_environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables = local_variables(database.url, redis_url, LLM_REFRESH_HOME=str(tmp_path / "home"))
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=base_environ | variables | {place: str(disk)},
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    what = "home" if place == "LLM_REFRESH_HOME" else "temporary folder"
    assert f"✗ disk: {what} {disk}" in ended.stdout
    assert ": full: 0 MB of 32 MB are free" in ended.stdout
    assert "docs/runbook.md#disk-full" in ended.stdout
    assert "faults: 1," in ended.stdout


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of its own that can be filled."""
    folder = Path(tempfile.mkdtemp(prefix="llm-refresh-disk-"))
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300m,mode=0755", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    ):
        folder.rmdir()
        pytest.skip("a disk of its own cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def fill(disk: Path) -> None:
    with (disk / "rest").open("wb") as rest, pytest.raises(OSError, match="No space"):
        while True:
            rest.write(bytes(1 << 20))


def test_a_postgresql_with_a_full_disk_is_named_as_that(small_disk: Path, redis_url: str, examined: Examine) -> None:
    services = start_services(small_disk, postgres=True, valkey=False, durable=False, say=lambda _: None)
    try:
        with closing(Servers(services, upgrade)) as full, full.database() as database:
            for file in small_disk.rglob("pg_internal.init"):
                file.unlink()  # the next connection writes it
            fill(small_disk)
            refused = faults(examined(database_url=database.url))  # it cannot even write what a connection needs
            pool = Pool(database.url, application_name="test", pool_size=1)
            with pytest.raises(DatabaseUnavailable, match="disk is full"):
                pool.check()
            (small_disk / "rest").unlink()
            with catalogue_harness(database.url, None) as made:
                made.seed()
                made.refresh()
            pool.check()
            assert set(faults(examined(database_url=database.url))) == {"refresh worker", "chat worker"}
            fill(small_disk)
            unwritten = faults(examined(database_url=database.url))
            with pytest.raises(DatabaseUnavailable, match="disk is full"), pool.transaction(None) as connection:
                spill_to_disk(connection)
            (small_disk / "rest").unlink()
            pool.dispose()
    finally:
        services.stop()
    for problems in (refused, unwritten):
        assert set(problems) - {"refresh worker", "chat worker"} == {"disk"}
        assert "PostgreSQL's disk is full" in problems["disk"]
