"""The roles and logins of a new database, as plain SQL; what a hosted PostgreSQL's operator would type.

`authenticated`, `service_role` (Supabase's names) and `operator` log in to nothing: policies name them. The owner's
login owns the database and everything the migrations make; the application's login owns nothing, inherits nothing and
becomes one of the three roles in each transaction. Neither is a superuser: policies do not hold for those.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from shared.roles import ROLES

OWNER = "llm_refresh_owner"
APP = "llm_refresh_app"
_COPIES_IN_LOG_SINCE = 150_000
_MEMBERSHIP_OPTIONS_SINCE = 160_000


@dataclass(frozen=True)
class DatabaseLogin:
    """A database user and its password."""

    user: str
    password: str


def bootstrap_roles(
    superuser_url: str, database: str, *, owner: DatabaseLogin, app: DatabaseLogin, connect_timeout_seconds: int = 10
) -> None:
    """Make the roles, the two logins and the database, or bring them to what they should be. Idempotent.

    Raises psycopg.Error.
    """
    with psycopg.connect(superuser_url, autocommit=True, connect_timeout=connect_timeout_seconds) as connection:
        for role in ROLES:
            _role(connection, role, "NOLOGIN")
        # CREATEROLE: the migrations make the roles where they are missing.
        _role(connection, owner.user, "LOGIN NOSUPERUSER NOCREATEDB CREATEROLE", owner.password)
        _role(connection, app.user, "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT", app.password)
        options = connection.info.server_version >= _MEMBERSHIP_OPTIONS_SINCE
        for role in ROLES:
            # Before PostgreSQL 16 there is only ADMIN, and NOINHERIT above says the rest.
            _grant(connection, role, owner.user, "ADMIN TRUE, INHERIT FALSE, SET FALSE" if options else "ADMIN OPTION")
            _grant(connection, role, app.user, "INHERIT FALSE, SET TRUE" if options else None)
        create_database(connection, database, owner=owner.user, app=app.user)


def create_database(
    connection: psycopg.Connection[tuple[object, ...]],
    database: str,
    *,
    owner: str,
    app: str,
    template: str | None = None,
) -> None:
    """Make a database of the owner's, empty or as a copy of a template, that only the two logins may enter.

    Does nothing but the grants when it exists. The connection is a superuser's, with autocommit.
    """
    name = sql.Identifier(database)
    row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    if row is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(owner))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            if connection.info.server_version >= _COPIES_IN_LOG_SINCE:
                statement += sql.SQL(" STRATEGY FILE_COPY")  # the log takes twice the work
        connection.execute(statement)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(app)))


def address(port: int, login: DatabaseLogin, database: str) -> str:
    """The address of a database on this machine. Names and passwords are made of letters, digits, `-` and `_`."""
    return f"postgresql://{login.user}:{login.password}@127.0.0.1:{port}/{database}"


def _role(
    connection: psycopg.Connection[tuple[object, ...]], name: str, attributes: str, password: str | None = None
) -> None:
    row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    statement = sql.SQL("ALTER ROLE {} " if row else "CREATE ROLE {} ").format(sql.Identifier(name))
    statement += sql.SQL(attributes)
    if password is not None:
        # Hashed here, so that the password itself reaches no server log.
        hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(hashed.decode()))
    connection.execute(statement)


def _grant(connection: psycopg.Connection[tuple[object, ...]], role: str, member: str, options: str | None) -> None:
    statement = sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member))
    if options is not None:
        statement += sql.SQL(f" WITH {options}")
    connection.execute(statement)
