"""The statements over `llm_sync_runs` that claim a run, close it, and find it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from shared.db import DatabaseError
from shared.models import llm_sync_runs as runs

LEASE_SECONDS = 180
"""Longer than the longest fetch and the longest apply together, both of which have their own bounds."""
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
