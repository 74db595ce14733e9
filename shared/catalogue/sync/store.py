"""The statements that read and write the catalogue. Set-based: their number does not grow with the models."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.rows import MAPPING, MATCHAAI, ModelRow
from shared.models import llm_models

SHOWN = (
    llm_models.c.id,
    llm_models.c.matcha_llm_id,
    llm_models.c.model_name,
    llm_models.c.model_key,
    llm_models.c.provider,
    llm_models.c.capabilities,
    llm_models.c.is_active,
    llm_models.c.is_default,
    llm_models.c.display_order,
)
"""What the listing shows of a model."""


@dataclass(frozen=True, slots=True)
class Version:
    """The one row of `llm_catalogue_version`, and the database's time when it was locked."""

    version: int
    last_synced_at: datetime | None
    source: str | None
    settled_inputs: str | None
    settled_version: int | None
    now: datetime


_COLUMNS = (
    "matcha_llm_id, model_name, model_key, provider, capabilities, is_active, is_default, display_order,"
    " missed_syncs, last_missed_at, overrides, provenance"
)


# Locks and reads the one row of llm_catalogue_version; a table of one row needs no index.
_LOCK = sa.text(
    "SELECT version, last_synced_at, source, settled_inputs, settled_version, now()"
    " FROM llm_catalogue_version FOR UPDATE"
)


def lock(connection: sa.Connection) -> Version:
    """Lock the catalogue for writing until the transaction ends.

    Everyone who writes models takes this first: syncs and operators' edits do not overwrite each other, and ids of the
    ledger become visible in their order, so that a cursor over them skips none.
    """
    return Version(*connection.execute(_LOCK).one())


# Selects all model rows in the order of llm_models_matcha_llm_id_key.
_ROWS = sa.text(f"SELECT {_COLUMNS} FROM llm_models ORDER BY matcha_llm_id")


def read_rows(connection: sa.Connection) -> list[ModelRow]:
    """All model rows, by upstream's id."""
    return [ModelRow(*row) for row in connection.execute(_ROWS)]


def retired_keys(connection: sa.Connection) -> dict[str, str]:
    """Keys that no row holds any more -> the name of the model that each meant last."""
    # Selects the last line of each key that no row holds, in the order of llm_model_changes_key_before.
    rows = connection.execute(
        sa.text("""
            SELECT DISTINCT ON (before ->> 'model_key') before ->> 'model_key', before ->> 'upstream_name'
            FROM llm_model_changes old
            WHERE before ? 'model_key' AND before ? 'upstream_name'
              AND NOT EXISTS (SELECT FROM llm_models WHERE model_key = old.before ->> 'model_key')
            ORDER BY before ->> 'model_key', id DESC
        """)
    )
    return {row[0]: row[1] for row in rows}


def now(connection: sa.Connection) -> datetime:
    """The database's time, which leases, grace and stamps go by."""
    moment: datetime = connection.execute(sa.text("SELECT now()")).scalar_one()
    return moment


def unpromised_ids(connection: sa.Connection, source: str) -> frozenset[int]:
    """Ids of the rows that a source has never listed itself: while MatchaAI is asked, those of the mapping alone."""
    if source != MATCHAAI:
        return frozenset()
    # Selects the rows that the mapping alone has listed; it reads all models, as a sync does anyway.
    never = sa.select(llm_models.c.matcha_llm_id).where(llm_models.c.listed_by == MAPPING)
    return frozenset(connection.execute(never).scalars())


# Inserts or updates these model rows in one statement; finds the old ones by llm_models_matcha_llm_id_key.
_WRITE = f"""
INSERT INTO llm_models AS old ({_COLUMNS}, last_synced_at, listed_by)
SELECT id, name, key, provider, capabilities::jsonb, active, is_default, display_order,
       missed, missed_at, overrides::jsonb, provenance::jsonb, CASE WHEN listed THEN now() END, %s::text
FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bool[], %s::bool[], %s::int[],
            %s::int[], %s::timestamptz[], %s::text[], %s::text[], %s::bool[])
  AS new (id, name, key, provider, capabilities, active, is_default, display_order,
          missed, missed_at, overrides, provenance, listed)
ON CONFLICT (matcha_llm_id) DO UPDATE SET
  model_name = excluded.model_name, model_key = excluded.model_key, provider = excluded.provider,
  capabilities = excluded.capabilities, is_active = excluded.is_active, is_default = excluded.is_default,
  display_order = excluded.display_order, missed_syncs = excluded.missed_syncs,
  last_missed_at = excluded.last_missed_at, overrides = excluded.overrides, provenance = excluded.provenance,
  last_synced_at = coalesce(excluded.last_synced_at, old.last_synced_at),
  listed_by = CASE WHEN excluded.last_synced_at IS NOT NULL AND excluded.listed_by = '{MATCHAAI}' THEN '{MATCHAAI}'
                   ELSE old.listed_by END
"""


