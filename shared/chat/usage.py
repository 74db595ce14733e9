"""How models are used: counted in the transaction that ends a chat, so that no figure ever falls."""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.draft import MAX_KEY

BUCKETS_MS = (250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 60_000, 120_000, 300_000, 600_000)
"""Upper bounds of the latency histogram; one more bucket holds what took longer."""

OVERDUE_SECONDS = 5.0
"""An open chat so long past its deadline should have been ended by somebody."""

REPORTED_DAYS = 30
"""How far back a refresh's report tells the use of what it removes."""

UNKNOWN_OUTCOME = "unknown"

DEFAULT, OTHER = "default", "other"
"""Stand for what was asked for where no model was named, and where it is no key that a model ever had."""

OUTCOMES = {"succeeded": "successes", "failed": "failures", "cancelled": "cancelled", "expired": "expired"}


_SUMMED_BUCKETS = (
    "ARRAY["
    + ", ".join(f"coalesce(sum(latency_buckets[{place}]), 0)::bigint" for place in range(1, len(BUCKETS_MS) + 2))
    + "]"
)


def _numbers_of(column: str) -> str:
    return f"""
      LEFT JOIN (SELECT model_key, jsonb_object_agg(what, number) AS numbers FROM (
          SELECT model_key, what, sum(number::bigint) AS number
          FROM recent, jsonb_each_text({column}) AS each (what, number)
          WHERE {column} <> '{{}}' GROUP BY model_key, what) AS summed
        GROUP BY model_key) AS {column} USING (model_key)"""


@dataclass(frozen=True, slots=True)
class EndedChat:
    """What is counted of a chat that ended. `upstream_ms` is None when no call brought an answer.

    `requested`: what the chat asked for, in its caller's words; None when it named no model.
    """

    model_key: str
    status: str
    fallback_reason: str | None = None
    upstream_ms: int | None = None
    requested: str | None = None


@dataclass(slots=True)
class _Sum:
    outcomes: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    requested: Counter[str] = field(default_factory=Counter)
    latency_ms: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_MS) + 1))

    def add(self, chat: EndedChat, known_keys: Set[str]) -> None:
        self.outcomes[chat.status] += 1
        if chat.fallback_reason is not None:
            self.fallbacks[chat.fallback_reason] += 1
            requested_key = DEFAULT if chat.requested is None else chat.requested
            label = requested_key if chat.requested is None or requested_key in known_keys else OTHER
            self.requested[f"{chat.fallback_reason} {label}"] += 1
        if chat.upstream_ms is not None and chat.status == "succeeded":
            self.latency_ms += chat.upstream_ms
            self.buckets[bisect.bisect_left(BUCKETS_MS, chat.upstream_ms)] += 1


# Adds sums to the rows of models for today (llm_usage_stats_pkey), in order of keys: the last lock of a transaction.
_COUNT = """
INSERT INTO llm_usage_stats AS old (model_key, day, request_count, last_used, successes, failures, cancelled, expired,
                                    fallbacks, requested, latency_ms, latency_buckets)
SELECT key, (now() AT TIME ZONE 'UTC')::date, requests, now(), successes, failures, cancelled, expired,
       fallbacks::jsonb, requested::jsonb, latency, buckets::bigint[]
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
            %s::bigint[], %s::text[])
  AS new (key, requests, successes, failures, cancelled, expired, fallbacks, requested, latency, buckets)
ORDER BY key
ON CONFLICT (model_key, day) DO UPDATE SET
  request_count = old.request_count + excluded.request_count, last_used = excluded.last_used,
  successes = old.successes + excluded.successes, failures = old.failures + excluded.failures,
  cancelled = old.cancelled + excluded.cancelled, expired = old.expired + excluded.expired,
  fallbacks = CASE WHEN excluded.fallbacks = '{}' THEN old.fallbacks ELSE
    (SELECT jsonb_object_agg(reason, total) FROM (
       SELECT reason, sum(number::bigint) AS total
       FROM (SELECT * FROM jsonb_each_text(old.fallbacks) UNION ALL SELECT * FROM jsonb_each_text(excluded.fallbacks))
         AS both_of (reason, number) GROUP BY reason) AS summed) END,
  requested = CASE WHEN excluded.requested = '{}' THEN old.requested ELSE
    (SELECT jsonb_object_agg(what, total) FROM (
       SELECT what, sum(number::bigint) AS total
       FROM (SELECT * FROM jsonb_each_text(old.requested) UNION ALL SELECT * FROM jsonb_each_text(excluded.requested))
         AS both_of (what, number) GROUP BY what) AS summed) END,
  latency_ms = old.latency_ms + excluded.latency_ms,
  latency_buckets = ARRAY(SELECT a + b FROM unnest(old.latency_buckets, excluded.latency_buckets) AS pair (a, b))
"""


