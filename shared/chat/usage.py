"""How models are used: what was counted, by model and day, and the callers of models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from shared.catalogue.sync.rows import USE_DAYS
from shared.chat.counting import BUCKETS_MS, OUTCOMES, SUMMED_BUCKETS, reason_and_key
from shared.db import Caller
from shared.vocabulary import UsageBy

KEPT_DAYS: Final = 400
"""So long lines of callers are kept: a year can be compared with the one before."""


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


_SUMS = """sum(request_count)::bigint AS request_count, sum(successes)::bigint AS successes,
      sum(failures)::bigint AS failures, sum(cancelled)::bigint AS cancelled, sum(expired)::bigint AS expired,
      max(last_used) AS last_used, round(sum(latency_ms) / nullif(sum(successes), 0))::bigint AS mean_ms"""
LINE_KEYS: Final[Mapping[UsageBy, str]] = {"caller": "caller", "model": "model_key", "day": "day"}
"""By what usage is summed -> the field of a line that says whose it is."""


def _summed(table: str, column: str, key: str, order: str) -> sa.TextClause:
    return sa.text(f"""
    SELECT {column} AS {key}, {_SUMS}
    FROM {table} WHERE day > (now() AT TIME ZONE 'UTC')::date - CAST(:days AS integer)
    GROUP BY {column} ORDER BY {order}
    """)


# Adds days up by caller, model or day, found by llm_caller_usage_day; by llm_caller_usage_pkey where the transaction's
# caller sees its own alone.
_OF_CALLERS: Final[Mapping[UsageBy, sa.TextClause]] = {
    "caller": _summed("llm_caller_usage", "subject", "caller", "request_count DESC, caller"),
    "model": _summed("llm_caller_usage", "model_key", "model_key", "request_count DESC, model_key"),
    "day": _summed("llm_caller_usage", "day", "day", "day DESC"),
}
# The same over all callers, also those that were erased, by llm_usage_stats_day.
_OF_ALL: Final[Mapping[UsageBy, sa.TextClause]] = {
    "caller": _OF_CALLERS["caller"],
    "model": _summed("llm_usage_stats", "model_key", "model_key", "request_count DESC, model_key"),
    "day": _summed("llm_usage_stats", "day", "day", "day DESC"),
}


def line_columns(by: UsageBy) -> tuple[str, ...]:
    """The fields of a line, in the order of a report."""
    return (LINE_KEYS[by], "request_count", *OUTCOMES.values(), "last_used", "mean_ms")


def summed(connection: sa.Connection, by: UsageBy, *, days: int, caller: Caller) -> list[dict[str, Any]]:
    """Usage over the last days, today included (UTC), as one line for each caller, model or day.

    `authenticated` sees its own. A line of a caller says `caller`, one of a model `model_key`, one of a day `day`.
    """
    statements = _OF_CALLERS if caller.role == "authenticated" else _OF_ALL
    return [dict(row) for row in connection.execute(statements[by], {"days": days}).mappings()]


# Deletes a batch of lines of callers that are older than so many days, by llm_caller_usage_day.
_DELETE_OLD = """
DELETE FROM llm_caller_usage WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM llm_caller_usage WHERE day <= (now() AT TIME ZONE 'UTC')::date - %s
  LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def delete_old(connection: sa.Connection, *, limit: int) -> int:
    """Delete lines of callers that are older than KEPT_DAYS, at most `limit`; returns how many."""
    return connection.exec_driver_sql(_DELETE_OLD, (KEPT_DAYS, limit)).rowcount


# Deletes the lines of one caller, by llm_caller_usage_pkey.
_DELETE_OF_CALLER = "DELETE FROM llm_caller_usage WHERE subject = %s"


def delete_of_caller(connection: sa.Connection, subject: str) -> None:
    """Delete what is known of the use of one caller; the usage of models and days keeps it."""
    connection.exec_driver_sql(_DELETE_OF_CALLER, (subject,))


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
