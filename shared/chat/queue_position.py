"""Where a waiting chat stands: roughly how many go before it by the order of `shared.chat.dispatch`, and why it waits.

The line is read as a whole and shared by everybody who asks within a second; of a chat's own caller only those before
it are counted. Both are bounded: of a long line the place is a lower bound.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from shared.chat.dispatch import (
    CALLERS_AT_ONCE,
    HAS_PLACE,
    LEAST_WEIGHT,
    LIVING_PLACES,
    START_WINDOW_SECONDS,
    WAITS,
    DispatchLimits,
)
from shared.vocabulary import WaitingFor

OWN_AHEAD: Final = 1000
OTHERS_AHEAD: Final = 100
"""So many chats are counted of the same caller, and of each other caller."""


@dataclass(frozen=True, slots=True)
class CallerInLine:
    """What is known of a caller: places taken, chats that wait (counted up to a bound), and the oldest of those."""

    load: int = 0
    weight: float = 1.0
    max_running: int | None = None
    waiting: int = 0
    oldest: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits. `limited`: no place is given away at the moment because the gateway takes no more calls."""

    callers: Mapping[str, CallerInLine] = field(default_factory=dict)
    limited: bool = False


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """Where a chat stands: 1 has the next turn."""

    position: int
    waiting_for: WaitingFor


def position_of(line: Line, chat_id: uuid.UUID, subject: str, *, ahead: int) -> QueuePosition:
    """Where a chat stands that has so many of its own caller's before it."""
    own = line.callers.get(subject, CallerInLine())
    share = (own.load + ahead) / own.weight
    before = ahead
    for name, other in line.callers.items():
        if name == subject:
            continue
        number = math.ceil(share * other.weight - other.load)
        if number >= 0 and (other.load + number) / other.weight == share and _is_older(other.oldest, chat_id):
            number += 1
        most = other.waiting if other.max_running is None else min(other.waiting, other.max_running - other.load)
        before += max(0, min(number, most))
    held = own.max_running is not None and own.load + ahead >= own.max_running
    return QueuePosition(before + 1, "limit" if held or line.limited else "turn")


def _is_older(oldest: uuid.UUID | None, chat_id: uuid.UUID) -> bool:
    return oldest is not None and oldest < chat_id


# Selects callers that wait, so many at most, by jumps on llm_chats_turn, with what they have (llm_chats_dispatched).
_CALLERS = f"""
WITH RECURSIVE
loads AS MATERIALIZED (SELECT subject, count(*) AS number FROM llm_chats WHERE {HAS_PLACE} GROUP BY subject),
callers (subject, place) AS (
  (SELECT subject, 1 FROM llm_chats WHERE {WAITS} AND class = 'interactive' ORDER BY subject LIMIT 1)
  UNION ALL
  SELECT found.subject, callers.place + 1 FROM callers CROSS JOIN LATERAL (
    SELECT subject FROM llm_chats WHERE {WAITS} AND class = 'interactive' AND subject > callers.subject
    ORDER BY subject LIMIT 1) AS found
  WHERE callers.place < {CALLERS_AT_ONCE})
SELECT callers.subject, coalesce(loads.number, 0) AS load, greatest(coalesce(own.weight, 1), {LEAST_WEIGHT}) AS weight,
  coalesce(own.max_running, %(max_running)s::int) AS max_running,
  (SELECT count(*) FROM (SELECT FROM llm_chats WHERE {WAITS} AND class = 'interactive'
     AND subject = callers.subject LIMIT {OTHERS_AHEAD}) AS counted) AS waiting,
  (SELECT id FROM llm_chats WHERE {WAITS} AND class = 'interactive' AND subject = callers.subject
     ORDER BY id LIMIT 1) AS oldest
FROM callers LEFT JOIN loads ON loads.subject = callers.subject
LEFT JOIN llm_callers AS own ON own.subject = callers.subject
"""

# Says whether a limit of the gateway's is reached, by llm_chats_dispatched and llm_call_starts_started_at.
_LIMITED = f"""
SELECT coalesce(%(max_parallel)s::int < ({LIVING_PLACES})
    AND (SELECT count(*) FROM llm_chats WHERE {HAS_PLACE}) >= %(max_parallel)s::int, false)
  OR coalesce((SELECT count(*) FROM llm_call_starts
     WHERE started_at > now() - make_interval(secs => {START_WINDOW_SECONDS})) >= %(per_minute)s::int, false)
"""


def read_line(connection: sa.Connection, limits: DispatchLimits) -> Line:
    """Who waits at the moment."""
    values = {
        "max_running": limits.caller_max_running,
        "max_parallel": limits.max_parallel,
        "per_minute": limits.requests_per_minute,
    }
    rows = connection.exec_driver_sql(_CALLERS, values).all()
    limited = connection.exec_driver_sql(_LIMITED, values).scalar_one()
    callers = {
        row.subject: CallerInLine(row.load, row.weight, row.max_running, row.waiting, row.oldest) for row in rows
    }
    return Line(callers, bool(limited))


# Counts chats of one caller that have their turn before a chat, so many at most, by llm_chats_turn.
_AHEAD = f"""
SELECT count(*) FROM (SELECT FROM llm_chats WHERE {WAITS} AND class = 'interactive' AND subject = %s AND id < %s
                      LIMIT {OWN_AHEAD}) AS counted
"""


def count_ahead(connection: sa.Connection, chat_id: uuid.UUID, subject: str) -> int:
    """How many chats of its own caller have their turn before this one."""
    return int(connection.exec_driver_sql(_AHEAD, (subject, chat_id)).scalar_one())
