"""How Alembic reaches the database: an address passed in by `run.py`, or the environment for its own command line."""

import os
from pathlib import Path

import sqlalchemy as sa
from alembic import context

from migrations import old_system, schema
from shared.models import metadata
from shared.settings import read_settings

# Two that start at once wait for each other here; the lock ends with its transaction (no session feature).
LOCK = sa.text("SELECT pg_advisory_xact_lock(7293450128890)")
# Who waits for a lock on a table holds up everyone behind it: better to fail, and to be run again at a quieter time.
TIMEOUTS = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '15min'"


def _address() -> str:
    url_override = context.config.attributes.get("url")
    if url_override is not None:
        return str(url_override)
    settings = read_settings(os.environ, Path(".env"))
    return (settings.migrate_database_url or settings.database_url).get_secret_value()


def run() -> None:
    if context.is_offline_mode():
        context.configure(
            url="postgresql+psycopg://",
            target_metadata=metadata,
            literal_binds=True,
            version_table=schema.VERSION_TABLE,
        )
        with context.begin_transaction():
            context.execute(TIMEOUTS)
            context.run_migrations()
            context.execute(f"UPDATE {schema.VERSION_TABLE} SET oldest_code = '{schema.oldest_code_of(schema.head())}'")
        return
    engine = sa.create_engine(
        _address(),
        poolclass=sa.NullPool,
        hide_parameters=True,
        connect_args={"prepare_threshold": None, "connect_timeout": 5},
    )
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata, transactional_ddl=True, version_table=schema.VERSION_TABLE
        )
        with context.begin_transaction():
            connection.execute(LOCK)
            connection.exec_driver_sql(TIMEOUTS)
            current = schema.read_schema(connection)
            if current.fit in ("newer", "too_new"):
                raise schema.NewerSchema(current)
            was_shared = schema.take_over(connection)
            adoption = None
            if current.revision is None:
                tables, adoption = old_system.plan_adoption(connection, context.config.attributes.get("adopter"))
                old_system.set_aside(connection, tables)
            context.run_migrations()
            schema.state_oldest_code(connection)
            if adoption is not None:
                old_system.write(connection, adoption)
            context.config.attributes.update(current=current, adoption=adoption)
            if was_shared:
                schema.state_to_the_version_before(connection)
    engine.dispose()


run()
