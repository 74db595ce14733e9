"""Chats are counted in the transaction that ends them, so that no figure ever falls."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.draft import MAX_KEY
from shared.vocabulary import ChatClass

BUCKETS_MS = (250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 60_000, 120_000, 300_000, 600_000)
"""Upper bounds of the latency histogram; one more bucket holds what took longer."""

DEFAULT, OTHER = "default", "other"
"""Stand for what was asked for where no model was named, and where it is no key that a model ever had."""

OUTCOMES = {"succeeded": "successes", "failed": "failures", "cancelled": "cancelled", "expired": "expired"}
"""status -> its column of llm_usage_stats"""

SUMMED_BUCKETS = (
    "ARRAY["
    + ", ".join(f"coalesce(sum(latency_buckets[{place}]), 0)::bigint" for place in range(1, len(BUCKETS_MS) + 2))
    + "]"
)
"""SQL: each bucket of the latencies, added up."""


@dataclass(frozen=True, slots=True)
class EndedChat:
    """What is counted of a chat that ended. `upstream_ms` is None when no call brought an answer.

    `requested_model`: what the chat asked for, in its caller's words; None when it named no model. `wait_ms`: until its
    first turn, or its end where it had none.
    """

    model_key: str
    status: str
    fallback_reason: str | None = None
    upstream_ms: int | None = None
    requested_model: str | None = None
    _: KW_ONLY
    subject: str
    chat_class: ChatClass = "interactive"
    wait_ms: int = 0


_COUNTED = tuple(each.name for each in fields(EndedChat) if each.name != "_")


def ended_columns(chat: str = "llm_chats") -> str:
    """SQL: the columns that a statement has to return which ends chats of this name."""
    names = ("id", "model_key", "status", "fallback_reason", "requested_model", "subject", "upstream_ms")
    return ", ".join(
        (
            *(f"{chat}.{name}" for name in names),
            f"{chat}.class AS chat_class",
            f"greatest(0, extract(epoch FROM coalesce({chat}.started_at, {chat}.finished_at) - {chat}.created_at)"
            " * 1000)::bigint AS wait_ms",
        )
    )


def _buckets(column: str) -> str:
    return "ARRAY[" + ", ".join(f"count(*) FILTER (WHERE {column} = {n})" for n in range(len(BUCKETS_MS) + 1)) + "]"


def _by_reason(label: str) -> str:
    return f"""coalesce((SELECT jsonb_object_agg(label, number) FROM (
      SELECT {label} AS label, count(*) AS number FROM counted AS one
      WHERE one.model_key = counted.model_key AND fallback_reason IS NOT NULL GROUP BY 1) AS labels), '{{}}')"""


def _added(column: str) -> str:
    return f"""{column} = CASE WHEN excluded.{column} = '{{}}' THEN old.{column} ELSE
      (SELECT jsonb_object_agg(label, total) FROM (
         SELECT label, sum(number::bigint) AS total
         FROM (SELECT * FROM jsonb_each_text(old.{column}) UNION ALL SELECT * FROM jsonb_each_text(excluded.{column}))
           AS both_of (label, number) GROUP BY label) AS summed) END"""


_BOUNDS = "'{" + ",".join(map(str, BUCKETS_MS)) + "}'"
_STATUSES = ", ".join(f"'{status}'" for status in OUTCOMES)
_COLUMNS = ", ".join(("request_count", *OUTCOMES.values(), "latency_ms"))
_SUMS = ", ".join(
    ("count(*)", *(f"count(*) FILTER (WHERE status = '{status}')" for status in OUTCOMES), "sum(latency_ms)")
)
_ADD_SUMS = "last_used = excluded.last_used, " + ", ".join(
    f"{name} = old.{name} + excluded.{name}" for name in _COLUMNS.split(", ")
)
# What was asked for: a key that a model has (llm_models_model_key_key) or had (llm_model_changes_key_before). All else
# is any text that callers send.
_REQUESTED = f"""CASE WHEN requested_model IS NULL THEN '{DEFAULT}'
  WHEN length(requested_model) <= {MAX_KEY} AND (
    EXISTS (SELECT FROM llm_models AS model WHERE model.model_key = requested_model)
    OR EXISTS (SELECT FROM llm_model_changes WHERE before ? 'model_key' AND before ->> 'model_key' = requested_model))
  THEN requested_model ELSE '{OTHER}' END"""


def with_counts(ended: str, returning: str) -> str:
    """SQL: `ended` with its chats counted, in one statement; selects `returning` of what it returns.

    `ended` ends chats, or selects some that ended, and returns `ended_columns`; those that are still open are not
    counted. It comes first, then sums are added to the rows of waiting times (the connection's own,
    llm_chat_waits_pkey), of callers (llm_caller_usage_pkey, in order of subjects and keys) and of models
    (llm_usage_stats_pkey, in order of keys): PostgreSQL writes what nothing reads from the last to the first. These are
    the last locks of a transaction, and those that many transactions want are the very last.
    """
    return f"""
