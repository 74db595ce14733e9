"""The statements over held runs: which list waits for a decision, and its dismissal.

A hold is open from the held run on until a run after it was good or an operator dismissed it; whatever fails meanwhile
does not end it. Of several held runs the newest one counts.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.db import SYSTEM, Caller, Database
from shared.vocabulary import GOOD_RUNS

# Held runs that no good run has followed.
_UNDECIDED = """
FROM llm_sync_runs WHERE status = 'held'
  AND finished_at > coalesce((SELECT max(finished_at) FROM llm_sync_runs WHERE status = ANY(:good)), '-infinity')
"""


class NotHeld(Exception):
    """No list with this sha256, or no such run, is held. `held`: the one that is, None where none is."""

    def __init__(self, text: str, held: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.held = held


@dataclass(frozen=True, slots=True)
class Hold:
    """A list that waits for a decision."""

    run_id: uuid.UUID
    since: datetime
    held: Mapping[str, Any]
    source: str | None


# Selects the newest held run that no good run has followed; it reads the table of runs, which is short.
_NEWEST = sa.text(f"SELECT id, finished_at, held, source, dismissed_at {_UNDECIDED} ORDER BY finished_at DESC LIMIT 1")


def open_hold(connection: sa.Connection) -> Hold | None:
    """The hold that waits for a decision; None where none does."""
    row = connection.execute(_NEWEST, {"good": list(GOOD_RUNS)}).first()
    if row is None or row.dismissed_at is not None:
        return None
    return Hold(row.id, row.finished_at, row.held, row.source)


def is_held(connection: sa.Connection, sha256: str) -> bool:
    """Whether the list with this sha256 is the one that waits for a decision: not an older one, nor a dismissed one."""
    hold = open_hold(connection)
    return hold is not None and hold.held["sha256"] == sha256


def require_held(
    database: Database,
    sha256: str,
    held_now: Callable[[], Mapping[str, Any] | None],
    *,
    caller: Caller = SYSTEM,
) -> None:
    """See that a held list has this sha256: the one that waits for a decision, or the one that a run would hold now.

    `held_now`: what a preview holds; it is called if the waiting list is another one. Raises NotHeld.
    """
    with database.transaction(caller) as connection:
        hold = open_hold(connection)
    waiting = None if hold is None else hold.held
    if waiting is not None and waiting["sha256"] == sha256:
        return
    held = held_now() or waiting
    if held is None or held["sha256"] != sha256:
        raise NotHeld(explain_refusal(sha256, held), held)


# Selects the newest undecided run that held the list with this digest; it reads the table of runs.
_OF_SHA256 = sa.text(f"SELECT id {_UNDECIDED} AND held ->> 'sha256' = :sha256 ORDER BY finished_at DESC LIMIT 1")


def run_of(connection: sa.Connection, sha256: str) -> uuid.UUID | None:
    """The newest undecided run that held the list with this sha256."""
    return connection.execute(_OF_SHA256, {"good": list(GOOD_RUNS), "sha256": sha256}).scalar()


# Dismisses each undecided run that held the same list as this one (llm_sync_runs_pkey): other runs that held the very
# same list are decided with it.
_DISMISS = sa.text(f"""
UPDATE llm_sync_runs SET dismissed_at = now(), dismissed_by = :actor
WHERE dismissed_at IS NULL AND held ->> 'sha256' = (SELECT held ->> 'sha256' FROM llm_sync_runs WHERE id = :id)
  AND id IN (SELECT id {_UNDECIDED})
""")


def dismiss(connection: sa.Connection, run_id: uuid.UUID, *, actor: str) -> None:
    """End a hold without applying it; a second dismissal changes nothing. Raises NotHeld."""
    values = {"good": list(GOOD_RUNS), "id": run_id, "actor": actor}
    if connection.execute(_DISMISS, values).rowcount:
        return
    # Selects how a run stands, by llm_sync_runs_pkey.
    state = connection.execute(
        sa.text("SELECT status, dismissed_at IS NOT NULL AS dismissed FROM llm_sync_runs WHERE id = :id"), values
    ).first()
    if state is not None and state.dismissed:
        return
    hold = open_hold(connection)
    if state is None:
        raise NotHeld(f"there is no run {run_id}", None if hold is None else hold.held)
    if state.status != "held":
        raise NotHeld(f"run {run_id} was not held: it {_ended(state.status)}", None if hold is None else hold.held)
    raise NotHeld(f"run {run_id} is no longer held: a later run was good", None if hold is None else hold.held)


def _ended(status: str) -> str:
    return f"is {status}" if status in ("queued", "running", "partial", "abandoned") else status


def explain_refusal(sha256: str, held: Mapping[str, Any] | None) -> str:
    """Why a force or a dismissal with this sha256 did nothing."""
    named = sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else repr(sha256)
    if held is None:
        return f"no list is held, and so none with the sha256 {named}; nothing was changed"
    return f"no held list has the sha256 {named}: the one that is held has {held['sha256']}; nothing was changed"
