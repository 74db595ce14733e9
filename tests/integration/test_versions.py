"""The revision of the schema: in a table of our own, taken over from `alembic_version`, and newer than the code."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from harness.processes import ROOT, local_variables
from harness.servers import Database, Servers
from migrations.run import upgrade
from migrations.schema import SHARED_REVISIONS, head
from tests.support.commands import Commands, LoadedCommands

FOREIGN = (
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('{}')"
)


def execute(database: Database, *statements: str) -> None:
    with psycopg.connect(database.owner_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(query.encode()).fetchall()


def as_the_version_before_left_it(database: Database, revision: str = SHARED_REVISIONS[-1]) -> None:
    upgrade(database.owner_url.replace("postgresql://", "postgresql+psycopg://"), revision)
    execute(
        database,
        "ALTER TABLE llm_refresh_version RENAME TO alembic_version",
        "GRANT SELECT ON alembic_version TO authenticated, service_role",
    )


@pytest.fixture
def empty(servers: Servers) -> Iterator[Database]:
    with servers.empty_database() as database:
        yield database


@pytest.fixture
def run(empty: Database, servers: Servers, tmp_path: Path, loaded: LoadedCommands) -> Commands:
    variables = local_variables(empty.url, servers.redis_url(), MIGRATE_DATABASE_URL=empty.owner_url)
    return Commands(variables, tmp_path, loaded)


def test_an_installation_of_the_version_before_is_taken_over(empty: Database, run: Commands) -> None:
    as_the_version_before_left_it(empty)
    done = run("migrate")
    assert (done.returncode, f"at revision {head()}" in done.stdout) == (0, True), done.stderr
    assert rows(empty, "SELECT version_num, oldest_code FROM llm_refresh_version") == [(head(), "0005")]
    # Processes of the version before look here while the upgrade lasts.
    assert rows(empty, "SELECT version_num FROM alembic_version") == [("0005",)]
    assert run("migrate").returncode == 0


def test_an_older_installation_is_taken_over_and_said_to_be_whole(empty: Database, run: Commands) -> None:
    as_the_version_before_left_it(empty, "0003")
    assert run("migrate").returncode == 0
    both = "SELECT ours.version_num, shared.version_num FROM llm_refresh_version ours, alembic_version shared"
    assert rows(empty, both) == [(head(), "0005")]


def test_two_that_take_over_at_once_do_not_get_in_each_others_way(empty: Database) -> None:
    as_the_version_before_left_it(empty)
    url = empty.owner_url.replace("postgresql://", "postgresql+psycopg://")
    code = f"from migrations.run import upgrade; upgrade({url!r})"
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert rows(empty, "SELECT version_num FROM llm_refresh_version") == [(head(),)]


@pytest.mark.parametrize("revision", ["0005", "abc123"])
def test_the_version_table_of_another_application_is_never_touched(
    empty: Database, run: Commands, revision: str
) -> None:
    execute(empty, FOREIGN.format(revision))
    assert run("migrate").returncode == 0
    assert "Found 5" in run("verify").stdout
    assert run("migrate").returncode == 0
    assert rows(empty, "SELECT version_num FROM alembic_version") == [(revision,)]
    assert rows(empty, "SELECT version_num FROM llm_refresh_version") == [(head(),)]


def test_our_tables_without_a_revision_are_refused_in_one_line(empty: Database, run: Commands) -> None:
    as_the_version_before_left_it(empty)
    execute(empty, "UPDATE alembic_version SET version_num = 'abc123'")
    done = run("migrate")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "restore llm_refresh_version" in done.stderr
    assert rows(empty, "SELECT to_regclass('llm_refresh_version')::text") == [(None,)]


def test_a_newer_schema_that_works_with_this_code_is_left_alone(empty: Database, run: Commands) -> None:
    assert run("migrate").returncode == 0
    execute(empty, "UPDATE llm_refresh_version SET version_num = '9999'")
    done = run("migrate")
    assert (done.returncode, "newer than this version" in done.stdout) == (0, True), done.stderr
    assert rows(empty, "SELECT version_num FROM llm_refresh_version") == [("9999",)]


def test_a_newer_schema_that_needs_newer_code_is_one_line_and_exit_1(empty: Database, run: Commands) -> None:
    assert run("migrate").returncode == 0
    execute(empty, "UPDATE llm_refresh_version SET version_num = '9999', oldest_code = '9998'")
    done = run("migrate")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "newer than this version" in done.stderr
    assert "code of revision 9998" in done.stderr
