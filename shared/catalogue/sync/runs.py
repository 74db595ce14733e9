"""The statements over `llm_sync_runs`: queue, claim, close, find."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from shared.db import DatabaseError
from shared.models import llm_sync_runs as runs

Trigger = Literal["schedule", "api", "cli", "task", "startup", "catch-up", "refusal"]
REFUSAL_PAUSE_SECONDS = 600.0
"""Refusals of models ask for one refresh in this time."""
LEASE_SECONDS = 180
"""Longer than the longest fetch and the longest apply together, both of which have their own bounds."""
ENDED = ("succeeded", "partial", "held", "failed", "abandoned")
GOOD = ("succeeded", "partial")
MAX_ERRORS_KEPT = 200
_UNIQUE_VIOLATION = "23505"


_earlier = runs.alias("earlier")
_DISMISSED_BEFORE = (
    sa.select(sa.func.jsonb_build_object("at", _earlier.c.dismissed_at, "by", _earlier.c.dismissed_by))
    .where(
        runs.c.status == "held",
        _earlier.c.dismissed_at < runs.c.created_at,
        _earlier.c.held["sha256"].astext == runs.c.held["sha256"].astext,
    )
    .order_by(_earlier.c.dismissed_at.desc())
    .limit(1)
    .scalar_subquery()
)
_COLUMNS = (*runs.c, _DISMISSED_BEFORE.label("dismissed_before"))


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A run that is ours: whoever writes for it says its attempt, and writes nothing once that is no longer true."""

    run_id: uuid.UUID
    attempt: int
    trigger: str
    options: Mapping[str, Any]
    actor: str
    request_id: str | None


class FenceLost(Exception):
    """The run is no longer ours: its lease ran out and it was abandoned, or it is running again elsewhere."""


def enqueue(
    connection: sa.Connection,
    *,
    run_id: uuid.UUID,
    trigger: Trigger,
    options: Mapping[str, Any],
    source: str,
    actor: str,
    request_id: str | None,
    task_id: str | None,
    publish_pause_seconds: float,
) -> tuple[uuid.UUID, str, bool]:
    """Queue a run, or join the queued one with the same options; returns its id, task id, and whether it is new.

    `source`: the one that it will ask, as far as its sender knows.
    `publish_pause_seconds`: how long upkeep waits before it takes the message for lost and publishes again.
    """
    # Inserts a run, or joins the queued one with the same options (llm_sync_runs_one_queued).
    insert = sa.text("""
        INSERT INTO llm_sync_runs (id, trigger, options, source, actor, request_id, task_id, publish_at)
        VALUES (:id, :trigger, CAST(:options AS jsonb), :source, :actor, :request_id, :task_id,
                now() + make_interval(secs => :pause))
        ON CONFLICT (options) WHERE status = 'queued' AND scheduled_for IS NULL
          DO UPDATE SET task_id = coalesce(llm_sync_runs.task_id, excluded.task_id)
        RETURNING id, task_id
    """)
    row = connection.execute(
        insert,
        {
            "id": run_id,
            "trigger": trigger,
            "options": json.dumps(options, sort_keys=True),
            "source": source,
            "actor": actor,
            "request_id": request_id,
            "task_id": task_id,
            "pause": publish_pause_seconds,
        },
    ).one()
    return row.id, row.task_id, row.id == run_id


def enqueue_night(
    connection: sa.Connection, *, run_id: uuid.UUID, trigger: Trigger, due: datetime, task_id: str | None, actor: str
) -> tuple[uuid.UUID, bool]:
    """Queue the run of one night, `due` in local time without a zone; returns its id, and whether it is new.

    Without a `task_id` no message is under way yet: upkeep publishes one at its next round.
    """
    # Inserts the run of a night unless it has one (llm_sync_runs_scheduled_for_key).
    insert = sa.text("""
        INSERT INTO llm_sync_runs (id, trigger, scheduled_for, actor, task_id, publish_at)
        VALUES (:id, :trigger, :due, :actor, :task_id,
                now() + CASE WHEN CAST(:task_id AS text) IS NULL THEN interval '0' ELSE interval '30 seconds' END)
        ON CONFLICT (scheduled_for) DO NOTHING RETURNING id
    """)
    values = {"id": run_id, "trigger": trigger, "due": due, "actor": actor, "task_id": task_id}
    if connection.execute(insert, values).first() is not None:
        return run_id, True
    # Selects the run of a night, by llm_sync_runs_scheduled_for_key.
    existing_id = connection.execute(sa.select(runs.c.id).where(runs.c.scheduled_for == due)).scalar_one()
    return existing_id, False


