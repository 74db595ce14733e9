"""Which revision a database is at, and whether this version's code works with it.

The revision stands in `llm_refresh_version`, Alembic's table under a name of our own: `alembic_version` may be another
application's. Beside it stands what the newest migration says of itself: the oldest code that works with the schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

VERSION_TABLE: Final = "llm_refresh_version"
SHARED_TABLE: Final = "alembic_version"
SHARED_REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")
"""Up to the last of these the revision stood in `alembic_version`."""
FIRST_WITH_OLDEST_CODE: Final = "0006"

OURS_ONLY: Final = ("llm_catalogue_version", "llm_sync_runs", "llm_model_changes")
"""Tables of 0001 whose names no other application has."""

Fit = Literal["current", "behind", "newer", "too_new"]


class SchemaUnclear(Exception):
    """Our tables are there, and nothing says at which revision they are."""


class NewerSchema(Exception):
    """The database is at a revision that this version does not know; `schema.fit` says whether they work together."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(describe_schema(schema))
        self.schema = schema


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database says of its schema. `revision` is None where nothing was migrated."""

    revision: str | None
    oldest_code: str | None

    @property
    def fit(self) -> Fit:
        """`newer`: a later version migrated, and says that this version's code works with its schema."""
        if self.revision == head():
            return "current"
        if self.revision is None or self.revision in revisions():
            return "behind"
        return "newer" if self.oldest_code in revisions() else "too_new"


def describe_schema(schema: Schema) -> str:
    """How a schema stands to this version, for an operator."""
    newer = f"the database is at {schema.revision}, which is newer than this version ({head()})"
    match schema.fit:
        case "current":
            return f"at revision {schema.revision}"
        case "behind":
            return f"the database is at {schema.revision or 'nothing'}, this version needs {head()}"
        case "newer":
            return f"{newer} and works with it"
        case "too_new":
            needed = f"code of revision {schema.oldest_code} or newer" if schema.oldest_code else "newer code"
            return f"{newer}: it needs {needed}"


@lru_cache(maxsize=1)
def revisions() -> tuple[str, ...]:
    """The revisions in this folder, the oldest first."""
    return tuple(script.revision for script in _scripts().walk_revisions())[::-1]


def head() -> str:
    """The newest revision in this folder."""
    return revisions()[-1]


def pending(current: Schema) -> tuple[tuple[str, str], ...]:
    """The revisions that are still to be run on this schema, each with its title; none on a newer one."""
    if current.fit != "behind":
        return ()
    done = revisions().index(current.revision) + 1 if current.revision is not None else 0
    return tuple((revision, _scripts().get_revision(revision).doc) for revision in revisions()[done:])


def oldest_code_of(revision: str) -> str:
    """The revision of the oldest code that works with a schema at this revision, as its migration states it."""
    return str(_scripts().get_revision(revision).module.oldest_code)


def read_schema(connection: sa.Connection) -> Schema:
    """What the database says. A foreign `alembic_version` is not looked at: it counts only beside our tables."""
    tables = _tables(connection)
    if VERSION_TABLE in tables:
        # The column is younger than the table.
        row = connection.execute(
            sa.text(f"SELECT version_num, to_jsonb(version) ->> 'oldest_code' FROM {VERSION_TABLE} AS version")
        ).one_or_none()
        return Schema(*row) if row is not None else Schema(None, None)
    return Schema(_shared_revision(connection, tables), None)


def check_clear(connection: sa.Connection) -> None:
    """Raises SchemaUnclear."""
    tables = _tables(connection)
    ours = [table for table in OURS_ONLY if table in tables]
    if ours and read_schema(connection).revision is None:
        raise SchemaUnclear(
            f"{', '.join(ours)} exist, but neither {VERSION_TABLE} nor {SHARED_TABLE} says at which revision:"
            f" restore {VERSION_TABLE} from a backup"
        )


def take_over(connection: sa.Connection) -> bool:
    """Copy the revision out of `alembic_version` where it is ours; returns whether it was copied.

    Raises SchemaUnclear. `alembic_version` stays: processes of the version before look at it during an upgrade.
    """
    check_clear(connection)
    tables = _tables(connection)
    revision = None if VERSION_TABLE in tables else _shared_revision(connection, tables)
    if revision is None:
        return False
    connection.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} (version_num varchar(32) PRIMARY KEY)")
    connection.execute(sa.text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"), {"revision": revision})
    return True


def state_to_the_version_before(connection: sa.Connection) -> None:
    """Say in `alembic_version`, once it was taken over, that everything is there that its readers know of."""
    shared_revisions = ", ".join(repr(revision) for revision in SHARED_REVISIONS)
    connection.exec_driver_sql(
        f"UPDATE {SHARED_TABLE} SET version_num = '{SHARED_REVISIONS[-1]}' WHERE version_num IN ({shared_revisions})"
    )


def state_oldest_code(connection: sa.Connection) -> None:
    """Write beside the revision which code works with it."""
    revision = read_schema(connection).revision
    if revision is not None and revision >= FIRST_WITH_OLDEST_CODE:
        connection.execute(
            sa.text(f"UPDATE {VERSION_TABLE} SET oldest_code = :code"), {"code": oldest_code_of(revision)}
        )


def _tables(connection: sa.Connection) -> set[str]:
    names = [VERSION_TABLE, SHARED_TABLE, "llm_models", *OURS_ONLY]
    rows = connection.execute(
        sa.text(
            "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE n.nspname = current_schema() AND relkind IN ('r', 'p') AND relname = ANY(:names)"
        ),
        {"names": names},
    )
    return set(rows.scalars())


def _shared_revision(connection: sa.Connection, tables: set[str]) -> str | None:
    if SHARED_TABLE not in tables or not {"llm_models", *OURS_ONLY} <= tables:
        return None
    rows = connection.execute(sa.text(f"SELECT to_jsonb(version) ->> 'version_num' FROM {SHARED_TABLE} AS version"))
    ours = [revision for revision in rows.scalars() if revision in SHARED_REVISIONS]
    return ours[0] if len(ours) == 1 else None


@lru_cache(maxsize=1)
def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return ScriptDirectory.from_config(config)
