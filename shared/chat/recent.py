"""How the chats of the last minutes and of the last hour ended: what `llm-refresh doctor` judges them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class ChatEndings:
    """How chats ended of late; those that their callers cancelled do not count."""

    last_hour: Mapping[str, int]
    """code -> chats that failed or expired in the last hour"""
    ended_last_hour: int
    failed_lately: int
    """failed or expired in the last 15 minutes"""
    ended_lately: int
    last_failed_at: datetime | None
    failing_now: Mapping[str, int] = field(default_factory=dict)
    """code -> chats that failed or expired in the last five minutes"""
    by_model: Mapping[str, int] = field(default_factory=dict)
    """model_key -> chats that failed or expired in the last hour"""
    good_since: int = 0
    """succeeded since the last failure, where that is a minute ago; else 0"""


def chat_endings(connection: sa.Connection) -> ChatEndings:
    """How the chats of the last hour ended."""
    # Counts the chats that ended in the last hour by cause and model, by llm_chats_finished.
    rows = connection.execute(
        sa.text("""
            WITH ended AS (
              SELECT CASE WHEN status <> 'succeeded' THEN coalesce(error_code, status) END AS code, model_key,
                finished_at
              FROM llm_chats
              WHERE finished_at > now() - interval '1 hour' AND status IN ('succeeded', 'failed', 'expired')
            ), last AS (SELECT max(finished_at) AS failed_at FROM ended WHERE code IS NOT NULL)
            SELECT code, model_key, count(*) AS number,
              count(*) FILTER (WHERE finished_at > now() - interval '15 minutes') AS lately,
              count(*) FILTER (WHERE finished_at > now() - interval '5 minutes') AS now,
              count(*) FILTER (WHERE finished_at > last.failed_at
                               AND last.failed_at < now() - interval '1 minute') AS since,
              max(finished_at) AS last_at
            FROM ended CROSS JOIN last GROUP BY 1, 2
        """)
    ).all()
    failures = [row for row in rows if row.code is not None]
    by_code, by_model, failing_now = Counter[str](), Counter[str](), Counter[str]()
    for row in failures:
        by_code[row.code] += row.number
        by_model[row.model_key] += row.number
        failing_now[row.code] += row.now
    return ChatEndings(
        last_hour=dict(by_code),
        ended_last_hour=sum(row.number for row in rows),
        failed_lately=sum(row.lately for row in failures),
        ended_lately=sum(row.lately for row in rows),
        last_failed_at=max((row.last_at for row in failures), default=None),
        failing_now=dict(+failing_now),
        by_model=dict(by_model),
        good_since=sum(row.since for row in rows if row.code is None),
    )


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """The chats of the last 15 minutes that another model than the requested one had."""

    ended: int
    """chats that ended in this time, those of the requested model too"""
    fallbacks: int
    most: Sequence[tuple[str, str, int]]
    """the requested name, the reason, and how many: the most frequent first, three at most"""


def fallbacks(connection: sa.Connection) -> Fallbacks:
    """Which names are asked for in vain."""
    # Counts the chats that ended in the last 15 minutes by requested name, by llm_chats_finished.
    rows = connection.execute(
        sa.text("""
            SELECT CASE WHEN fallback_reason IS NOT NULL
                   THEN coalesce(left(requested_model, 60), 'the default') END AS requested,
              fallback_reason, count(*) AS number
            FROM llm_chats
            WHERE finished_at > now() - interval '15 minutes' AND status IN ('succeeded', 'failed', 'expired')
            GROUP BY 1, 2 ORDER BY 3 DESC, 1
        """)
    ).all()
    fallen_back = [(row.requested, row.fallback_reason, row.number) for row in rows if row.fallback_reason is not None]
    return Fallbacks(
        ended=sum(row.number for row in rows), fallbacks=sum(number for *_, number in fallen_back), most=fallen_back[:3]
    )
