"""The statements behind `/metrics` and `llm-refresh doctor`: how the system stands, as PostgreSQL knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shared.catalogue.sync.holds import open_hold
from shared.chat.dispatch import HAS_PLACE, LIVING_PLACES, START_WINDOW_SECONDS, WAITS
from shared.models import metadata
from shared.roles import ROLES
from shared.vocabulary import CHANGE_KINDS, ENDED_RUNS, GOOD_RUNS, RUN_TRIGGERS

OTHER = "other"
"""The label of a key that neither the catalogue nor its ledger knows: labels stay as many as there are models."""


@dataclass(frozen=True, slots=True)
class CatalogueFigures:
    """What metrics show of the catalogue. Totals are of all time and never fall."""

    runs: Mapping[tuple[str, str], int]
    """(status, trigger) -> attempts that ended"""
    last_run: str | None
    """the status of the run that ended last"""
    failed_in_a_row: int
    """attempts that failed since the last good one"""
    age_seconds: float
    """since the last good sync, or since the migration while there has been none"""
    models: Mapping[tuple[str, str], int]
    """(active or inactive, provider) -> model rows"""
    changes: Mapping[str, int]
    """kind -> lines of the ledger"""
    promotions: int
    notices_waiting: int
    undecided_holds: int
    """1 while a held list waits for a decision, whatever failed after it"""


# Counts the attempts of all runs by outcome and trigger; it reads the table of runs, which is short. A night is tried
# again in its own row, and what its earlier attempts came to is counted as failed: a total must never fall. For the
# same reason an abandoned night counts as failed from the beginning.
_RUNS = """
SELECT status, trigger, sum(number)::bigint FROM (
  SELECT CASE WHEN status = 'abandoned' AND scheduled_for IS NOT NULL THEN 'failed' ELSE status END AS status,
         trigger, count(*) AS number
  FROM llm_sync_runs WHERE status = ANY(:ended) GROUP BY 1, 2
  UNION ALL
  SELECT 'failed', trigger, sum(attempt - CASE WHEN status = 'queued' THEN 0 ELSE 1 END)
  FROM llm_sync_runs WHERE attempt > CASE WHEN status = 'queued' THEN 0 ELSE 1 END GROUP BY 2
) AS counted GROUP BY 1, 2
"""


# Selects how the run that ended last ended; it sorts the table of runs, which is short.
_LAST_RUN = """
SELECT status FROM llm_sync_runs WHERE status = ANY(:ended) ORDER BY finished_at DESC, id DESC LIMIT 1
"""


# Adds up the attempts that failed since the last good run; it reads the table of runs.
_FAILED_IN_A_ROW = """
SELECT coalesce(sum(CASE WHEN status IN ('failed', 'abandoned', 'queued') THEN attempt ELSE attempt - 1 END), 0)::int
FROM llm_sync_runs
WHERE status <> ALL(:good) AND attempt > 0
  AND coalesce(finished_at, started_at) > coalesce(
    (SELECT max(finished_at) FROM llm_sync_runs WHERE status = ANY(:good)), '-infinity')
"""


# Counts the defaults that a sync put in the place of a lost one, a scan of the ledger whose inner looks use
# llm_model_changes_pkey and llm_model_changes_run_id. The first default ever does not count, nor an operator's that
# came back (there the old one gives it up in the same run).
_PROMOTIONS = """
SELECT count(*) FROM llm_model_changes AS new
WHERE kind = 'default' AND run_id IS NOT NULL AND (after ->> 'is_default')::boolean
  AND EXISTS (SELECT FROM llm_model_changes WHERE id < new.id AND (after ->> 'is_default')::boolean)
  AND NOT EXISTS (SELECT FROM llm_model_changes AS given_up WHERE given_up.run_id = new.run_id
                  AND given_up.kind = 'default' AND NOT (given_up.after ->> 'is_default')::boolean)