def count(connection: sa.Connection, chats: Iterable[EndedChat]) -> None:
    """Count these chats, in the transaction that ends them. The last lock of a transaction: rows in order of keys."""
    chats = list(chats)
    if not chats:
        return
    known_keys = _known_keys(connection, {each.requested for each in chats if each.fallback_reason is not None})
    sums: dict[str, _Sum] = {}
    for each in chats:
        sums.setdefault(each.model_key, _Sum()).add(each, known_keys)
    keys = sorted(sums)
    columns: list[list[Any]] = [keys, [sums[key].outcomes.total() for key in keys]]
    columns += [[sums[key].outcomes[status] for key in keys] for status in OUTCOMES]
    columns += [
        [json.dumps(sums[key].fallbacks) for key in keys],
        [json.dumps(sums[key].requested) for key in keys],
        [sums[key].latency_ms for key in keys],
        ["{" + ",".join(map(str, sums[key].buckets)) + "}" for key in keys],
    ]
    connection.exec_driver_sql(_COUNT, tuple(columns))


# Selects those of these keys that a model has (llm_models_model_key_key) or had (llm_model_changes_key_before).
_KNOWN_KEYS = sa.text("""
    SELECT model_key FROM llm_models WHERE model_key = ANY(:keys)
    UNION SELECT before ->> 'model_key' FROM llm_model_changes
    WHERE before ? 'model_key' AND before ->> 'model_key' = ANY(:keys)
""")


def _known_keys(connection: sa.Connection, requested: Set[str | None]) -> Set[str]:
    """Which of these are keys that a model has or had: others are any text that callers send."""
    keys = [each for each in requested if each is not None and len(each) <= MAX_KEY]
    if not keys:
        return frozenset()
    rows = connection.execute(_KNOWN_KEYS, {"keys": keys})
    return frozenset(rows.scalars())


# Adds the days up by model, found by llm_usage_stats_day. PostgreSQL adds: of a day of every model a few numbers come
# here, not each row with its arrays.
_BY_MODEL = sa.text(f"""
    WITH recent AS NOT MATERIALIZED (
      SELECT * FROM llm_usage_stats WHERE day > (now() AT TIME ZONE 'UTC')::date - CAST(:days AS integer))
    SELECT model_key, request_count, last_used, successes, failures, cancelled, expired, latency_ms, buckets,
      coalesce(fallbacks.numbers, '{{}}') AS fallbacks, coalesce(requested.numbers, '{{}}') AS requested
    FROM (
      SELECT model_key, sum(request_count)::bigint AS request_count, max(last_used) AS last_used,
        sum(successes)::bigint AS successes, sum(failures)::bigint AS failures,
        sum(cancelled)::bigint AS cancelled, sum(expired)::bigint AS expired,
        sum(latency_ms)::bigint AS latency_ms, {_SUMMED_BUCKETS} AS buckets
      FROM recent GROUP BY model_key) AS counts
    {_numbers_of("fallbacks")}
    {_numbers_of("requested")}
    ORDER BY request_count DESC, model_key
""")


def by_model(connection: sa.Connection, *, days: int) -> list[dict[str, Any]]:
    """Usage of each model over the last days, today included (UTC), the most used first."""
    rows = connection.execute(_BY_MODEL, {"days": days}).mappings()
    return [_shown(row) for row in rows]


def requests_of(connection: sa.Connection, keys: Collection[str], *, days: int) -> dict[str, dict[str, Any]]:
    """How often each of these keys was used over the last days, and when last; keys that were not used are absent."""
    # Adds the days of these models up, by llm_usage_stats_pkey.
    rows = connection.execute(
        sa.text("""
            SELECT model_key, sum(request_count)::bigint AS request_count, max(last_used) AS last_used
            FROM llm_usage_stats
            WHERE model_key = ANY(:keys) AND day > (now() AT TIME ZONE 'UTC')::date - CAST(:days AS integer)
            GROUP BY model_key
        """),
        {"keys": list(keys), "days": days},
    )
    return {row.model_key: {"request_count": row.request_count, "last_used": row.last_used} for row in rows}


