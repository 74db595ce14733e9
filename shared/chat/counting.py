"""Chats are counted in the transaction that ends them, so that no figure ever falls."""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import KW_ONLY, dataclass, field
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

    `requested`: what the chat asked for, in its caller's words; None when it named no model. `wait_ms`: until its first
    turn, or its end where it had none.
    """

    model_key: str
    status: str
    fallback_reason: str | None = None
    upstream_ms: int | None = None
    requested: str | None = None
    _: KW_ONLY
    subject: str
    chat_class: ChatClass = "interactive"
    wait_ms: int = 0


def ended_columns(chat: str = "llm_chats", *, upstream_ms: str = "NULL::int") -> str:
    """SQL: the columns that a statement has to return which ends chats of this name, for `count_rows`."""
    names = ("id", "model_key", "status", "fallback_reason", "requested_model", "subject")
    return ", ".join(
        (
            *(f"{chat}.{name}" for name in names),
            f"{upstream_ms} AS upstream_ms",
            f"{chat}.class AS chat_class",
            f"greatest(0, extract(epoch FROM coalesce({chat}.started_at, {chat}.finished_at) - {chat}.created_at)"
            " * 1000)::bigint AS wait_ms",
        )
    )


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


# Adds sums to the rows of models for today (llm_usage_stats_pkey), in order of keys, to those of callers
# (llm_caller_usage_pkey), in order of subjects and keys, and waiting times to the connection's own rows
# (llm_chat_waits_pkey). These are the last locks of a transaction; PostgreSQL takes them in the same order each time,
# those of models, which many transactions want, after the others.
_COUNT = """
WITH by_model AS (
  INSERT INTO llm_usage_stats AS old (model_key, day, request_count, last_used, successes, failures, cancelled, expired,
                                      fallbacks, requested, latency_ms, latency_buckets)
  SELECT key, (now() AT TIME ZONE 'UTC')::date, requests, now(), successes, failures, cancelled, expired,
         fallbacks::jsonb, requested::jsonb, latency, buckets::bigint[]
  FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::text[], %s::text[], %s::text[])
    AS new (key, requests, successes, failures, cancelled, expired, latency, fallbacks, requested, buckets)
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
    latency_buckets = ARRAY(SELECT a + b FROM unnest(old.latency_buckets, excluded.latency_buckets) AS pair (a, b))),
by_caller AS (
  INSERT INTO llm_caller_usage AS old (subject, day, model_key, request_count, last_used, successes, failures,
                                       cancelled, expired, latency_ms)
  SELECT subject, (now() AT TIME ZONE 'UTC')::date, key, requests, now(), successes, failures, cancelled, expired,
         latency
  FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::bigint[])
    AS new (subject, key, requests, successes, failures, cancelled, expired, latency)
  ORDER BY subject, key
  ON CONFLICT (subject, day, model_key) DO UPDATE SET
    request_count = old.request_count + excluded.request_count, last_used = excluded.last_used,
    successes = old.successes + excluded.successes, failures = old.failures + excluded.failures,
    cancelled = old.cancelled + excluded.cancelled, expired = old.expired + excluded.expired,
    latency_ms = old.latency_ms + excluded.latency_ms)
INSERT INTO llm_chat_waits AS old (class, shard, wait_ms, buckets)
SELECT class, pg_backend_pid() %% 16, wait, buckets::bigint[]
FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS new (class, wait, buckets)
ORDER BY class
ON CONFLICT (class, shard) DO UPDATE SET
  wait_ms = old.wait_ms + excluded.wait_ms,
  buckets = ARRAY(SELECT a + b FROM unnest(old.buckets, excluded.buckets) AS pair (a, b))
"""


def count(connection: sa.Connection, chats: Iterable[EndedChat]) -> None:
    """Count these chats, in the transaction that ends them: the last thing that it does."""
    chats = list(chats)
    if not chats:
        return
    known_keys = _known_keys(connection, {each.requested for each in chats if each.fallback_reason is not None})
    models: dict[str, _Sum] = {}
    callers: dict[tuple[str, str], _Sum] = {}
    waits: dict[str, list[int]] = {}
    for each in chats:
        models.setdefault(each.model_key, _Sum()).add(each, known_keys)
        callers.setdefault((each.subject, each.model_key), _Sum()).add(each, known_keys)
        waits.setdefault(each.chat_class, []).append(each.wait_ms)
    keys, pairs, classes = sorted(models), sorted(callers), sorted(waits)
    by_model = [models[key] for key in keys]
    columns: list[list[Any]] = [
        keys,
        *_numbers(by_model),
        [json.dumps(each.fallbacks) for each in by_model],
        [json.dumps(each.requested) for each in by_model],
        [_as_array(each.buckets) for each in by_model],
        [subject for subject, _ in pairs],
        [key for _, key in pairs],
        *_numbers([callers[pair] for pair in pairs]),
        classes,
        [sum(waits[each]) for each in classes],
        [_histogram(waits[each]) for each in classes],
    ]
    connection.exec_driver_sql(_COUNT, tuple(columns))


def _numbers(sums: Sequence[_Sum]) -> list[list[int]]:
    """The columns that models and callers have both: all, by outcome, and the latencies added up."""
    return [
        [each.outcomes.total() for each in sums],
        *([each.outcomes[status] for each in sums] for status in OUTCOMES),
        [each.latency_ms for each in sums],
    ]


def _histogram(milliseconds: Iterable[int]) -> str:
    """How many fall into each bucket, as PostgreSQL writes arrays."""
    buckets = [0] * (len(BUCKETS_MS) + 1)
    for each in milliseconds:
        buckets[bisect.bisect_left(BUCKETS_MS, each)] += 1
    return _as_array(buckets)


def _as_array(numbers: Iterable[int]) -> str:
    """Numbers as PostgreSQL writes an array of them."""
    return "{" + ",".join(map(str, numbers)) + "}"


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


def count_rows(connection: sa.Connection, rows: Iterable[sa.Row[Any]]) -> None:
    """Count the chats of these rows, as the statements return them that end chats."""
    count(
        connection,
        [
            EndedChat(
                row.model_key,
                row.status,
                row.fallback_reason,
                row.upstream_ms,
                row.requested_model,
                subject=row.subject,
                chat_class=row.chat_class,
                wait_ms=row.wait_ms,
            )
            for row in rows
        ],
    )


def reason_and_key(what: str) -> tuple[str, str]:
    """The two parts of a key in `requested`: why it fell back, and the key that was asked for, DEFAULT or OTHER."""
    reason, _, key = what.partition(" ")
    return reason, key