"""


# Counts open notices, by llm_notices_waiting.
_NOTICES_WAITING = "SELECT count(*) FROM llm_notices WHERE ended_at IS NULL"


def of_catalogue(connection: sa.Connection) -> CatalogueFigures:
    """The figures of the catalogue, as of now."""
    ended, good = {"ended": list(ENDED_RUNS)}, {"good": list(GOOD_RUNS)}
    runs: dict[tuple[str, str], int] = {(status, trigger): 0 for status in ENDED_RUNS for trigger in RUN_TRIGGERS}
    runs |= {(status, trigger): number for status, trigger, number in connection.execute(sa.text(_RUNS), ended)}
    # Counts the model rows by state and provider; it reads all of them.
    by_provider = sa.text(
        "SELECT CASE WHEN is_active THEN 'active' ELSE 'inactive' END, provider, count(*) FROM llm_models GROUP BY 1, 2"
    )
    # Counts the lines of the ledger by kind; it reads all of them.
    by_kind = sa.text("SELECT kind, count(*) AS number FROM llm_model_changes GROUP BY kind")
    # Selects the age of the catalogue from the one row of llm_catalogue_version.
    age = sa.text("SELECT extract(epoch FROM now() - coalesce(last_synced_at, watermark)) FROM llm_catalogue_version")
    return CatalogueFigures(
        runs=runs,
        last_run=connection.execute(sa.text(_LAST_RUN), ended).scalar(),
        failed_in_a_row=connection.execute(sa.text(_FAILED_IN_A_ROW), good).scalar_one(),
        age_seconds=float(connection.execute(age).scalar_one()),
        models={(state, provider): number for state, provider, number in connection.execute(by_provider)},
        changes=dict.fromkeys(CHANGE_KINDS, 0) | {row.kind: row.number for row in connection.execute(by_kind)},
        promotions=connection.execute(sa.text(_PROMOTIONS)).scalar_one(),
        notices_waiting=connection.execute(sa.text(_NOTICES_WAITING)).scalar_one(),
        undecided_holds=int(open_hold(connection) is not None),
    )


# Selects those of these keys that a model has (llm_models_model_key_key) or had (llm_model_changes_key_before).
_KNOWN_KEYS = """
SELECT key FROM unnest(CAST(:keys AS text[])) AS key
WHERE EXISTS (SELECT FROM llm_models WHERE model_key = key)
   OR EXISTS (SELECT FROM llm_model_changes WHERE before ? 'model_key' AND before ->> 'model_key' = key)
"""


def known_keys(connection: sa.Connection, keys: list[str]) -> set[str]:
    """Those of these keys that the catalogue or its ledger knows."""
    return set(connection.execute(sa.text(_KNOWN_KEYS), {"keys": keys}).scalars())


@dataclass(frozen=True, slots=True)
class LoginRights:
    """Who DATABASE_URL logs in as, and what of it would walk past the policies."""

    name: str
    is_superuser: bool
    bypasses_policies: bool
    owns: list[str]
    """tables of ours whose owner it is, or may become"""
    missing_roles: list[str]
    open_tables: list[str]
    """tables of ours without row level security"""


def login(connection: sa.Connection) -> LoginRights:
    """The login of this connection, looked at before it takes any role."""
    # Selects the login's rights from PostgreSQL's own catalogues.
    row = connection.execute(
        sa.text("""
            SELECT me.rolname, me.rolsuper, me.rolbypassrls,
              ARRAY(SELECT relname::text FROM pg_class t WHERE relkind = 'r' AND relname = ANY(:tables)
                    AND relnamespace = to_regnamespace(current_schema())
                    AND pg_has_role(me.oid, t.relowner, 'MEMBER') ORDER BY 1),
              ARRAY(SELECT wanted FROM unnest(CAST(:roles AS text[])) AS wanted
                    WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = wanted
                                      AND pg_has_role(me.oid, r.oid, 'MEMBER')) ORDER BY 1),
              ARRAY(SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname = ANY(:tables)
                    AND relnamespace = to_regnamespace(current_schema())
                    AND to_regclass('llm_catalogue_version') IS NOT NULL  -- else they are the system's before this one
                    AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1)
            FROM pg_roles me WHERE me.rolname = session_user
        """),
        {"tables": [*metadata.tables, "llm_refresh_version"], "roles": list(ROLES)},
    ).one()
    return LoginRights(*row)


def clock(connection: sa.Connection) -> datetime:
    """The database's clock, now rather than at the beginning of the transaction."""
    # Selects the clock, from no table.
    moment: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return moment


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """What `doctor` looks at: the catalogue, its last runs, and rows that do not move."""

    active_models: int
    has_default: bool
    age_seconds: float
    ever_synced: bool
    last_run: str | None
    last_error: str | None
    runs_without_lease: int
    """running, with a lease that ended more than a minute ago"""
    runs_waiting: int
    """queued for more than ten minutes although due"""
    chats_without_lease: int
    chats_waiting: int
    """queued for more than a minute, neither for the gateway nor fairly for their turn; without lines of batches"""
    chats_in_line: int
    """that wait for their turn, for more than a minute the oldest; without lines of batches, which may wait long"""
    oldest_in_line_seconds: float
    places: int
    """of the chat processes that live, or as many as the gateway takes"""
    chats_past_deadline: int
    """open more than some seconds past their deadline, although each worker's upkeep ends such"""
    notices_waiting: int
    """not delivered ten minutes after they were written"""


