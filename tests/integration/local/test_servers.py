"""What every other integration test stands on."""

import psycopg
import pytest
import redis

from harness.servers import Database, Servers


def test_each_test_gets_a_database_of_its_own_as_the_migrations_leave_it(servers: Servers) -> None:
    with servers.database() as one, servers.database() as other:
        assert one.name != other.name
        for database in (one, other):
            with psycopg.connect(database.superuser_url) as connection:
                assert connection.execute("SELECT count(*) FROM llm_refresh_version").fetchone() == (1,)


def test_a_database_is_gone_after_its_test_even_with_someone_connected(servers: Servers) -> None:
    with servers.empty_database() as database:
        left_open = psycopg.connect(database.url)
    with left_open, pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    with psycopg.connect(servers.services.superuser_url) as connection:
        row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database.name]).fetchone()
    assert row is None


def test_the_application_login_becomes_either_role_and_owns_nothing(servers: Servers) -> None:
    with servers.empty_database() as database, psycopg.connect(database.url, autocommit=True) as connection:
        for role in ("authenticated", "service_role"):
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE {role}")
                assert connection.execute("SELECT current_user").fetchone() == (role,)
        attributes = connection.execute(
            "SELECT rolsuper, rolinherit, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = session_user"
        ).fetchone()
        assert attributes == (False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (id int)")


def test_the_owner_login_makes_and_grants_tables_without_being_a_superuser(servers: Servers) -> None:
    with servers.empty_database() as database:
        with psycopg.connect(database.owner_url) as owner:
            owner.execute("CREATE TABLE rows (id int)")
            owner.execute("GRANT SELECT ON rows TO authenticated, service_role")
            assert owner.execute("SELECT rolsuper FROM pg_roles WHERE rolname = session_user").fetchone() == (False,)
        with psycopg.connect(database.url) as app:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
                app.execute("SELECT * FROM rows")
            app.execute("SET LOCAL ROLE authenticated")
            app.execute("SELECT * FROM rows")


def test_a_redis_database_is_empty_and_no_other_test_s(servers: Servers) -> None:
    first, second = servers.redis_url(), servers.redis_url()
    with redis.Redis.from_url(first) as one, redis.Redis.from_url(second) as other:
        one.set("key", "value")
        assert other.dbsize() == 0


def test_the_fixtures_hold_what_they_say(database: Database, redis_url: str) -> None:
    with psycopg.connect(database.url) as connection:
        assert connection.info.dbname == database.name
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
