"""The schema as the migrations make it, and whom PostgreSQL lets do what."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from harness.processes import ROOT
from harness.servers import Database, Servers
from harness.waiting import wait_for
from migrations.run import downgrade, upgrade
from migrations.schema import VERSION_TABLE
from shared.connections import PREPARE_AFTER
from shared.db import PING_AFTER_SECONDS, SYSTEM, Caller, DatabaseError, DatabaseUnavailable, Limits, Statement
from shared.db import Database as Pool
from shared.models import metadata

ANNA = Caller("authenticated", "anna")


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def pool(database: Database):
    made = Pool(sqlalchemy_url(database.url), application_name="test")
    yield made
    made.dispose()


def test_upgrade_downgrade_upgrade_and_the_models_say_the_same(servers: Servers) -> None:
    with servers.empty_database() as empty:
        url = sqlalchemy_url(empty.owner_url)
        upgrade(url)
        downgrade(url, "base")
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            assert sa.inspect(connection).get_table_names() == ["llm_refresh_version"]
        upgrade(url)
        with engine.connect() as connection:
            differences = compare_metadata(
                MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}), metadata
            )
        engine.dispose()
    assert differences == []


def test_the_checks_of_the_tables_allow_the_values_of_the_models(database: Database) -> None:
    """Alembic compares no CHECKs: a new value without a migration would be refused at run time."""
    with psycopg.connect(database.superuser_url) as connection:
        migrated = dict(
            connection.execute(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
            ).fetchall()
        )
    quoted = re.compile("'([^']*)'")
    checks = [
        (str(check.name), str(check.sqltext))
        for table in metadata.tables.values()
        for check in table.constraints
        if isinstance(check, sa.CheckConstraint)
    ]
    assert checks
    differences = [
        f"the CHECK {name} needs a migration: the models say {sorted(wanted)}, the database {sorted(allowed)}"
        for name, text in checks
        if (wanted := set(quoted.findall(text))) != (allowed := set(quoted.findall(migrated.get(name, ""))))
    ]
    assert differences == []


def test_the_table_of_models_is_the_specifications(database: Database) -> None:
    with psycopg.connect(database.superuser_url) as connection:
        columns = dict(
            connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'llm_models'"
            ).fetchall()
        )
        indexes = {
            name for (name,) in connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'llm_models'")
        }
    wanted = {
        "id": "integer",
        "matcha_llm_id": "integer",
        "model_name": "text",
        "model_key": "text",
        "provider": "text",
        "capabilities": "jsonb",
        "is_active": "boolean",
        "is_default": "boolean",
        "display_order": "integer",
        "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
        "last_synced_at": "timestamp with time zone",
    }
    assert wanted.items() <= columns.items()
    assert {"idx_llm_models_matcha_id", "idx_llm_models_active"} <= indexes


def insert(connection: sa.Connection, id_: int, key: str, **columns: object) -> None:
    row = {"matcha_llm_id": id_, "model_name": key, "model_key": key, "provider": "other", **columns}
    names = ", ".join(row)
    connection.execute(sa.text(f"INSERT INTO llm_models ({names}) VALUES (:{', :'.join(row)})"), row)


@pytest.mark.parametrize(
    ("second", "constraint"),
    [
        ({"id_": 1, "key": "b"}, "llm_models_matcha_llm_id_key"),
        ({"id_": 2, "key": "a"}, "llm_models_model_key_key"),
        ({"id_": 2, "key": "b", "is_default": True}, "llm_models_one_default"),
        ({"id_": 2, "key": "b", "is_active": False, "is_default": True}, "llm_models_default_is_active"),
    ],
)
def test_the_database_itself_refuses_a_second_id_key_or_default(pool: Pool, second: dict, constraint: str) -> None:
    with pytest.raises(DatabaseError) as refused, pool.transaction() as connection:
        insert(connection, 1, "a", is_default=True)
        insert(connection, **second)
    assert refused.value.constraint == constraint
    assert refused.value.__cause__ is None


def test_the_database_itself_refuses_a_second_running_run(pool: Pool) -> None:
    with pytest.raises(DatabaseError) as refused, pool.transaction() as connection:
        for _ in range(2):
            connection.execute(
                sa.text("""
                    INSERT INTO llm_sync_runs (id, trigger, actor, status, attempt, started_at, lease_until)
                    VALUES (gen_random_uuid(), 'api', 'test', 'running', 1, now(), now() + interval '1 minute')
                """)
            )
    assert refused.value.constraint == "llm_sync_runs_one_running"


def test_two_rows_may_swap_their_keys_in_one_statement(pool: Pool) -> None:
    with pool.transaction() as connection:
        insert(connection, 1, "a")
        insert(connection, 2, "b")
        swap = "UPDATE llm_models SET model_key = CASE model_key WHEN 'a' THEN 'b' ELSE 'a' END"
        assert connection.execute(sa.text(swap)).rowcount == 2


def test_the_version_follows_what_the_listing_shows_by_whomever_it_is_changed(pool: Pool, database: Database) -> None:
    def version() -> int:
        with pool.transaction() as connection:
            return int(connection.execute(sa.text("SELECT version FROM llm_catalogue_version")).scalar_one())

    with pool.transaction() as connection:
        insert(connection, 1, "a")
    before = version()
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute("UPDATE llm_models SET last_synced_at = now()")
    assert version() == before
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute("UPDATE llm_models SET model_name = 'by hand'")
    assert version() > before


def test_updated_at_ignores_the_stamp_of_a_sync(pool: Pool) -> None:
    def updated_at() -> object:
        with pool.transaction() as connection:
            return connection.execute(sa.text("SELECT updated_at FROM llm_models")).scalar_one()

    def run(sql: str) -> None:
        with pool.transaction() as connection:
            connection.execute(sa.text(sql))

    with pool.transaction() as connection:
        insert(connection, 1, "a")
    before = updated_at()
    run("UPDATE llm_models SET last_synced_at = now()")
    run("UPDATE llm_models SET model_name = model_name, last_synced_at = now()")
    assert updated_at() == before
    run("UPDATE llm_models SET model_name = 'other'")
    assert updated_at() != before


def test_a_wait_that_took_too_long_is_not_now_rather_than_not_like_this(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable) as late, pool.transaction(timeout_seconds=0.05) as connection:
        connection.execute(sa.text("SELECT pg_sleep(5)"))
    assert late.value.sqlstate == "57014"
    with pytest.raises(DatabaseUnavailable) as reading, pool.transaction() as connection:
        connection.execute(sa.text("SET TRANSACTION READ ONLY"))
        connection.execute(sa.text("DELETE FROM llm_chats"))
    assert reading.value.sqlstate == "25006"


def test_authenticated_reads_active_models_and_nothing_else(pool: Pool) -> None:
    with pool.transaction() as connection:
        insert(connection, 1, "shown")
        insert(connection, 2, "hidden", is_active=False)
    with pool.transaction(ANNA) as connection:
        assert connection.execute(sa.text("SELECT model_key FROM llm_models")).scalars().all() == ["shown"]
    for statement in (
        "UPDATE llm_models SET model_name = 'x'",
        "DELETE FROM llm_models",
        "INSERT INTO llm_models (matcha_llm_id, model_name, model_key, provider) VALUES (9, 'x', 'x', 'x')",
        "SELECT * FROM llm_sync_runs",
        "SELECT * FROM llm_model_changes",
        "UPDATE llm_catalogue_version SET version = 0",
    ):
        with pytest.raises(DatabaseError) as refused, pool.transaction(ANNA) as connection:
            connection.execute(sa.text(statement))
        assert refused.value.sqlstate == "42501", statement


def test_service_role_cannot_rewrite_the_ledger(pool: Pool) -> None:
    for statement in ("UPDATE llm_model_changes SET actor = 'x'", "DELETE FROM llm_model_changes"):
        with pytest.raises(DatabaseError), pool.transaction() as connection:
            connection.execute(sa.text(statement))


def test_the_applications_login_owns_nothing_and_gets_nothing_without_a_role(database: Database) -> None:
    with psycopg.connect(database.url) as connection:
        settings_row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolinherit FROM pg_roles WHERE rolname = current_user"
        )
        assert settings_row.fetchone() == (False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM llm_models")


def test_a_role_and_a_caller_last_for_one_transaction(pool: Pool) -> None:
    with pool.transaction(ANNA) as connection:
        query = "SELECT current_user, current_setting('request.jwt.claims', true)::json ->> 'sub'"
        assert connection.execute(sa.text(query)).one() == ("authenticated", "anna")
    with pool.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT current_user")).scalar_one() not in ("authenticated", "service_role")
        left = connection.execute(sa.text("SELECT current_setting('request.jwt.claims', true)")).scalar_one()
        assert not left


def test_errors_quote_no_values(pool: Pool) -> None:
    with pytest.raises(DatabaseError) as refused, pool.transaction(SYSTEM) as connection:
        insert(connection, 1, "a")
        connection.execute(sa.text("UPDATE llm_models SET display_order = CAST(:v AS integer)"), {"v": "hunter2"})
    assert "hunter2" not in str(refused.value)
    assert re.search("22P02", str(refused.value))


def test_a_database_that_is_away_is_told_apart() -> None:
    away = Pool("postgresql+psycopg://u:p@127.0.0.1:1/d", application_name="test")
    with pytest.raises(DatabaseUnavailable), away.transaction():
        pass
    away.dispose()


def test_two_migrations_at_once_do_not_get_in_each_others_way(servers: Servers) -> None:
    with servers.empty_database() as empty:
        code = f"from migrations.run import upgrade; upgrade({sqlalchemy_url(empty.owner_url)!r})"
        both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
        with psycopg.connect(empty.superuser_url) as connection:
            assert connection.execute("SELECT count(*) FROM llm_refresh_version").fetchone() == (1,)


def test_connections_are_opened_ahead_and_none_where_postgresql_is_away(database: Database, pool: Pool) -> None:
    pool.warm_up(3)
    assert pool.engine.pool.checkedin() == 3  # type: ignore[attr-defined]
    away = Pool("postgresql+psycopg://nobody:x@127.0.0.1:9/none", application_name="test")
    away.warm_up(3)
    assert away.engine.pool.checkedin() == 0  # type: ignore[attr-defined]
    away.dispose()


def test_a_connection_that_died_at_rest_is_replaced_before_it_is_used(database: Database, pool: Pool) -> None:
    pool.warm_up(2)
    with psycopg.connect(database.superuser_url, autocommit=True) as other:
        ended = other.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'llm-refresh test'"
            " AND datname = current_database()"
        ).fetchone()
    assert ended == (2,)
    time.sleep(PING_AFTER_SECONDS)  # what is tested is the rest
    with pool.transaction() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1


def test_a_statement_that_is_sent_with_its_commit_is_one_transaction(pool: Pool) -> None:
    insert_model = "INSERT INTO llm_models (matcha_llm_id, model_name, model_key, provider)"
    returning = " RETURNING model_key, current_user::text AS role"
    (rows,) = pool.run(Statement(f"{insert_model} VALUES (%(id)s, 'x', 'a', 'x'){returning}", {"id": 1}))
    assert rows == [{"model_key": "a", "role": "service_role"}]
    with pytest.raises(DatabaseError) as refused:
        two = f"{insert_model} VALUES (2, 'x', 'b', 'x'), (3, %(name)s, 'a', 'x'){returning}"
        pool.run(Statement(two, {"name": "hunter2"}))
    assert (refused.value.sqlstate, refused.value.constraint) == ("23505", "llm_models_model_key_key")
    assert "hunter2" not in str(refused.value)
    assert pool.run(Statement("SELECT model_key FROM llm_models")) == [[{"model_key": "a"}]], "nothing of the second"
    with pytest.raises(DatabaseError), pool.transaction(ANNA):
        pool.run(Statement("SELECT subject FROM llm_callers"), caller=ANNA)


@pytest.mark.parametrize(("at_once", "exchanges"), [(True, 1), (False, 2)])
def test_statements_that_are_sent_with_their_commit_take_one_exchange_or_two(
    database: Database, tmp_path: Path, at_once: bool, exchanges: int
) -> None:
    one = Pool(sqlalchemy_url(database.url), application_name="test", pool_size=1)
    ones = [Statement("SELECT 1 AS one"), Statement("SELECT 2 AS two")]
    for _ in range(PREPARE_AFTER + 2):  # also with statements that are prepared
        with one.engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
        with (tmp_path / "wire").open("wb") as wire:
            driver.pgconn.trace(wire.fileno())
            assert one.run(*ones, at_once=at_once) == [[{"one": 1}], [{"two": 2}]]
            driver.pgconn.untrace()
        messages = [line.split("\t")[3] for line in (tmp_path / "wire").read_text().splitlines()]
        assert messages.count("ReadyForQuery") == exchanges, messages
    one.dispose()


def test_a_statement_alone_is_bounded(database: Database) -> None:
    bounded = Pool(sqlalchemy_url(database.url), application_name="test", pool_size=1, limits=Limits(statement=0.2))
    with pytest.raises(DatabaseUnavailable) as late:
        bounded.run(Statement("SELECT pg_sleep(20)"))
    assert late.value.sqlstate == "57014"
    assert bounded.run(Statement("SELECT 1 AS one")) == [[{"one": 1}]]
    bounded.dispose()


def test_a_connection_that_is_lost_during_a_statement_is_told_and_replaced(database: Database, pool: Pool) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    with psycopg.connect(database.superuser_url, autocommit=True) as other, ThreadPoolExecutor(1) as threads:
        sleeping = threads.submit(pool.run, Statement("SELECT pg_sleep(20)"))
        wait_for(lambda: other.execute(end).fetchone() == (True,))
        with pytest.raises(DatabaseUnavailable):
            sleeping.result()
    assert pool.run(Statement("SELECT 1 AS one")) == [[{"one": 1}]]


def _prepared(connection: sa.Connection) -> int:
    """How many statements the connection's server keeps prepared."""
    return int(connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one())