def read_status(
    connection: sa.Connection, *, max_parallel: int | None = None, requests_per_minute: int | None = None
) -> SystemStatus:
    """How the rows stand. `max_parallel`, `requests_per_minute`: what the gateway takes; None: any number."""
    # Counts what does not move: models by idx_llm_models_active, chats by llm_chats_queued, llm_chats_running and
    # llm_chats_dispatched, calls by llm_call_starts_started_at, notices by llm_notices_waiting; the table of runs is
    # short. A chat fairly waits while no place is free, while the gateway takes no more calls this minute, while the
    # line moves, or while its caller has a place: then it may have no more of them.
    row = connection.execute(
        sa.text(f"""
            WITH loads AS MATERIALIZED (
              SELECT subject, count(*) AS number, max(dispatched_at) AS latest FROM llm_chats WHERE {HAS_PLACE}
              GROUP BY subject),
            places AS MATERIALIZED (SELECT least(({LIVING_PLACES}), CAST(:max_parallel AS bigint)) AS number),
            queued AS MATERIALIZED (
              SELECT created_at, dispatched_at, waiting_for = 'limit' OR {WAITS} AND places.number > 0 AND (
                  places.number <= (SELECT coalesce(sum(number), 0) FROM loads)
                  OR (SELECT count(*) FROM llm_call_starts
                      WHERE started_at > now() - make_interval(secs => {START_WINDOW_SECONDS}))
                    >= CAST(:requests_per_minute AS bigint)
                  OR (SELECT max(latest) FROM loads) > now() - interval '1 minute'
                  OR subject IN (SELECT subject FROM loads)) IS TRUE AS in_line
              FROM llm_chats CROSS JOIN places
              WHERE status = 'queued' AND class = 'interactive' AND created_at < now() - interval '1 minute'
                AND waiting_for IS DISTINCT FROM 'upstream'),
            in_line AS MATERIALIZED (
              SELECT count(*) AS number, extract(epoch FROM now() - min(created_at))::float AS seconds FROM queued
              WHERE in_line)
            SELECT (SELECT count(*) FROM llm_models WHERE is_active),
              EXISTS (SELECT FROM llm_models WHERE is_default),
              extract(epoch FROM now() - coalesce(last_synced_at, watermark))::float,
              last_synced_at IS NOT NULL,
              last.status, last.error_code || ': ' || last.error_detail,
              (SELECT count(*) FROM llm_sync_runs
               WHERE status = 'running' AND lease_until < now() - interval '1 minute'),
              (SELECT count(*) FROM llm_sync_runs
               WHERE status = 'queued' AND greatest(created_at, finished_at) < now() - interval '10 minutes'),
              (SELECT count(*) FROM llm_chats
               WHERE status = 'running' AND lease_until < now() - interval '1 minute'),
              (SELECT count(*) FROM queued WHERE in_line IS NOT TRUE
               AND coalesce(dispatched_at, created_at) < now() - interval '1 minute'),
              (SELECT number FROM in_line), (SELECT coalesce(seconds, 0) FROM in_line), (SELECT number FROM places),
              (SELECT count(*) FROM llm_chats
               WHERE status IN ('queued', 'running') AND deadline_at < now() - interval '10 seconds'),
              (SELECT count(*) FROM llm_notices
               WHERE ended_at IS NULL AND created_at < now() - interval '10 minutes')
            FROM llm_catalogue_version LEFT JOIN LATERAL (
              SELECT status, error_code, error_detail FROM llm_sync_runs WHERE status = ANY(:ended)
              ORDER BY finished_at DESC, id DESC LIMIT 1) AS last ON true
        """),
        {"ended": list(ENDED_RUNS), "max_parallel": max_parallel, "requests_per_minute": requests_per_minute},
    ).one()
    return SystemStatus(*row)


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A transaction that has kept rows of a table of ours for longer than any of ours does."""

    pid: int
    login: str
    application: str
    table: str


def lock_holders(connection: sa.Connection) -> list[LockHolder]:
    """Who may keep chats and runs from moving: transactions of this login ten seconds old, and of others of any age."""
    # Selects the locks on both tables from pg_locks, which shows those of every login. pg_stat_activity shows another
    # login's backend without the beginning of its transaction. Readers (AccessShareLock) hold nobody up.
    rows = connection.execute(
        sa.text("""
            SELECT DISTINCT pid, usename::text, application_name, relation::regclass::text
            FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE relation IN (to_regclass('llm_chats'), to_regclass('llm_sync_runs'))
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND granted AND mode <> 'AccessShareLock' AND pid <> pg_backend_pid() AND usename IS NOT NULL
              AND coalesce(xact_start < clock_timestamp() - interval '10 seconds', true) ORDER BY 4, 1
        """)
    )
    return [LockHolder(*row) for row in rows]


def takes_writes(connection: sa.Connection) -> bool:
    """Whether the server lets this login write: it is no standby, and no administrator has switched writing off."""
    row = connection.exec_driver_sql("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')").one()
    return not row[0] and row[1] == "off"


def spill_to_disk(connection: sa.Connection) -> None:
    """Let the server write some megabytes to its disk that end with the statement: so a full one is found.

    Needs no right, and leaves nothing behind. Raises what a write raises there.
    """
    connection.exec_driver_sql("SET LOCAL work_mem = '64kB'")
    connection.exec_driver_sql("SELECT count(*) FROM generate_series(1, 100000)")
