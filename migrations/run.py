"""Alembic called as a function, with the address passed in."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from migrations import old_system, schema
from migrations.old_system import Adopter
from migrations.schema import NewerSchema, Schema, SchemaUnclear
from shared.catalogue.adoption import Adoption, CannotAdopt
from shared.roles import ROLES

REFUSALS = (NewerSchema, SchemaUnclear, CannotAdopt, CommandError)
"""What `upgrade` raises, beside errors of PostgreSQL, for a database that it leaves as it is."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade comes to: the schema that it finds, what it runs (revision, title), and what it adopts."""

    current: Schema
    pending: tuple[tuple[str, str], ...]
    adoption: Adoption | None = None


def upgrade(url: str, revision: str = "head", *, adopter: Adopter | None = None) -> Upgrade:
    """Bring the database at this SQLAlchemy address to a revision. Safe when two start it at once.

    `adopter` decides what becomes of the tables of the system that this one replaces, where they are. A schema that is
    newer than this version is left as it is. Raises one of REFUSALS; NewerSchema where this version's code does not
    work with the schema.
    """
    config = _config(url)
    config.attributes["adopter"] = adopter
    try:
        command.upgrade(config, revision)
    except NewerSchema as error:
        if error.schema.fit != "newer":
            raise
        return Upgrade(error.schema, ())
    current: Schema = config.attributes["current"]
    return Upgrade(current, schema.pending(current), config.attributes["adoption"])


def preview(url: str, adopter: Adopter) -> Upgrade:
    """What `upgrade` would do; changes nothing. Raises as it does."""
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, hide_parameters=True, connect_args={"prepare_threshold": None, "connect_timeout": 5}
    )
    try:
        with engine.connect() as connection, connection.begin() as transaction:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'")
            current = schema.read_schema(connection)
            if current.fit == "too_new":
                raise NewerSchema(current)
            schema.check_clear(connection)
            adoption = None
            if current.revision is None:
                _, adoption = old_system.plan_adoption(connection, adopter, lock=False)
            transaction.rollback()
    finally:
        engine.dispose()
    return Upgrade(current, schema.pending(current), adoption)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` removes everything that upgrade made."""
    command.downgrade(_config(url), revision)


def _config(url: str) -> Config:
    config = Config()
    # ConfigParser's interpolation would read a % in the path of this clone.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def grant_roles(url: str, login: str | None) -> None:
    """Let the application's login take each of the roles. Does nothing where it can already, or is who migrates.

    A login that walks past policies (a superuser) needs no grant, and gets none.
    """
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, hide_parameters=True, connect_args={"prepare_threshold": None}
    )
    try:
        with engine.begin() as connection:
            missing = connection.execute(
                sa.text(
                    "SELECT role FROM unnest(CAST(:roles AS text[])) AS role, pg_roles login"
                    " WHERE login.rolname = :login AND NOT pg_has_role(login.oid, role, 'MEMBER')"
                ),
                {"login": login, "roles": list(ROLES)},
            )
            for role in missing.scalars().all():
                name = connection.dialect.identifier_preparer.quote(str(login))
                connection.exec_driver_sql(f'GRANT "{role}" TO {name} WITH INHERIT FALSE, SET TRUE')
    finally:
        engine.dispose()


def reason(error: sa.exc.DBAPIError) -> str:
    """What PostgreSQL said, without the statement's values: its primary message and SQLSTATE."""
    diagnosis = getattr(error.orig, "diag", None)
    primary = diagnosis.message_primary if diagnosis is not None else None
    sqlstate = getattr(error.orig, "sqlstate", None)
    return f"{primary} (SQLSTATE {sqlstate})" if primary else "PostgreSQL cannot be reached"


def why_refused(error: Exception) -> str:
    """One of REFUSALS in one line."""
    return " ".join(str(error).split())
