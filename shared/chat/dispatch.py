"""Whose turn it is: waiting chats are dispatched in a fair order, no more of them than there are places.

A queued chat waits in its row alone. It is dispatched when there is a place for it: then one message is sent for it. A
place belongs to a chat from its dispatch to its end, or until its lease ends: rows are counted, nothing is kept. The
order is the class, then the caller with the fewest places for its weight, then age.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from shared.settings import Settings
from shared.vocabulary import CHAT_CLASSES, ChatClass

MESSAGE_SECONDS: Final = 5.0
"""After this a dispatched chat that nobody claimed counts as one whose message may be lost."""
CALLERS_AT_ONCE: Final = 200
"""So many callers are compared in one turn, by rotation where more wait: a turn costs the same for 10,000."""
CHATS_AT_ONCE: Final = 100
LEAST_WEIGHT: Final = 0.001
"""A lower weight in a row counts as this one: places divided by it might overflow, and that would halt every chat."""
_LOCK: Final = 7293450128892
"""Of whoever counts places and gives them away; the function `llm_admit_chat` takes the same one."""

WAITS: Final = "status = 'queued' AND dispatched_at IS NULL AND waiting_for IS NULL"
"""The condition of chats that wait for their turn (llm_chats_turn); those with a later `publish_at` pause."""
HAS_PLACE: Final = (
    "dispatched_at IS NOT NULL AND finished_at IS NULL AND (status = 'queued' OR lease_until IS NULL"
    " OR lease_until > now())"
)
"""The condition of chats that take a place (llm_chats_dispatched): a lease that ends gives it back by itself."""
LIVING_PLACES: Final = "SELECT coalesce(sum(places), 0) FROM llm_chat_processes WHERE lease_until > now()"
"""The places of the chat processes that live."""


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """What holds chats back beside places; None: nothing does.

    `caller_max_running`: the most places of one caller, unless it has a limit of its own. `max_parallel`,
    `requests_per_minute`: what the gateway takes, from all processes together.
    """

    caller_max_running: int | None = None
    max_parallel: int | None = None
    requests_per_minute: int | None = None


NO_LIMITS: Final = DispatchLimits()


def dispatch_limits_of(settings: Settings) -> DispatchLimits:
    """What holds chats back beside places."""
    return DispatchLimits(
        settings.caller_max_running, settings.matchaai_max_parallel, settings.matchaai_requests_per_minute
    )


@dataclass(frozen=True, slots=True)
class DispatchedChat:
    """A chat whose message is to be sent; `first`: no message was sent for it before."""

    chat_id: uuid.UUID
    request_id: str | None
    first: bool


@dataclass(frozen=True, slots=True)
class DispatchTurn:
    """What one turn did.

    `waiting`: chats waited when it began. `busy`: another process gives places away just now, so nothing was done.
    `after`: the caller after whom the next turn begins; `again`: it may begin at once, for there was more to do.
    """

    dispatched: tuple[DispatchedChat, ...] = ()
    waiting: bool = False
    busy: bool = False
    after: str = ""
    again: bool = False


# Looks whether any chat waits, by llm_chats_turn, and takes the lock then: NULL where none does. Whoever holds it and
# does nothing loses it: a process that was stopped halfway must not halt every chat.
_BEGIN = f"""
SELECT set_config('idle_in_transaction_session_timeout', '3s', true), set_config('enable_seqscan', 'off', true),
  CASE WHEN EXISTS (SELECT FROM llm_chats WHERE {WAITS} AND publish_at <= now())
    THEN pg_try_advisory_xact_lock({_LOCK}) END
"""


def _next_caller(condition: str) -> str:
    return f"""
      SELECT subject FROM llm_chats WHERE {WAITS} AND class = %(class)s AND {condition} ORDER BY subject LIMIT 1"""


# Chooses chats of one class and marks them as dispatched. It jumps from caller to caller on llm_chats_turn, from the
# one after %(after)s on and around, and reads there no more rows of each than it may take; the places that are taken
# come from llm_chats_dispatched. What it costs depends on neither the rows nor the callers that wait. The n-th chat
# of a caller competes as if the n - 1 before it had been given their places.
_DISPATCH = f"""
WITH RECURSIVE
loads AS MATERIALIZED (SELECT subject, count(*) AS number FROM llm_chats WHERE {HAS_PLACE} GROUP BY subject),
places AS MATERIALIZED (SELECT ({LIVING_PLACES})::int AS number),
room AS MATERIALIZED (
  SELECT least(CASE WHEN number > 0 THEN number + 1 + number / 10 ELSE 0 END, %(max_parallel)s::int)
      - (SELECT coalesce(sum(number), 0) FROM loads) AS places
  FROM places),
budget AS MATERIALIZED (
  SELECT greatest(0, least({CHATS_AT_ONCE}, room.places, %(per_minute)s::int
    - CASE WHEN %(per_minute)s::int IS NULL THEN NULL ELSE
        (SELECT count(*) FROM llm_call_starts WHERE started_at > now() - make_interval(secs => %(window)s))
        + (SELECT count(*) FROM llm_chats WHERE dispatched_at IS NOT NULL AND finished_at IS NULL AND status = 'queued')
      END))::int AS number
  FROM room),
onward (subject, place) AS (
  (SELECT found.subject, 1 FROM ({_next_caller("subject > %(after)s")}) AS found
   WHERE (SELECT number FROM budget) > 0)
  UNION ALL
  SELECT found.subject, onward.place + 1
  FROM onward CROSS JOIN LATERAL ({_next_caller("subject > onward.subject")}) AS found
  WHERE onward.place < {CALLERS_AT_ONCE}),
