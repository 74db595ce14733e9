"""What metrics show of waiting: how long ended chats had waited for their turn, and who waits now."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from shared.chat.counting import BUCKETS_MS
from shared.chat.dispatch import HAS_PLACE, LIVING_PLACES, WAITS
from shared.vocabulary import CHAT_CLASSES, ChatClass


@dataclass(frozen=True, slots=True)
class WaitFigures:
    """What metrics show of waiting, by class. The histogram is of all time and never falls."""

    buckets: dict[ChatClass, tuple[int, ...]]
    """by BUCKETS_MS, not cumulative"""
    wait_ms: dict[ChatClass, int]
    longest_seconds: dict[ChatClass, float]
    """of the chats that wait for their turn now; 0: none does"""
    callers_waiting: int
    """callers with such a chat"""
    places: int = 0
    """of the chat processes that live"""
    places_taken: int = 0


_SUMMED = ", ".join(f"sum(buckets[{place}])::bigint" for place in range(1, len(BUCKETS_MS) + 2))

# Adds up what connections have counted: all of llm_chat_waits, 32 rows at most, so no index.
_HISTOGRAMS = sa.text(f"SELECT class, sum(wait_ms)::bigint, {_SUMMED} FROM llm_chat_waits GROUP BY class")

# Selects the age of the oldest chat of a class that waits for its turn, by llm_chats_queued; whether there is one comes
# from llm_chats_turn.
_LONGEST = sa.text(f"""
    SELECT extract(epoch FROM now() - created_at) FROM llm_chats
    WHERE {WAITS} AND class = :class AND EXISTS (SELECT FROM llm_chats WHERE {WAITS} AND class = :class)
    ORDER BY created_at LIMIT 1
""")

# Counts the callers with a chat that waits for its turn: it jumps from one to the next on llm_chats_turn.
_CALLERS = sa.text(f"""
    WITH RECURSIVE waiting AS (
      (SELECT class, subject FROM llm_chats WHERE {WAITS} ORDER BY class, subject LIMIT 1)
      UNION ALL
      SELECT following.class, following.subject FROM waiting CROSS JOIN LATERAL (
        SELECT class, subject FROM llm_chats
        WHERE {WAITS} AND (class, subject) > (waiting.class, waiting.subject)
        ORDER BY class, subject LIMIT 1) AS following)
    SELECT count(DISTINCT subject) FROM waiting
""")


# Counts the places of living processes, and the chats that have one, by llm_chats_dispatched.
_PLACES = sa.text(f"SELECT ({LIVING_PLACES})::int, (SELECT count(*) FROM llm_chats WHERE {HAS_PLACE})")


def wait_figures(connection: sa.Connection) -> WaitFigures:
    """The figures of waiting, for metrics."""
    buckets: dict[ChatClass, tuple[int, ...]] = dict.fromkeys(CHAT_CLASSES, (0,) * (len(BUCKETS_MS) + 1))
    wait_ms: dict[ChatClass, int] = dict.fromkeys(CHAT_CLASSES, 0)
    for chat_class, milliseconds, *numbers in connection.execute(_HISTOGRAMS):
        buckets[chat_class], wait_ms[chat_class] = tuple(numbers), milliseconds
    longest = {each: connection.execute(_LONGEST, {"class": each}).scalar() or 0 for each in CHAT_CLASSES}
    return WaitFigures(
        buckets,
        wait_ms,
        {each: float(seconds) for each, seconds in longest.items()},
        int(connection.execute(_CALLERS).scalar_one()),
        *connection.execute(_PLACES).one(),
    )