def _ask_often(pool: Pool, times: int = 4) -> int:
    """Execute the same statement in several transactions; returns how many are prepared then."""
    for _ in range(times):
        with pool.transaction() as connection:
            connection.exec_driver_sql("SELECT 40 + %s", (2,)).scalar_one()
    with pool.transaction() as connection:
        return _prepared(connection)


def test_statements_are_prepared_by_the_server_that_executes_them(pool: Pool) -> None:
    assert _ask_often(pool) >= 2, "who enters a transaction, and what was asked"


def test_a_statement_that_is_not_prepared_any_more_ends_preparing_and_is_not_now(pool: Pool) -> None:
    """As behind a pooler that gave the connection to another server."""
    assert _ask_often(pool) >= 2
    with pytest.raises(DatabaseUnavailable), pool.transaction() as connection:
        names = connection.exec_driver_sql("SELECT name FROM pg_prepared_statements").scalars().all()
        for name in names:
            connection.exec_driver_sql(f'DEALLOCATE "{name}"')
        connection.exec_driver_sql("SELECT 40 + %s", (2,))
    assert _ask_often(pool) == 0


def test_a_prepared_statement_whose_columns_changed_is_prepared_anew(database: Database, pool: Pool) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as owner:
        make = "CREATE FUNCTION shape(OUT one {}) LANGUAGE sql AS 'SELECT 1'"
        owner.execute(make.format("integer").encode())
        for _ in range(4):
            with pool.transaction() as connection:
                connection.exec_driver_sql("SELECT * FROM shape()").scalar_one()
        owner.execute("DROP FUNCTION shape")
        owner.execute(make.format("bigint").encode())
    with pytest.raises(DatabaseUnavailable), pool.transaction() as connection:
        connection.exec_driver_sql("SELECT * FROM shape()")
    with pool.transaction() as connection:
        assert connection.exec_driver_sql("SELECT * FROM shape()").scalar_one() == 1
    assert _ask_often(pool) >= 2