around (subject, place) AS (
  (SELECT found.subject, (SELECT count(*)::int FROM onward) + 1
   FROM ({_next_caller("subject <= %(after)s")}) AS found
   WHERE (SELECT number FROM budget) > 0 AND (SELECT count(*) FROM onward) < {CALLERS_AT_ONCE})
  UNION ALL
  SELECT found.subject, around.place + 1
  FROM around CROSS JOIN LATERAL ({_next_caller("subject > around.subject AND subject <= %(after)s")}) AS found
  WHERE around.place < {CALLERS_AT_ONCE}),
compared AS MATERIALIZED (SELECT * FROM onward UNION ALL SELECT * FROM around),
candidates AS (
  SELECT head.id,
    (coalesce(loads.number, 0) + head.nth - 1) / greatest(coalesce(own.weight, 1), {LEAST_WEIGHT}) AS share
  FROM budget CROSS JOIN compared
  LEFT JOIN loads ON loads.subject = compared.subject
  LEFT JOIN llm_callers AS own ON own.subject = compared.subject
  CROSS JOIN LATERAL (
    SELECT id, row_number() OVER (ORDER BY id) AS nth FROM (
      SELECT id FROM llm_chats
      WHERE {WAITS} AND class = %(class)s AND subject = compared.subject AND publish_at <= now()
      ORDER BY id LIMIT greatest(0, least(
        budget.number, coalesce(own.max_running, %(max_running)s::int) - coalesce(loads.number, 0)))) AS oldest
  ) AS head),
chosen AS (
  SELECT id FROM llm_chats
  WHERE id = ANY(ARRAY(SELECT id FROM candidates ORDER BY share, id LIMIT (SELECT number FROM budget))) AND {WAITS}
  FOR UPDATE SKIP LOCKED),
dispatched AS (
  UPDATE llm_chats SET dispatched_at = now(), publishes = publishes + 1,
    publish_at = now() + make_interval(secs => {MESSAGE_SECONDS})
  WHERE id = ANY(ARRAY(SELECT id FROM chosen))
  RETURNING id, request_id, publishes = 1 AND attempt = 0 AND waiting_since IS NULL AS first)
SELECT dispatched.*, budget.number AS budget,
  CASE WHEN (SELECT count(*) FROM compared) = {CALLERS_AT_ONCE}
    THEN (SELECT subject FROM compared WHERE place = {CALLERS_AT_ONCE}) ELSE '' END AS after
FROM budget LEFT JOIN dispatched ON true
"""
START_WINDOW_SECONDS: Final = 61.0
"""A minute, and what a call may be late by from our count to the gateway's."""


def take_turn(connection: sa.Connection, limits: DispatchLimits, *, after: str = "") -> DispatchTurn:
    """Dispatch the chats whose turn it is; their messages are to be sent once this is committed.

    Of several processes that do this at once one does it, and the others are told that it is busy.
    """
    may_begin = connection.exec_driver_sql(_BEGIN).one()[2]
    if not may_begin:
        return DispatchTurn(waiting=may_begin is not None, busy=may_begin is False, after=after)
    dispatched: list[DispatchedChat] = []
    following = ""
    for chat_class in CHAT_CLASSES:
        rows = _dispatch(connection, chat_class, limits, after)
        chats = [DispatchedChat(row.id, row.request_id, row.first) for row in rows if row.id is not None]
        dispatched += chats
        following = following or rows[0].after
        if rows[0].budget == 0:
            following = following or after  # nobody was looked at
        if len(chats) == rows[0].budget:
            break  # the next class has what is left
    return DispatchTurn(tuple(dispatched), waiting=True, after=following, again=len(dispatched) >= CHATS_AT_ONCE)


def _dispatch(
    connection: sa.Connection, chat_class: ChatClass, limits: DispatchLimits, after: str
) -> list[sa.Row[Any]]:
    values = {
        "class": chat_class,
        "after": after,
        "max_running": limits.caller_max_running,
        "max_parallel": limits.max_parallel,
        "per_minute": limits.requests_per_minute,
        "window": START_WINDOW_SECONDS,
    }
    return list(connection.exec_driver_sql(_DISPATCH, values).all())


# Lets these chats wait for their turn again, where nobody has claimed them, but for one that keeps its place; finds
# them by llm_chats_pkey and skips locked rows.
_TAKE_BACK = """
UPDATE llm_chats SET dispatched_at = CASE WHEN id = %s::uuid THEN dispatched_at END,
  publishes = greatest(publishes - 1, 0), publish_at = now() + make_interval(secs => %s)
WHERE id = ANY(ARRAY(SELECT id FROM llm_chats WHERE id = ANY(%s::uuid[]) AND status = 'queued' FOR UPDATE SKIP LOCKED))
"""


def take_back(
    connection: sa.Connection, chat_ids: Collection[uuid.UUID], *, seconds: float, maybe_sent: uuid.UUID | None = None
) -> None:
    """Let these dispatched chats wait for their turn again, which comes after so many seconds at the earliest.

    `maybe_sent`: the one of them whose message may come nevertheless. It keeps its place, or it would take one more,
    and its message is sent again after as many seconds.
    """
    connection.exec_driver_sql(_TAKE_BACK, (maybe_sent, seconds, list(chat_ids)))
