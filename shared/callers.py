"""Callers: the limits that some have of their own, and what each has open, has running and has asked today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import sqlalchemy as sa
import structlog
from pydantic import BaseModel, ConfigDict, Field

from shared.chat.dispatch import LEAST_WEIGHT
from shared.settings import MAX_INTEGER, Settings

log = structlog.get_logger(__name__)

MAX_SUBJECT: Final = 255
"""Characters."""
MAX_WEIGHT: Final = 1_000_000
LISTED: Final = 1000
"""Callers in a list, where nobody asks for another number."""

_Limit = Annotated[int | None, Field(ge=1, le=MAX_INTEGER)]


class CallerEdit(BaseModel):
    """Limits of one caller. A field that is absent stays, null drops the caller's own value."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_open: Annotated[_Limit, Field(description="Chats open at the same time; null: as CALLER_MAX_OPEN")] = None
    max_running: Annotated[_Limit, Field(description="Chats that run; null: as CALLER_MAX_RUNNING")] = None
    per_minute: Annotated[
        _Limit, Field(description="Chats asked within a minute; null: as CALLER_REQUESTS_PER_MINUTE")
    ] = None
    weight: Annotated[
        float | None,
        Field(
            ge=LEAST_WEIGHT,
            le=MAX_WEIGHT,
            allow_inf_nan=False,
            description="The share of places among callers; null: 1",
        ),
    ] = None

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that were given."""
        return {name: getattr(self, name) for name in LIMITS if name in self.model_fields_set}


LIMITS: Final = ("max_open", "max_running", "per_minute", "weight")
"""Columns of llm_callers, fields of the API and options of the command."""


@dataclass(frozen=True, slots=True)
class CallerList:
    """Callers, those with the most open chats first, and how many there are."""

    callers: list[dict[str, Any]]
    total: int


# Sets the limits of a caller, by llm_callers_pkey.
_SET = f"""
INSERT INTO llm_callers AS own (subject, {", ".join(LIMITS)})
VALUES (%(subject)s, {", ".join(f"%({name})s" for name in LIMITS)})
ON CONFLICT (subject) DO UPDATE SET
  {", ".join(f"{name} = CASE WHEN %(set_{name})s THEN excluded.{name} ELSE own.{name} END" for name in LIMITS)}
"""

# Deletes the row of a caller without a limit of its own, by llm_callers_pkey.
_DROP_EMPTY = f"DELETE FROM llm_callers WHERE subject = %(subject)s AND num_nonnulls({', '.join(LIMITS)}) = 0"


def set_limits(connection: sa.Connection, subject: str, edit: CallerEdit, *, actor: str, role: str) -> dict[str, Any]:
    """Set or drop limits of a caller, whether it was ever seen or not; returns its line.

    What it has open stays open where its limit is now lower.
    """
    changes = edit.changes
    values = {"subject": subject} | {name: changes.get(name) for name in LIMITS}
    values |= {f"set_{name}": name in changes for name in LIMITS}
    if changes:
        connection.exec_driver_sql(_SET, values)
        connection.exec_driver_sql(_DROP_EMPTY, values)
        log.info("llm_caller.limits_set", message="Limits of a caller were set", caller=subject, **changes,
                 subject=actor, role=role)  # fmt: skip
    return list_callers(connection, limit=1, subject=subject).callers[0]


# Selects callers with limits of their own (llm_callers_pkey), with open chats (llm_chats_open) or with chats that ended
# today (llm_caller_usage_day), those with the most open chats first.
_LIST = f"""
WITH open AS (
  SELECT subject, count(*) FILTER (WHERE class = 'interactive') AS open,
    count(*) FILTER (WHERE status = 'running') AS running, count(*) AS all_open,
    extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'queued'))::float8 AS longest_wait_seconds
  FROM llm_chats WHERE finished_at IS NULL AND (%(subject)s::text IS NULL OR subject = %(subject)s) GROUP BY subject),
ended AS (
  SELECT subject, sum(request_count)::bigint AS number FROM llm_caller_usage
  WHERE day = (now() AT TIME ZONE 'UTC')::date AND (%(subject)s::text IS NULL OR subject = %(subject)s)
  GROUP BY subject),
own AS (SELECT * FROM llm_callers WHERE %(subject)s::text IS NULL OR subject = %(subject)s),
wanted AS (SELECT %(subject)s::text AS subject WHERE %(subject)s::text IS NOT NULL)
SELECT subject, {", ".join(LIMITS)}, coalesce(open, 0) AS open, coalesce(running, 0) AS running,
  coalesce(ended.number, 0) + coalesce(all_open, 0) AS requests_today, longest_wait_seconds,
  count(*) OVER () AS total
FROM open FULL JOIN ended USING (subject) FULL JOIN own USING (subject) FULL JOIN wanted USING (subject)
ORDER BY coalesce(open, 0) DESC, coalesce(ended.number, 0) DESC, subject
LIMIT %(limit)s
"""


def list_callers(connection: sa.Connection, *, limit: int = LISTED, subject: str | None = None) -> CallerList:
    """Callers with limits of their own, open chats or chats that ended today (UTC); or one caller, whatever it has.

    `requests_today`: those that ended today and those that are open. `open` leaves the lines of batches out, which no
    limit counts. A limit that is None follows the settings.
    """
    rows = connection.exec_driver_sql(_LIST, {"limit": limit, "subject": subject}).mappings().all()
    shown = [{name: value for name, value in row.items() if name != "total"} for row in rows]
    return CallerList(shown, rows[0]["total"] if rows else 0)


def defaults_of(settings: Settings) -> Mapping[str, Any]:
    """The limits of callers without limits of their own."""
    return {
        "max_open": settings.caller_max_open,
        "max_running": settings.caller_max_running,
        "per_minute": settings.caller_requests_per_minute,
        "weight": 1.0,
    }
