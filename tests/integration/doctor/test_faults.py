"""The doctor names each fault that is made here on real servers, and finds none on a healthy system."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from harness.processes import ROOT, local_variables, worker
from harness.refreshing import CatalogueHarness
from harness.servers import Database, Servers
from harness.waiting import wait_for
from migrations.schema import head
from shared.clock import new_id
from shared.redis_rights import ADVICE
from tests.integration.doctor.conftest import Examine


def faults(findings: Any) -> dict[str, str]:
    return {finding.name: finding.detail for finding in findings.values() if finding.level == "fault"}


def warnings(findings: Any) -> dict[str, str]:
    return {finding.name: finding.detail for finding in findings.values() if finding.level == "warning"}


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def change(healthy: CatalogueHarness, statement: str) -> None:
    assert healthy.run(statement)


def test_a_healthy_system_has_neither_fault_nor_warning(healthy: CatalogueHarness, examined: Examine) -> None:
    findings = examined()
    assert faults(findings) == {}
    assert set(warnings(findings)) == {"persistence"}  # which is right: the Redis of these tests keeps nothing
    assert set(findings) == {
        "database",
        "clock",
        "login",
        "migrations",
        "upstream",
        "catalogue",
        "last sync",
        "runs",
        "chats",
        "chat failures",
        "redis",
        "redis memory",
        "eviction",
        "persistence",
        "refresh worker",
        "chat worker",
        "beat",
    }


def test_1_postgresql_cannot_be_reached(examined: Examine) -> None:
    problems = faults(examined(database_url="postgresql://app:secret@127.0.0.1:9/llm"))
    assert "Connection refused" in problems["database"]
    assert "secret" not in problems["database"]


def test_2_the_password_is_wrong(database: Database, examined: Examine) -> None:
    problems = faults(examined(database_url=database.url.replace("llm_refresh_app:", "llm_refresh_app:x", 1)))
    assert "password authentication failed" in problems["database"]


def test_3_nothing_is_migrated(servers: Servers, examined: Examine) -> None:
    with servers.empty_database() as empty:
        assert f"needs {head()}" in faults(examined(database_url=empty.url))["migrations"]


def test_4_the_database_is_behind(healthy: CatalogueHarness, database: Database, examined: Examine) -> None:
    execute(database.owner_url, "UPDATE llm_refresh_version SET version_num = '0001'")
    assert "is at 0001" in faults(examined())["migrations"]


def test_a_newer_database_is_no_fault_while_an_upgrade_runs(
    healthy: CatalogueHarness, database: Database, examined: Examine
) -> None:
    execute(database.owner_url, "UPDATE llm_refresh_version SET version_num = '9999'")
    findings = examined()
    assert faults(findings) == {}
    assert "newer than this version" in warnings(findings)["migrations"]


def test_a_newer_database_that_needs_newer_code_is_a_fault(
    healthy: CatalogueHarness, database: Database, examined: Examine
) -> None:
    execute(database.owner_url, "UPDATE llm_refresh_version SET version_num = '9999', oldest_code = '9998'")
    assert "needs code of revision 9998 or newer" in faults(examined())["migrations"]


def test_5_the_login_is_a_superuser(healthy: CatalogueHarness, database: Database, examined: Examine) -> None:
    assert "is a superuser" in faults(examined(database_url=database.superuser_url))["login"]


def test_6_the_login_owns_the_tables(healthy: CatalogueHarness, database: Database, examined: Examine) -> None:
    assert "owns tables (llm_" in faults(examined(database_url=database.owner_url))["login"]


@pytest.fixture
def stranger(servers: Servers, database: Database) -> Iterator[str]:
    """The address of a login that may connect and nothing else."""
    admin = database.superuser_url
    execute(
        admin,
        "CREATE ROLE stranger LOGIN NOINHERIT PASSWORD 'x'",
        f"GRANT CONNECT ON DATABASE {database.name} TO stranger",
    )
    yield database.url.replace(database.url.split("://")[1].split("@")[0], "stranger:x")
    execute(admin, f"REVOKE ALL ON DATABASE {database.name} FROM stranger", "DROP ROLE stranger")


def test_7_the_login_bypasses_the_policies(database: Database, stranger: str, examined: Examine) -> None:
    execute(database.superuser_url, "ALTER ROLE stranger BYPASSRLS")
    assert "has BYPASSRLS" in faults(examined(database_url=stranger))["login"]


def test_8_the_login_may_not_take_the_roles(stranger: str, examined: Examine) -> None:
    assert "may not take authenticated, operator and service_role" in faults(examined(database_url=stranger))["roles"]


def test_9_a_table_has_lost_its_policies(healthy: CatalogueHarness, database: Database, examined: Examine) -> None:
    execute(database.owner_url, "ALTER TABLE llm_chats DISABLE ROW LEVEL SECURITY")
    assert "off on llm_chats" in faults(examined())["policies"]


def test_10_redis_cannot_be_reached(healthy: CatalogueHarness, examined: Examine) -> None:
    assert "cannot be reached" in faults(examined(redis_url="redis://127.0.0.1:9/0"))["redis"]


def test_11_redis_may_drop_queues(healthy: CatalogueHarness, redis_url: str, examined: Examine) -> None:
    with redis.Redis.from_url(redis_url) as client:
        policy = client.config_get("maxmemory-policy")["maxmemory-policy"]
        try:
            client.config_set("maxmemory-policy", "allkeys-lru")
            problems = faults(examined())
            client.config_set("maxmemory-policy", "volatile-lru")
            findings = examined()
        finally:
            client.config_set("maxmemory-policy", policy)
    assert "allkeys-lru" in problems["eviction"]
    assert "volatile-lru" in warnings(findings)["eviction"]


@contextlib.contextmanager
def redis_user(url: str, *rules: str) -> Iterator[str]:
    """The address for a user with these rules."""
    parts = urlsplit(url)
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">narrow-password", *rules)
        try:
            yield f"redis://narrow:narrow-password@{parts.hostname}:{parts.port}{parts.path}"
        finally:
            client.execute_command("ACL", "DELUSER", "narrow")


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (("~*", "&*", "+@all", "-@pubsub"), "publish to channels"),
        (("~*", "&*", "+@all", "-subscribe", "-psubscribe"), "subscribe to channels"),
        (("~*", "resetchannels", "+@all"), "subscribe to channels"),
        (("~llm_refresh:*", "&*", "+@all"), "write lists"),
        (("~*", "&*", "+@all", "-@write"), "write keys"),
        (("~*", "&*", "+@all", "-eval"), "run scripts"),
    ],
)
def test_11_the_redis_user_lacks_a_right(
    healthy: CatalogueHarness, redis_url: str, examined: Examine, rules: tuple[str, ...], missing: str
) -> None:
    with redis_user(redis_url, *rules) as narrow:
        problems = faults(examined(redis_url=narrow))
    assert missing in problems["redis rights"]
    assert set(problems) == {"redis rights"}  # of workers nothing can be said: they are not called dead


def test_11_what_cannot_be_looked_at_is_said_and_is_no_fault(
    healthy: CatalogueHarness, redis_url: str, examined: Examine
) -> None:
    with redis_user(redis_url, "~*", "&*", "+@all", "-info") as narrow:
        findings = examined(redis_url=narrow)
    assert faults(findings) == {}
    assert "INFO" in warnings(findings)["redis rights"]
    assert findings["refresh worker"].level == "good"


def test_11_the_documented_rights_are_enough_for_doctor_and_worker(
    healthy: CatalogueHarness, redis_url: str, database: Database, examined: Examine, tmp_path: Path
) -> None:
    words = ADVICE.split()
    assert ADVICE in (ROOT / "docs" / "operations.md").read_text()
    with redis_user(redis_url, *words[3:]) as narrow:
        assert faults(examined(redis_url=narrow)) == {}
        with worker(local_variables(database.url, narrow), tmp_path) as process:
            wait_for(lambda: "ready" in process.output or process.exit_code is not None, seconds=40)
            assert process.exit_code is None, process.output


def test_11_a_worker_without_a_right_says_which_in_one_line(redis_url: str, database: Database, tmp_path: Path) -> None:
    with (
        redis_user(redis_url, "~*", "&*", "+@all", "-@pubsub") as narrow,
        worker(local_variables(database.url, narrow), tmp_path) as process,
    ):
        assert process.wait(40) == 1
        (line,) = [line for line in process.output.splitlines() if "llm_redis.rights_missing" in line]
    assert json.loads(line)["event"] == "llm_redis.rights_missing"
    assert "subscribe to channels" in line
    assert "Traceback" not in process.output


def test_12_nobody_consumes(healthy: CatalogueHarness, redis_url: str, examined: Examine) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    findings = examined()
    assert set(faults(findings)) == {"refresh worker", "chat worker"}
    assert "beat" in warnings(findings)


@pytest.mark.parametrize(
    ("change_it", "named", "detail"),
    [
        ("UPDATE llm_catalogue_version SET last_synced_at = now() - interval '27 hours'", "last sync", "27 hours"),
        ("UPDATE llm_models SET is_default = false WHERE is_default", "catalogue", "none is the default"),
        ("UPDATE llm_models SET is_active = false, is_default = false", "catalogue", "no model is active"),
        (
            "INSERT INTO llm_sync_runs (id, trigger, actor, status, attempt, started_at, lease_until) VALUES ('{id}',"
            " 'api', 't', 'running', 1, now(), now() - interval '2 minutes')",
            "runs",
            "1 run running without a worker",
        ),
        (
            "INSERT INTO llm_sync_runs (id, trigger, actor, created_at) VALUES ('{id}', 'api', 't',"
            " now() - interval '11 minutes')",
            "runs",
            "1 run waiting for more than ten minutes",
        ),
        (
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
            " deadline_at, created_at) VALUES ('{id}', 's', 'x', 'q', 'gpt-4o', 'GPT-4o', 40, now() + interval"
            " '5 minutes', now() - interval '2 minutes')",
            "chats",
            "1 chat waiting for more than a minute",
        ),
        (
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
            " deadline_at, status, attempt, lease_until) VALUES ('{id}', 's', 'x', 'q', 'gpt-4o', 'GPT-4o', 40, now(),"
            " 'running', 1, now() - interval '2 minutes')",
            "chats",
            "1 chat running without a worker",
        ),
    ],
    ids=["stale", "no default", "no model", "dead run", "waiting run", "waiting chat", "dead chat"],
)
def test_13_rows_that_should_not_stand_so(
    healthy: CatalogueHarness, examined: Examine, change_it: str, named: str, detail: str
) -> None:
    change(healthy, change_it.replace("{id}", str(new_id())))
    findings = examined()
    assert set(faults(findings)) == {named}
    assert detail in faults(findings)[named]


def test_who_holds_the_rows_of_chats_past_their_deadline_is_named(
    healthy: CatalogueHarness, database: Database, examined: Examine
) -> None:
    change(
        healthy,
        "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
        f" deadline_at) VALUES ('{new_id()}', 's', 'x', 'q', 'gpt-4o', 'GPT-4o', 40,"
        " now() - interval '1 minute')",
    )
    assert faults(examined())["deadlines"] == "1 chat is open past its deadline"
    # Another login, whose transactions pg_stat_activity does not show to ours.
    with psycopg.connect(database.owner_url, application_name="by-hand") as holder:
        holder.execute("LOCK TABLE llm_chats IN ROW EXCLUSIVE MODE")
        finding = examined()["deadlines"]
        pid = holder.info.backend_pid
    assert finding.detail.endswith(f"transaction of another program: pid {pid} (llm_refresh_owner, by-hand)")
    assert f"pg_terminate_backend({pid})" in str(finding.advice)


def test_an_outage_of_matchaai_is_told_as_one_and_no_worker_is_blamed(
    healthy: CatalogueHarness, examined: Examine
) -> None:
    change(
        healthy,
        "INSERT INTO llm_upstream_calls (target, last_failure_at, last_failure_code, last_failure_status,"
        " failing_since, failures_in_a_row) VALUES ('40', now(), 'upstream_unavailable', 503,"
        " now() - interval '2 minutes', 9)",
    )
    for waiting_for in ("'upstream'", "'upstream'", "NULL"):
        change(
            healthy,
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name,"
            " matcha_llm_id, deadline_at, created_at, waiting_for) VALUES"
            f" ('{new_id()}', 's', 'x', 'q', 'gpt-4o', 'GPT-4o', 40, now() + interval '5 minutes',"
            f" now() - interval '2 minutes', {waiting_for})",
        )
    findings = examined()
    assert set(faults(findings)) == {"upstream"}
    assert findings["upstream"].detail.startswith("MatchaAI has not answered since ")
    assert findings["upstream"].detail.endswith("(503 upstream_unavailable); 2 chats wait; nothing to do here")
    assert "worker" not in str(findings["upstream"].advice)


def test_14_a_failed_last_run_with_a_good_one_of_today_is_a_warning(
    healthy: CatalogueHarness, examined: Examine
) -> None:
    change(
        healthy,
        "INSERT INTO llm_sync_runs (id, trigger, actor, status, finished_at, error_code, error_detail)"
        f" VALUES ('{new_id()}', 'api', 't', 'failed', now(), 'timeout', 'no answer in 15 s')",
    )
    findings = examined()
    assert faults(findings) == {}
    assert "the last run failed (timeout: no answer in 15 s)" in warnings(findings)["last run"]


def test_15_a_server_that_takes_connections_and_is_silent_ends_in_its_time(redis_url: str, examined: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        problems = faults(examined(database_url=f"postgresql://a:b@127.0.0.1:{port}/c"))
    assert "timeout" in problems["database"]