# Says whether a model was refused since the last good sync and no refusal has asked for a run of late; it reads
# llm_models and llm_sync_runs, which are short, without an index.
_REFUSAL_DUE = sa.text("""
    SELECT EXISTS (
      SELECT FROM llm_models WHERE is_active AND unknown_upstream_at > greatest(
        (SELECT last_synced_at FROM llm_catalogue_version),
        (SELECT max(created_at) FROM llm_sync_runs WHERE trigger = 'refusal'), '-infinity'))
    AND NOT EXISTS (SELECT FROM llm_sync_runs
      WHERE trigger = 'refusal' AND created_at > now() - make_interval(secs => :pause))
""")


# Lets one process at a time ask: an advisory lock, no index.
_ONE_ASKS = sa.text("SELECT pg_advisory_xact_lock(7293450128892)")


def enqueue_after_refusal(connection: sa.Connection, *, run_id: uuid.UUID, source: str | None) -> bool:
    """Queue a run when the gateway has refused a model since the last good sync; returns whether it is new.

    Each refusal asks for one run at most, and all of them together for one in REFUSAL_PAUSE_SECONDS, however many
    processes look: a run that fails or is held is not repeated until a chat is refused again.
    """
    pause = {"pause": REFUSAL_PAUSE_SECONDS}
    if not connection.execute(_REFUSAL_DUE, pause).scalar_one():
        return False
    connection.execute(_ONE_ASKS)
    if not connection.execute(_REFUSAL_DUE, pause).scalar_one():
        return False
    # Inserts a run unless one with the same options is queued (llm_sync_runs_one_queued).
    insert = sa.text("""
        INSERT INTO llm_sync_runs (id, trigger, source, actor) VALUES (:id, 'refusal', :source, 'upkeep')
        ON CONFLICT (options) WHERE status = 'queued' AND scheduled_for IS NULL DO NOTHING RETURNING id
    """)
    return connection.execute(insert, {"id": run_id, "source": source}).first() is not None


def claim(
    connection: sa.Connection, run_id: uuid.UUID, *, task_id: str | None, configured_source: str
) -> RunClaim | None:
    """Make a queued run ours; None when it is not queued any more, or while another run is running.

    `configured_source`: the one that is asked where the run names none; it stands in the row whatever comes of it.
    Raises DatabaseError (SQLSTATE 23505) when another became the running one at the same moment: try again.
    """
    # Makes a queued run the running one, by llm_sync_runs_pkey; llm_sync_runs_one_running allows one.
    row = connection.execute(
        sa.text("""
            UPDATE llm_sync_runs SET status = 'running', attempt = attempt + 1, started_at = now(),
              finished_at = NULL, error_code = NULL, error_detail = NULL,
              source = coalesce(options ->> 'source', :source),
              lease_until = now() + make_interval(secs => :lease), task_id = coalesce(task_id, :task_id)
            WHERE id = :id AND status = 'queued'
              AND NOT EXISTS (SELECT FROM llm_sync_runs WHERE status = 'running')
            RETURNING id, attempt, trigger, options, actor, request_id
        """),
        {"id": run_id, "lease": LEASE_SECONDS, "task_id": task_id, "source": configured_source},
    ).first()
    return None if row is None else RunClaim(*row)


def is_race(error: DatabaseError) -> bool:
    """Whether a claim failed only because another run became the running one at the same moment."""
    return error.sqlstate == _UNIQUE_VIOLATION and error.constraint == "llm_sync_runs_one_running"


def hold_fence(connection: sa.Connection, claim: RunClaim) -> None:
    """Lock the run until the transaction ends. Raises FenceLost where it is no longer ours."""
    # Locks a run while the attempt is its own, by llm_sync_runs_pkey.
    row = connection.execute(
        sa.select(runs.c.id)
        .where(runs.c.id == claim.run_id, runs.c.attempt == claim.attempt, runs.c.status == "running")
        .with_for_update()
    ).first()
    if row is None:
        raise FenceLost(f"run {claim.run_id}, attempt {claim.attempt}, is no longer running here")


