"""Adopts the hand-made `llm_models` and `llm_usage_stats` of the system that this one replaces, in SQL.

All of it happens in the transaction that makes our tables: the old ones are renamed with everything whose name would
be in the way, and their rows written into ours. `shared/catalogue/adoption.py` decides what becomes of a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shared.catalogue import ledger
from shared.catalogue.adoption import (
    MODEL_COLUMNS,
    MODEL_MARKS,
    USAGE_COLUMNS,
    USAGE_MARKS,
    Adoption,
    CannotAdopt,
)
from shared.catalogue.sync.rows import Json
from shared.chat.counting import BUCKETS_MS

SUFFIX: Final = "_before_llm_refresh"
MODELS, USAGE = "llm_models", "llm_usage_stats"
_LONGEST_NAME: Final = 63  # bytes; PostgreSQL cuts what is longer

Adopter = Callable[[Sequence[Json], Sequence[Json], datetime], Adoption]
"""Makes an adoption of the rows of both tables at the database's time. Raises CannotAdopt."""

_COLUMNS = {MODELS: (MODEL_COLUMNS, MODEL_MARKS), USAGE: (USAGE_COLUMNS, USAGE_MARKS)}
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "i": "an index"}

_FIND = """
SELECT c.relname::text AS name, c.oid::bigint AS oid, c.relkind::text AS kind, c.relforcerowsecurity AS forced,
  pg_get_userbyid(c.relowner)::text AS owner, pg_has_role(c.relowner, 'USAGE') AS is_ours_to_change,
  ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = ANY(:names) ORDER BY c.relname
"""

# What the rename of a table leaves under its old name: indexes (and with them the constraints of the same name), and
# the sequences that its columns draw from, owned or not.
_IN_THE_WAY = """
SELECT c.relname::text, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END
FROM pg_class c WHERE c.oid IN (
  SELECT indexrelid FROM pg_index WHERE indrelid = :oid
  UNION SELECT objid FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = :oid
      AND deptype IN ('a', 'i')
  UNION SELECT d.refobjid FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND a.adrelid = :oid
) AND c.relkind IN ('S', 'i', 'I') AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = :oid)
ORDER BY 1
"""

_GRANTEES = """
SELECT DISTINCT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
FROM (
  SELECT relowner, (aclexplode(relacl)).grantee FROM pg_class WHERE oid = :oid
  UNION ALL SELECT c.relowner, (aclexplode(attacl)).grantee FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE attrelid = :oid
) AS granted WHERE grantee <> relowner ORDER BY 1
"""

_LEFT_BEHIND = """
SELECT conrelid::regclass::text || ' (' || conname || ')' FROM pg_constraint
WHERE contype = 'f' AND confrelid = :oid AND conrelid <> :oid
UNION SELECT 'the view ' || r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = :oid
  AND r.ev_class <> :oid
ORDER BY 1
"""

_WRITE_MODELS = """
INSERT INTO llm_models (id, matcha_llm_id, model_name, model_key, provider, capabilities, is_active, is_default,
  display_order, created_at, last_synced_at, missed_syncs, overrides, provenance)
VALUES (:id, :matcha_llm_id, :model_name, :model_key, :provider, CAST(:capabilities AS jsonb), :is_active, :is_default,
  :display_order, coalesce(:created_at, now()), :last_synced_at, :missed_syncs, CAST(:overrides AS jsonb),
  CAST(:provenance AS jsonb))
"""

_WRITE_USAGE = """
INSERT INTO llm_usage_stats (model_key, day, request_count, last_used, latency_buckets)
VALUES (:key, :day, :requests, :last_used, array_fill(0::bigint, ARRAY[CAST(:buckets AS integer)]))
"""

# The policies hold for the owner too, and the owner need not be a member of service_role.
_OPEN = "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY"
_CLOSE = "ALTER TABLE {} FORCE ROW LEVEL SECURITY"
_WRITTEN = ("llm_models", "llm_model_changes", "llm_catalogue_version", "llm_usage_stats", "llm_usage_totals")


@dataclass(frozen=True, slots=True)
class OldTable:
    """One of the two tables, as it was found."""

    name: str
    oid: int
    columns: tuple[str, ...]

    @property
    def aside(self) -> str:
        return self.name + SUFFIX


def plan_adoption(
    connection: sa.Connection, adopter: Adopter | None, *, lock: bool = True
) -> tuple[list[OldTable], Adoption | None]:
    """Look for the old tables where nothing was migrated yet, and say what would become of their rows.

    `lock`: keep everybody else away from them until the transaction ends. Changes only, until then, whether the owner
    sees all rows of a table whose policies are forced. Raises CannotAdopt.
    """
    tables = [_old_table(connection, row, lock=lock) for row in _found(connection, (MODELS, USAGE))]
    if not tables:
        return [], None
    if adopter is None:
        raise CannotAdopt(f"{tables[0].name} is the old system's: run `llm-refresh migrate`, which adopts it")
    if taken := _found(connection, [table.aside for table in tables]):
        raise CannotAdopt(f"{taken[0].name} is there already: drop it, or give it another name")
    connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
    rows = {table.name: _read(connection, table) for table in tables}
    now = connection.execute(sa.text("SELECT now()")).scalar_one()
    adoption = adopter(rows.get(MODELS, []), rows.get(USAGE, []), now)
    return tables, replace(adoption, notes=(*adoption.notes, *_notes(connection, tables)))