def callers_of(connection: sa.Connection, keys: Collection[str], *, days: int) -> dict[str, int]:
    """How many callers had a chat by each of these models over the last days; models without one are absent.

    It reads the chats that are kept, so CHAT_RETENTION_DAYS bounds it as well.
    """
    # Counts pairs of model and caller in llm_chats_callers, which has all columns that it reads.
    rows = connection.execute(
        sa.text("""
            -- count(DISTINCT …) sorts every chat; this hashes the pairs.
            SELECT model_key, count(*)::int FROM (
              SELECT DISTINCT model_key, subject FROM llm_chats
              WHERE model_key = ANY(:keys) AND created_at > now() - make_interval(days => :days)) AS pair
            GROUP BY model_key
        """),
        {"keys": list(keys), "days": days},
    )
    return {row[0]: row[1] for row in rows}


def of_removed(connection: sa.Connection, changes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For the report of a refresh: the keys that these changes (of the ledger or a plan) take away, and their use.

    `{model_key, kind, days, request_count, last_used}` each, the most used first.
    """
    kinds: dict[str, str] = {}
    for change in changes:
        before, after = change["before"] or {}, change["after"] or {}
        if change["kind"] == "deactivated":
            kinds[change["model_key"]] = change["kind"]
        elif change["kind"] == "repointed" and before.get("model_key", "") != after.get("model_key", ""):
            kinds[before["model_key"]] = change["kind"]
    used = requests_of(connection, kinds, days=REPORTED_DAYS) if kinds else {}
    nothing = {"request_count": 0, "last_used": None}
    removed = [
        {"model_key": key, "kind": kind, "days": REPORTED_DAYS} | used.get(key, nothing) for key, kind in kinds.items()
    ]
    return sorted(removed, key=lambda each: (-each["request_count"], each["model_key"]))


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
    """of those that do not wait for the gateway"""
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
_LATENCY = sa.text(f"SELECT coalesce(sum(latency_ms), 0)::bigint, {_SUMMED_BUCKETS} FROM llm_usage_totals")


def figures(connection: sa.Connection) -> Figures:
    """The figures of chats, for metrics. They cost the same however many days and finished chats there are."""
    outcomes: dict[tuple[str, str], int] = {}
    for key, *counts, unknown in connection.execute(_TOTALS):
        outcomes |= {(key, status): number for status, number in zip(OUTCOMES, counts, strict=True)}
        if unknown:
            outcomes[key, UNKNOWN_OUTCOME] = unknown
    fallbacks = {row.what: row.number for row in connection.execute(_all_of("fallbacks"))}
    requested = {_reason_and_key(what): number for what, number in connection.execute(_all_of("requested"))}
    latency_ms, buckets = connection.execute(_LATENCY).one()
    # A chat that waits for the gateway, and whose messages nobody takes any more, waits for a worker.
    # Counts open chats by llm_chats_queued, llm_chats_running and llm_chats_waiting_for_upstream.
    waiting = connection.execute(
        sa.text("""
            SELECT (SELECT count(*) FROM llm_chats WHERE status = 'queued'),
              (SELECT count(*) FROM llm_chats WHERE status = 'running'),
              (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM llm_chats WHERE status = 'queued'
               AND NOT (waiting_for IS NOT DISTINCT FROM 'upstream' AND publishes < 3)),
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


def _shown(row: sa.RowMapping) -> dict[str, Any]:
    buckets = row["buckets"]
    return {
        "model_key": row["model_key"],
        "request_count": row["request_count"],
        "last_used": row["last_used"],
        **{column: row[column] for column in OUTCOMES.values()},
        "fallbacks": row["fallbacks"],
        "requested": _by_reason(row["requested"]),
        "latency": {
            "mean_ms": round(row["latency_ms"] / sum(buckets)) if sum(buckets) else None,
            "buckets": [
                {"up_to_ms": bound, "count": number} for bound, number in zip((*BUCKETS_MS, None), buckets, strict=True)
            ],
        },
    }


def _reason_and_key(what: str) -> tuple[str, str]:
    reason, _, key = what.partition(" ")
    return reason, key


def _by_reason(requested: Mapping[str, int]) -> dict[str, dict[str, int]]:
    by_reason: dict[str, dict[str, int]] = {}
    for what, number in sorted(requested.items()):
        reason, key = _reason_and_key(what)
        by_reason.setdefault(reason, {})[key] = number
    return by_reason