def close(connection: sa.Connection, claim: RunClaim, status: str, **values: Any) -> None:
    """End a run that is ours. Raises FenceLost."""
    # Ends a run while the attempt is its own, by llm_sync_runs_pkey.
    result = connection.execute(
        runs.update()
        .where(runs.c.id == claim.run_id, runs.c.attempt == claim.attempt, runs.c.status == "running")
        .values(status=status, finished_at=sa.func.clock_timestamp(), lease_until=None, **values)
    )
    if result.rowcount != 1:
        raise FenceLost(f"run {claim.run_id}, attempt {claim.attempt}, is no longer running here")


def close_queued(connection: sa.Connection, run_id: uuid.UUID, *, code: str, detail: str) -> bool:
    """End as failed a run that a task asked for and that has not begun; False where it has, or others ask for it."""
    # Ends one queued run of a task as failed, by llm_sync_runs_pkey.
    waiting = runs.update().where(runs.c.id == run_id, runs.c.status == "queued", runs.c.trigger == "task")
    failed = waiting.values(
        status="failed", finished_at=sa.func.clock_timestamp(), error_code=code, error_detail=detail
    )
    return connection.execute(failed).rowcount == 1


def abandon_expired(connection: sa.Connection) -> Sequence[uuid.UUID]:
    """End runs whose worker died: their lease is over and nobody closed them. Returns their ids."""
    # Ends the run whose lease ran out, by llm_sync_runs_one_running.
    dead = connection.execute(
        sa.text("""
            UPDATE llm_sync_runs SET status = 'abandoned', finished_at = now(), lease_until = NULL,
              error_code = 'abandoned', error_detail = 'the worker that ran it stopped without a word'
            WHERE status = 'running' AND lease_until < now() RETURNING id
        """)
    )
    return dead.scalars().all()


def requeue_nights(connection: sa.Connection, *, attempts: int, base_seconds: float) -> Sequence[uuid.UUID]:
    """Queue failed and abandoned nightly runs again, in the same row, with growing pauses, up to `attempts`."""
    # Queues the newest night again, found by llm_sync_runs_scheduled_for_key, while it has attempts left.
    again = connection.execute(
        sa.text("""
            UPDATE llm_sync_runs SET status = 'queued', publish_at = now()
            WHERE scheduled_for IS NOT NULL AND status IN ('failed', 'abandoned') AND attempt < :attempts
              AND scheduled_for = (SELECT max(scheduled_for) FROM llm_sync_runs)
              AND finished_at < now() - make_interval(secs => :base * power(4, greatest(attempt, 1) - 1))
            RETURNING id
        """),
        {"attempts": attempts, "base": base_seconds},
    )
    return again.scalars().all()


def take_unpublished(connection: sa.Connection, *, pause_seconds: float) -> Sequence[sa.Row[Any]]:
    """Queued runs whose message is due or taken for lost, for publishing; none is taken twice within the pause."""
    # Sets the next publication of queued runs that are due; it reads the table of runs, which is short.
    return connection.execute(
        sa.text("""
            UPDATE llm_sync_runs SET publish_at = now() + make_interval(secs => :pause)
            WHERE id IN (SELECT id FROM llm_sync_runs WHERE status = 'queued' AND publish_at <= now()
                         ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED)
            RETURNING id, options, request_id, trigger
        """),
        {"pause": pause_seconds},
    ).all()


def publish_soon(connection: sa.Connection, run_id: uuid.UUID) -> None:
    """Let the next round of upkeep publish a queued run."""
    # Makes one queued run due for publication, by llm_sync_runs_pkey.
    waiting = runs.update().where(runs.c.id == run_id, runs.c.status == "queued")
    connection.execute(waiting.values(publish_at=sa.func.now()))


def status_of(connection: sa.Connection, run_id: uuid.UUID) -> str | None:
    """The status of a run; None where there is no such run."""
    # Selects the status of one run, by llm_sync_runs_pkey.
    return connection.execute(sa.select(runs.c.status).where(runs.c.id == run_id)).scalar_one_or_none()


def find(connection: sa.Connection, run_id: uuid.UUID) -> dict[str, Any] | None:
    """One run, as the API shows it."""
    # Selects one run, by llm_sync_runs_pkey.
    row = connection.execute(sa.select(*_COLUMNS).where(runs.c.id == run_id)).mappings().first()
    return None if row is None else _shown(row)


