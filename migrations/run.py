"""Alembic called as a function, with the address passed in."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from migrations.schema import NewerSchema, Schema, SchemaUnclear

REFUSALS = (NewerSchema, SchemaUnclear, CommandError)
"""What `upgrade` raises, beside errors of PostgreSQL, for a database that it leaves as it is."""


def upgrade(url: str, revision: str = "head") -> Schema | None:
    """Bring the database at this SQLAlchemy address to a revision. Safe when two start it at once.

    Returns the schema where it is newer than this version and this version's code works with it: nothing is done then.
    Raises one of REFUSALS: NewerSchema where the code does not work with it.
    """
    try:
        command.upgrade(_config(url), revision)
    except NewerSchema as error:
        if error.schema.fit != "newer":
            raise
        return error.schema
    return None


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
    """Let the application's login take the two roles. Does nothing where it can already, or is who migrates.

    A login that walks past policies (a superuser) needs no grant, and gets none.
    """
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, hide_parameters=True, connect_args={"prepare_threshold": None}
    )
    try:
        with engine.begin() as connection:
            missing = connection.execute(
                sa.text(
                    "SELECT role FROM unnest(ARRAY['authenticated', 'service_role']) AS role, pg_roles login"
                    " WHERE login.rolname = :login AND NOT pg_has_role(login.oid, role, 'MEMBER')"
                ),
                {"login": login},
            )
            for role in missing.scalars().all():
                name = connection.dialect.identifier_preparer.quote(str(login))
                connection.exec_driver_sql(f"GRANT {role} TO {name} WITH INHERIT FALSE, SET TRUE")
    finally:
        engine.dispose()


def reason(error: sa.exc.DBAPIError) -> str:
    """What PostgreSQL said, without the statement's values: its primary message and SQLSTATE."""
    diagnosis = getattr(error.orig, "diag", None)
    primary = diagnosis.message_primary if diagnosis is not None else None
    return f"{primary} (SQLSTATE {error.orig.sqlstate})" if primary else "PostgreSQL cannot be reached"  # type: ignore[union-attr]


def why_refused(error: Exception) -> str:
    """One of REFUSALS in one line."""
    return " ".join(str(error).split())