WITH ended AS ({ended}),
counted AS MATERIALIZED (
  SELECT *, CASE WHEN status = 'succeeded' THEN coalesce(upstream_ms, 0) ELSE 0 END AS latency_ms,
    CASE WHEN status = 'succeeded' THEN width_bucket(upstream_ms - 1, {_BOUNDS}::int[]) END AS latency_bucket,
    width_bucket(wait_ms - 1, {_BOUNDS}::bigint[]) AS wait_bucket
  FROM ended WHERE status IN ({_STATUSES})),
by_model AS (
  INSERT INTO llm_usage_stats AS old (model_key, day, last_used, {_COLUMNS}, latency_buckets, fallbacks, requested)
  SELECT model_key, (now() AT TIME ZONE 'UTC')::date, now(), {_SUMS}, {_buckets("latency_bucket")},
    {_by_reason("fallback_reason")},
    {_by_reason(f"fallback_reason || ' ' || {_REQUESTED}")}
  FROM counted GROUP BY model_key ORDER BY model_key
  ON CONFLICT (model_key, day) DO UPDATE SET {_ADD_SUMS}, {_added("fallbacks")}, {_added("requested")},
    latency_buckets = ARRAY(SELECT a + b FROM unnest(old.latency_buckets, excluded.latency_buckets) AS pair (a, b))),
by_caller AS (
  INSERT INTO llm_caller_usage AS old (subject, model_key, day, last_used, {_COLUMNS})
  SELECT subject, model_key, (now() AT TIME ZONE 'UTC')::date, now(), {_SUMS}
  FROM counted GROUP BY subject, model_key ORDER BY subject, model_key
  ON CONFLICT (subject, day, model_key) DO UPDATE SET {_ADD_SUMS}),
waits AS (
  INSERT INTO llm_chat_waits AS old (class, shard, wait_ms, buckets)
  SELECT chat_class, pg_backend_pid() %% 16, sum(wait_ms), {_buckets("wait_bucket")}
  FROM counted GROUP BY chat_class ORDER BY chat_class
  ON CONFLICT (class, shard) DO UPDATE SET wait_ms = old.wait_ms + excluded.wait_ms,
    buckets = ARRAY(SELECT a + b FROM unnest(old.buckets, excluded.buckets) AS pair (a, b)))
SELECT {returning} FROM ended
"""


# Counts chats that other statements have ended.
_COUNT = with_counts(
    """
  SELECT * FROM jsonb_to_recordset(%s::jsonb) AS ended (model_key text, status text, fallback_reason text,
    upstream_ms integer, requested_model text, subject text, chat_class text, wait_ms bigint)""",
    "count(*)",
)


def count(connection: sa.Connection, chats: Iterable[EndedChat | sa.Row[Any]]) -> None:
    """Count these chats, in the transaction that ends them: the last thing that it does. Rows are `ended_columns`."""
    columns = [{name: getattr(each, name) for name in _COUNTED} for each in chats]
    if columns:
        connection.exec_driver_sql(_COUNT, (json.dumps(columns),))


def reason_and_key(what: str) -> tuple[str, str]:
    """The two parts of a key in `requested`: why it fell back, and the key that was asked for, DEFAULT or OTHER."""
    reason, _, key = what.partition(" ")
    return reason, key