def find_by_task(connection: sa.Connection, task_id: str) -> dict[str, Any] | None:
    """The run that a Celery task of this id was sent for, or carried out."""
    # Selects the newest run of a task, by llm_sync_runs_task_id.
    query = sa.select(*_COLUMNS).where(runs.c.task_id == task_id).order_by(runs.c.created_at.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else _shown(row)


def newest(connection: sa.Connection, *, limit: int, before: uuid.UUID | None = None) -> list[dict[str, Any]]:
    """Runs, newest first, those older than the run `before`."""
    # Selects runs, the newest first, by llm_sync_runs_newest.
    query = sa.select(*_COLUMNS).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    if before is not None:
        mark = sa.select(runs.c.created_at, runs.c.id).where(runs.c.id == before).subquery()
        query = query.where(
            sa.tuple_(runs.c.created_at, runs.c.id) < sa.select(mark.c.created_at, mark.c.id).scalar_subquery()
        )
    return [_shown(row) for row in connection.execute(query).mappings()]


def ever_good(connection: sa.Connection) -> bool:
    """Whether a sync has ever been applied."""
    # Says whether any run was good; it reads the table of runs up to the first.
    return bool(connection.execute(sa.select(sa.exists().where(runs.c.status.in_(GOOD)))).scalar_one())


# Selects the newest good run that says which source was set up: runs that named another one on purpose do not. It sorts
# the table of runs, which is short; no index has finished_at.
_LAST_SOURCE = """
SELECT source, finished_at FROM llm_sync_runs
WHERE status = ANY(:good) AND (source = :configured OR (source IS NOT NULL AND NOT options ? 'source'))
ORDER BY finished_at DESC LIMIT 1
"""


def source_changed(connection: sa.Connection, configured: str) -> bool:
    """Whether the last good run asked another source than the one that is set up now; False where there was none."""
    row = connection.execute(sa.text(_LAST_SOURCE), {"good": list(GOOD), "configured": configured}).first()
    return row is not None and row.source != configured


def source_tried(connection: sa.Connection, configured: str) -> bool:
    """Whether a run, however it ended, has asked this source since the last good run that asked another one."""
    # Says whether a run has asked this source since; it reads the table of runs, which is short.
    return bool(
        connection.execute(
            sa.text(f"""
                SELECT EXISTS (SELECT FROM llm_sync_runs, ({_LAST_SOURCE}) AS last
                               WHERE llm_sync_runs.source = :configured AND created_at > last.finished_at)
            """),
            {"good": list(GOOD), "configured": configured},
        ).scalar_one()
    )


def followed_source(connection: sa.Connection, *, pause_seconds: float) -> bool:
    """Whether upkeep has refreshed for a new source within the pause: processes may be set up differently."""
    # Says whether upkeep has asked for a run of late; it reads the table of runs, which is short.
    return bool(
        connection.execute(
            sa.text("""
                SELECT EXISTS (SELECT FROM llm_sync_runs WHERE trigger = 'startup' AND actor = 'upkeep'
                               AND created_at > now() - make_interval(secs => :pause))
            """),
            {"pause": pause_seconds},
        ).scalar_one()
    )


def night_missing(connection: sa.Connection, due: datetime, *, due_at: datetime, skew_seconds: float) -> bool:
    """Whether the night `due` (local; the instant `due_at`) is over, came after the migration, and has no run."""
    # Compares a night with the one row of llm_catalogue_version, and looks for its run by
    # llm_sync_runs_scheduled_for_key.
    return bool(
        connection.execute(
            sa.text("""
                SELECT :due_at < now() - make_interval(secs => :skew) AND :due_at > watermark
                  AND NOT EXISTS (SELECT FROM llm_sync_runs WHERE scheduled_for = :due)
                FROM llm_catalogue_version
            """),
            {"due": due, "due_at": due_at, "skew": skew_seconds},
        ).scalar_one()
    )


def _shown(row: sa.RowMapping) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "trigger": row["trigger"],
        "scheduled_for": row["scheduled_for"],
        "status": row["status"],
        "source": row["source"],
        "options": row["options"],
        "counts": row["counts"],
        "errors": row["errors"],
        "held": row["held"],
        "dismissed": None if row["dismissed_at"] is None else {"at": row["dismissed_at"], "by": row["dismissed_by"]},
        "dismissed_before": row["dismissed_before"],
        "error": None if row["error_code"] is None else {"code": row["error_code"], "detail": row["error_detail"]},
        "fetch_ms": row["fetch_ms"],
        "plan_ms": row["plan_ms"],
        "apply_ms": row["apply_ms"],
        "upstream_sha256": row["upstream_sha256"],
        "task_id": row["task_id"],
        "request_id": row["request_id"],
        "actor": row["actor"],
        "attempt": row["attempt"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
    }
