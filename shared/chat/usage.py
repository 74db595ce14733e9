"""How models are used: what was counted, by model and day, and the callers of models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.rows import USE_DAYS
from shared.chat.counting import BUCKETS_MS, OUTCOMES, SUMMED_BUCKETS, reason_and_key


def _numbers_of(column: str) -> str:
    return f"""
      LEFT JOIN (SELECT model_key, jsonb_object_agg(what, number) AS numbers FROM (
          SELECT model_key, what, sum(number::bigint) AS number
          FROM recent, jsonb_each_text({column}) AS each (what, number)
          WHERE {column} <> '{{}}' GROUP BY model_key, what) AS summed
        GROUP BY model_key) AS {column} USING (model_key)"""


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
        sum(latency_ms)::bigint AS latency_ms, {SUMMED_BUCKETS} AS buckets
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
    used = requests_of(connection, kinds, days=USE_DAYS) if kinds else {}
    nothing = {"request_count": 0, "last_used": None}
    removed = [
        {"model_key": key, "kind": kind, "days": USE_DAYS} | used.get(key, nothing) for key, kind in kinds.items()
    ]
    return sorted(removed, key=lambda each: (-each["request_count"], each["model_key"]))


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


def _by_reason(requested: Mapping[str, int]) -> dict[str, dict[str, int]]:
    by_reason: dict[str, dict[str, int]] = {}
    for what, number in sorted(requested.items()):
        reason, key = reason_and_key(what)
        by_reason.setdefault(reason, {})[key] = number
    return by_reason