def write_rows(
    connection: sa.Connection, rows: Mapping[int, ModelRow], listed_ids: Collection[int], *, source: str | None = None
) -> None:
    """Write these rows; those that are listed are stamped as synced. `source`: who listed them, None for an edit."""
    if not rows:
        return
    default = next((row.matcha_llm_id for row in rows.values() if row.is_default), None)
    if default is not None:
        # At most one default at any moment: the index cannot wait for the end of a statement.
        take = sa.text("UPDATE llm_models SET is_default = false WHERE is_default AND matcha_llm_id <> :id")
        connection.execute(take, {"id": default})
    columns = _columns(rows.values(), listed_ids)
    connection.exec_driver_sql(_WRITE, (source, *columns))


def _columns(rows: Iterable[ModelRow], listed_ids: Collection[int]) -> Iterable[str]:
    dumps = json_encoder()
    lines = [
        (
            row.matcha_llm_id,
            row.model_name,
            row.model_key,
            row.provider,
            dumps(row.capabilities),
            row.is_active,
            row.is_default,
            row.display_order,
            row.missed_syncs,
            row.last_missed_at,
            dumps(row.overrides),
            dumps(row.provenance),
            row.matcha_llm_id in listed_ids,
        )
        for row in rows
    ]
    return (text_array(column) for column in zip(*lines, strict=True))


def text_array(values: Iterable[object]) -> str:
    """A PostgreSQL array as text (manual, 8.15.6). psycopg makes one value by value, which takes five times as long."""
    return "{" + ",".join(["NULL" if value is None else _quoted(str(value)) for value in values]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def json_encoder() -> Any:
    """A function that makes JSON text of a value, a mapping of any kind too."""
    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode


def touch(connection: sa.Connection, ids: Collection[int], *, source: str) -> None:
    """Stamp rows that stay as they are as synced, and as listed by this source."""
    if ids:
        promised = f", listed_by = '{MATCHAAI}'" if source == MATCHAAI else ""
        # Stamps these rows, by llm_models_matcha_llm_id_key.
        connection.exec_driver_sql(
            f"UPDATE llm_models SET last_synced_at = now(){promised} WHERE matcha_llm_id = ANY(%s::int[])",
            (list(ids),),
        )


def touch_settled(connection: sa.Connection) -> int:
    """Stamp the rows that the last sync saw as synced again; returns their number."""
    # Stamps the rows that the last sync stamped; it reads all models.
    again = sa.text(
        "UPDATE llm_models SET last_synced_at = now()"
        " WHERE last_synced_at = (SELECT last_synced_at FROM llm_catalogue_version)"
    )
    return connection.execute(again).rowcount


def mark_synced(connection: sa.Connection, *, source: str, settled_inputs: str | None) -> None:
    """Note a good sync. `settled_inputs` digests what it was made of; None when the same may bring more later."""
    # Writes the one row of llm_catalogue_version.
    connection.execute(
        sa.text(
            "UPDATE llm_catalogue_version SET last_synced_at = now(), source = :source,"
            " settled_inputs = :inputs, settled_version = version"
        ),
        {"source": source, "inputs": settled_inputs},
    )


def shown_row(connection: sa.Connection, matcha_llm_id: int) -> dict[str, Any]:
    """One row as operators see it: the listing's columns, its overrides and provenance."""
    # Selects one model row, by llm_models_matcha_llm_id_key.
    columns = (*SHOWN, llm_models.c.overrides, llm_models.c.provenance)
    query = sa.select(*columns).where(llm_models.c.matcha_llm_id == matcha_llm_id)
    return dict(connection.execute(query).mappings().one())


def any_model(connection: sa.Connection) -> bool:
    """Whether the table holds a row."""
    # Says whether there is a row: it reads one.
    return bool(connection.execute(sa.text("SELECT EXISTS (SELECT FROM llm_models)")).scalar_one())