def set_aside(connection: sa.Connection, tables: Sequence[OldTable]) -> None:
    """Rename the old tables, and let nobody but their owner see them."""
    for table in tables:
        for name, kind in connection.execute(sa.text(_IN_THE_WAY), {"oid": table.oid}).all():
            _revoke_and_rename(connection, kind, name)
        for grantee in connection.execute(sa.text(_GRANTEES), {"oid": table.oid}).scalars().all():
            connection.exec_driver_sql(f"REVOKE ALL ON TABLE {table.name} FROM {grantee} CASCADE")
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY")
        connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {table.aside}")


def write(connection: sa.Connection, adoption: Adoption) -> None:
    """Write what was adopted into our tables, which this transaction has made."""
    for name in _WRITTEN:
        connection.exec_driver_sql(_OPEN.format(name))
    if adoption.models:
        connection.execute(sa.text(_WRITE_MODELS), [_parameters(model) for model in adoption.models])
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('llm_models', 'id'), (SELECT max(id) FROM llm_models))"
        )
        ledger.append_changes(connection, adoption.changes(), run_id=None, actor="adoption")
    if adoption.usage:
        connection.execute(
            sa.text(_WRITE_USAGE),
            [
                {
                    "key": used.model_key,
                    "day": used.day,
                    "requests": used.requests,
                    "last_used": used.last_used,
                    "buckets": len(BUCKETS_MS) + 1,
                }
                for used in adoption.usage
            ],
        )
    for name in _WRITTEN:
        connection.exec_driver_sql(_CLOSE.format(name))


def _found(connection: sa.Connection, names: Sequence[str]) -> list[sa.Row[Any]]:
    return list(connection.execute(sa.text(_FIND), {"names": list(names)}).all())


def _old_table(connection: sa.Connection, row: sa.Row[Any], *, lock: bool) -> OldTable:
    """The table, if it is the one we know and ours to change."""
    if row.kind not in ("r", "p"):
        raise CannotAdopt(
            f"{row.name} is {_KINDS.get(row.kind, 'no table')}: give it another name, or use a schema of its own"
        )
    missing = [column for column in _COLUMNS[row.name][1] if column not in row.columns]
    if missing:
        raise CannotAdopt(
            f"{row.name} exists and is not the table that this system replaces (it has no {', '.join(missing)}):"
            " give it another name, or use a schema of its own"
        )
    if not row.is_ours_to_change:
        raise CannotAdopt(
            f"{row.name} belongs to {row.owner}: let MIGRATE_DATABASE_URL log in as its owner, or give it the table"
            " (ALTER TABLE … OWNER TO …)"
        )
    if lock:
        connection.exec_driver_sql(f"LOCK TABLE {row.name} IN ACCESS EXCLUSIVE MODE")
    if row.forced:
        connection.exec_driver_sql(_OPEN.format(row.name))
    return OldTable(row.name, row.oid, tuple(row.columns))


def _read(connection: sa.Connection, table: OldTable) -> list[Json]:
    """The rows, as far as we know the columns."""
    own_columns = [column for column in _COLUMNS[table.name][0] if column in table.columns]
    pairs = ", ".join(f"'{column}', to_jsonb(old.{column})" for column in own_columns)
    rows = connection.execute(sa.text(f"SELECT jsonb_build_object({pairs}) FROM {table.name} AS old"))
    return list(rows.scalars())


def _notes(connection: sa.Connection, tables: Sequence[OldTable]) -> list[str]:
    """What of the old tables stays with them."""
    notes = []
    for table in tables:
        own = ("id", "updated_at")
        extra = [column for column in table.columns if column not in (*_COLUMNS[table.name][0], *own)]
        if extra:
            notes.append(f"columns that only {table.aside} keeps: {', '.join(extra)}")
        leftovers = connection.execute(sa.text(_LEFT_BEHIND), {"oid": table.oid}).scalars().all()
        if leftovers:
            notes.append(f"what goes on referring to {table.aside}: {', '.join(leftovers)}")
    return notes


def _revoke_and_rename(connection: sa.Connection, kind: str, name: str) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    if kind == "SEQUENCE":
        oid = connection.execute(sa.text("SELECT to_regclass(:name)::oid::bigint"), {"name": quote(name)}).scalar_one()
        for grantee in connection.execute(sa.text(_GRANTEES), {"oid": oid}).scalars().all():
            connection.exec_driver_sql(f"REVOKE ALL ON SEQUENCE {quote(name)} FROM {grantee} CASCADE")
    connection.exec_driver_sql(f"ALTER {kind} {quote(name)} RENAME TO {quote(_free_name(connection, name))}")


def _free_name(connection: sa.Connection, name: str) -> str:
    number = 1
    while True:
        suffix = SUFFIX if number == 1 else f"{SUFFIX}_{number}"
        base = name.encode()[: _LONGEST_NAME - len(suffix)].decode(errors="ignore")
        if not _found(connection, [base + suffix]):
            return base + suffix
        number += 1


def _parameters(model: Any) -> dict[str, Any]:
    row = model.row
    return {
        "id": model.id,
        "matcha_llm_id": row.matcha_llm_id,
        "model_name": row.model_name,
        "model_key": row.model_key,
        "provider": row.provider,
        "capabilities": json.dumps(dict(row.capabilities), ensure_ascii=False),
        "is_active": row.is_active,
        "is_default": row.is_default,
        "display_order": row.display_order,
        "created_at": model.created_at,
        "last_synced_at": model.last_synced_at,
        "missed_syncs": row.missed_syncs,
        "overrides": json.dumps(row.overrides, ensure_ascii=False),
        "provenance": json.dumps(row.provenance, ensure_ascii=False, default=dict),
    }
