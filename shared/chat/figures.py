"""What metrics show of chats: totals of all time, and how many are open now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa

from shared.chat.counting import OUTCOMES, SUMMED_BUCKETS, reason_and_key
from shared.chat.dispatch import WAITS

OVERDUE_SECONDS = 5.0
"""An open chat so long past its deadline should have been ended by somebody."""

UNKNOWN_OUTCOME = "unknown"


@dataclass(frozen=True, slots=True)
class Figures:
    """What metrics show of chats. Totals are of all time and never fall; `buckets` are not cumulative."""

    outcomes: dict[tuple[str, str], int]
    """(model key, status) -> chats ended; the status is `unknown` for what the system before this one counted"""
    fallbacks: dict[str, int]
    """reason -> chats ended"""
    open: dict[str, int]
    """status -> chats open now"""
    oldest_queued_seconds: float
    """of those that do not wait for the gateway; without lines of batches, which may wait long"""
    waiting_for_upstream: int
    past_deadline: int
    """open chats more than OVERDUE_SECONDS past their deadline"""
    buckets: tuple[int, ...]
    latency_ms: int
    requested: dict[tuple[str, str], int] = field(default_factory=dict)
    """(reason, model key that was asked for, DEFAULT or OTHER) -> chats ended; fewer than `fallbacks` where chats ended
    before this was counted"""


def _all_of(column: str) -> sa.TextClause:
    # Adds the numbers of a column of JSON up over all models: all of llm_usage_totals, so no index.
    return sa.text(f"""
        SELECT what, sum(number::bigint)::bigint AS number
        FROM llm_usage_totals, jsonb_each_text({column}) AS each (what, number) GROUP BY what ORDER BY what
    """)


# Selects how the chats of each model ended: all of llm_usage_totals, a row for each model, so no index.
_TOTALS = sa.text("""
    SELECT model_key, successes, failures, cancelled, expired,
      request_count - successes - failures - cancelled - expired FROM llm_usage_totals
""")


# Adds the latencies of all models up: all of llm_usage_totals, so no index.
_LATENCY = sa.text(f"SELECT coalesce(sum(latency_ms), 0)::bigint, {SUMMED_BUCKETS} FROM llm_usage_totals")


def figures(connection: sa.Connection) -> Figures:
    """The figures of chats, for metrics. They cost the same however many days and finished chats there are."""
    outcomes: dict[tuple[str, str], int] = {}
    for key, *counts, unknown in connection.execute(_TOTALS):
        outcomes |= {(key, status): number for status, number in zip(OUTCOMES, counts, strict=True)}
        if unknown:
            outcomes[key, UNKNOWN_OUTCOME] = unknown
    fallbacks = {row.what: row.number for row in connection.execute(_all_of("fallbacks"))}
    requested = {reason_and_key(what): number for what, number in connection.execute(_all_of("requested"))}
    latency_ms, buckets = connection.execute(_LATENCY).one()
    # A chat whose pause is over, and which nobody dispatches, waits for a worker.
    # Counts open chats by llm_chats_queued, llm_chats_running and llm_chats_waiting_for_upstream. The oldest is found
    # by llm_chats_turn, llm_chats_dispatched and llm_chats_paused: lines of batches that wait cost nothing.
    waiting = connection.execute(
        sa.text(f"""
            SELECT (SELECT count(*) FROM llm_chats WHERE status = 'queued'),
              (SELECT count(*) FROM llm_chats WHERE status = 'running'),
              (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM (
                 SELECT created_at FROM llm_chats WHERE class = 'interactive' AND {WAITS}
                 UNION ALL SELECT created_at FROM llm_chats WHERE class = 'interactive' AND status = 'queued'
                   AND dispatched_at IS NOT NULL AND finished_at IS NULL AND waiting_for IS DISTINCT FROM 'upstream'
                 UNION ALL SELECT created_at FROM llm_chats WHERE class = 'interactive' AND status = 'queued'
                   AND waiting_for <> 'upstream') AS waiting),
              (SELECT count(*) FROM llm_chats WHERE status = 'queued' AND waiting_for = 'upstream'),
              (SELECT count(*) FROM llm_chats WHERE status = 'queued' AND deadline_at < now() - :overdue)
              + (SELECT count(*) FROM llm_chats WHERE status = 'running' AND deadline_at < now() - :overdue)
        """),
        {"overdue": timedelta(seconds=OVERDUE_SECONDS)},
    ).one()
    return Figures(
        outcomes=outcomes,
        fallbacks=fallbacks,
        requested=requested,
        open={"queued": waiting[0], "running": waiting[1]},
        oldest_queued_seconds=float(waiting[2]),
        waiting_for_upstream=waiting[3],
        past_deadline=waiting[4],
        buckets=tuple(buckets),
        latency_ms=latency_ms,
    )
