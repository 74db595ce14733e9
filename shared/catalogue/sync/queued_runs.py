"""The statements over `llm_sync_runs` that queue a run, publish it, and say whether one is due."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.models import llm_sync_runs as runs
from shared.vocabulary import GOOD_RUNS, RunTrigger

REPUBLISH_SECONDS = 30.0
"""After this the message of a run that is still queued is taken for lost, and published again."""
REFUSAL_PAUSE_SECONDS = 600.0
"""Refusals of models ask for one refresh in this time."""


def enqueue(
    connection: sa.Connection,
    *,
    run_id: uuid.UUID,
    trigger: RunTrigger,
    options: Mapping[str, Any],
    source: str,
    actor: str,
    request_id: str | None,
    task_id: str | None,
    is_published: bool = True,
) -> tuple[uuid.UUID, str, bool]:
    """Queue a run, or join the queued one with the same options; returns its id, task id, and whether it is new.

    `source`: the one that it will ask, as far as its sender knows.
    `is_published`: its message is under way; else upkeep publishes one at its next round.
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
            "pause": REPUBLISH_SECONDS if is_published else 0.0,
        },
    ).one()
    return row.id, row.task_id, row.id == run_id


def enqueue_night(
    connection: sa.Connection, *, run_id: uuid.UUID, trigger: RunTrigger, due: datetime, task_id: str | None, actor: str
) -> tuple[uuid.UUID, bool]:
    """Queue the run of one night, `due` in local time without a zone; returns its id, and whether it is new.

    Without a `task_id` no message is under way yet: upkeep publishes one at its next round.
    """
    # Inserts the run of a night unless it has one (llm_sync_runs_scheduled_for_key).
    insert = sa.text("""
        INSERT INTO llm_sync_runs (id, trigger, scheduled_for, actor, task_id, publish_at)
        VALUES (:id, :trigger, :due, :actor, :task_id,
                now() + make_interval(secs => :pause))
        ON CONFLICT (scheduled_for) DO NOTHING RETURNING id
    """)
    pause = 0.0 if task_id is None else REPUBLISH_SECONDS
    values = {"id": run_id, "trigger": trigger, "due": due, "actor": actor, "task_id": task_id, "pause": pause}
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


def take_unpublished(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Queued runs whose message is due or taken for lost, for publishing; none is taken twice within the pause."""
    # Sets the next publication of queued runs that are due; it reads the table of runs, which is short.
    return connection.execute(
        sa.text("""
            UPDATE llm_sync_runs SET publish_at = now() + make_interval(secs => :pause)
            WHERE id IN (SELECT id FROM llm_sync_runs WHERE status = 'queued' AND publish_at <= now()
                         ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED)
            RETURNING id, options, request_id, trigger
        """),
        {"pause": REPUBLISH_SECONDS},
    ).all()


def publish_soon(connection: sa.Connection, run_id: uuid.UUID) -> None:
    """Let the next round of upkeep publish a queued run."""
    # Makes one queued run due for publication, by llm_sync_runs_pkey.
    waiting = runs.update().where(runs.c.id == run_id, runs.c.status == "queued")
    connection.execute(waiting.values(publish_at=sa.func.now()))


def ever_succeeded(connection: sa.Connection) -> bool:
    """Whether a sync has ever been applied."""
    # Says whether any run was good; it reads the table of runs up to the first.
    return bool(connection.execute(sa.select(sa.exists().where(runs.c.status.in_(GOOD_RUNS)))).scalar_one())


# Selects the newest good run that says which source was set up: runs that named another one on purpose do not. It sorts
# the table of runs, which is short; no index has finished_at.
_LAST_SOURCE = """
SELECT source, finished_at FROM llm_sync_runs
WHERE status = ANY(:good) AND (source = :configured OR (source IS NOT NULL AND NOT options ? 'source'))
ORDER BY finished_at DESC LIMIT 1
"""


def source_changed(connection: sa.Connection, configured: str) -> bool:
    """Whether the last good run asked another source than the one that is set up now; False where there was none."""
    row = connection.execute(sa.text(_LAST_SOURCE), {"good": list(GOOD_RUNS), "configured": configured}).first()
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
            {"good": list(GOOD_RUNS), "configured": configured},
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
