"""The gateway's health, as all processes experience it: kept in PostgreSQL, from calls that are made anyway."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from shared.gateway.health import CallTally

ALL_TARGETS = "all"
"""The target of a circuit that stops calls to all models."""
ALIVE_SECONDS = 30.0
"""A process whose circuits are open repeats them well within this."""
FORGOTTEN_SECONDS = 600.0

State = Literal["unknown", "up", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """An open circuit of a process. `target`: a model's id, or ALL_TARGETS; `one_caller`: it stops one caller only."""

    target: str
    one_caller: bool
    opened_seconds_ago: float
    code: str


@dataclass(frozen=True, slots=True)
class TargetCalls:
    """What calls of one target have experienced, in all processes. `target`: a model's id, or `list`."""

    target: str
    last_answer_at: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure_code: str | None = None
    last_failure_status: int | None = None
    failing_since: datetime | None = None
    failures_in_a_row: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportedCircuit:
    """A circuit that is open in a living process; `name` of its model, where there is one."""

    target: str
    one_caller: bool
    opened_at: datetime
    name: str | None = None


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """How the gateway is. `degraded`: it answers, and a model does not. `unknown`: nothing has been called yet."""

    state: State
    since: datetime | None
    """when the failures in a row began, or the circuit opened"""
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_failure_code: str | None
    last_failure_status: int | None
    failures_in_a_row: int
    models: tuple[str, ...]
    """names of the models that do not answer, where it is not all of them"""
    failures: Mapping[str, int]
    """code -> failures and refusals ever"""
    chats_waiting: int

    @property
    def is_up(self) -> bool:
        return self.state in ("unknown", "up")

    @property
    def refuses_key(self) -> bool:
        """Whether the failures are refusals of our key: waiting does not end them."""
        return not self.is_up and self.last_failure_code == "unauthorised"

    @property
    def last_failure(self) -> str | None:
        """Like `503 upstream_unavailable`."""
        if self.last_failure_code is None:
            return None
        status = "" if self.last_failure_status is None else f"{self.last_failure_status} "
        return f"{status}{self.last_failure_code}"


def describe_health(health: UpstreamHealth) -> str:
    """How the gateway is, in words for an operator. Moments are in UTC."""
    since = _clock_time(health.since, health.last_failure_at)
    number = health.chats_waiting
    waiting = f"; {number} {'chat waits' if number == 1 else 'chats wait'}" if number else ""
    match health.state:
        case "unknown":
            return "MatchaAI has not been called yet"
        case "up":
            return "MatchaAI answers" + waiting
        case "degraded":
            verb = "has" if len(health.models) == 1 else "have"
            return f"{' and '.join(health.models)} {verb} not answered since {since}; other models answer{waiting}"
        case "down" if health.last_failure_code == "unauthorised":
            return f"MatchaAI has refused the key since {since} ({health.last_failure})"
        case "down":
            return f"MatchaAI has not answered since {since} ({health.last_failure}){waiting}"


def _clock_time(moment: datetime | None, now: datetime | None) -> str:
    if moment is None:
        return "a while ago"
    moment = moment.astimezone(UTC)
    same_day = now is not None and now.astimezone(UTC).date() == moment.date()
    return moment.strftime("%H:%M UTC" if same_day else "%Y-%m-%d %H:%M UTC")


# Adds what a process has experienced to the row of each target, by llm_upstream_calls_pkey. Several processes write the
# same rows: each adds what came since its last report.
_ADD = """
INSERT INTO llm_upstream_calls AS h (target, last_answer_at, last_success_at, last_failure_at, last_failure_code,
  last_failure_status, failing_since, failures_in_a_row, failures)
SELECT target, now() - make_interval(secs => answered), now() - make_interval(secs => succeeded),
  now() - make_interval(secs => failed), code, status, now() - make_interval(secs => failing), number, failures::jsonb
FROM unnest(%s::text[], %s::float8[], %s::float8[], %s::float8[], %s::text[], %s::int[], %s::float8[], %s::int[],
            %s::text[])
  AS n (target, answered, succeeded, failed, code, status, failing, number, failures)
ORDER BY target
ON CONFLICT (target) DO UPDATE SET
  last_answer_at = greatest(h.last_answer_at, excluded.last_answer_at),
  last_success_at = greatest(h.last_success_at, excluded.last_success_at),
  last_failure_code = CASE WHEN excluded.last_failure_at >= coalesce(h.last_failure_at, '-infinity')
    THEN excluded.last_failure_code ELSE h.last_failure_code END,
  last_failure_status = CASE WHEN excluded.last_failure_at >= coalesce(h.last_failure_at, '-infinity')
    THEN excluded.last_failure_status ELSE h.last_failure_status END,
  last_failure_at = greatest(h.last_failure_at, excluded.last_failure_at),
  failing_since = CASE WHEN excluded.last_answer_at IS NOT NULL THEN excluded.failing_since
    ELSE coalesce(h.failing_since, excluded.failing_since) END,
  failures_in_a_row = excluded.failures_in_a_row
    + CASE WHEN excluded.last_answer_at IS NULL THEN h.failures_in_a_row ELSE 0 END,
  failures = CASE WHEN excluded.failures = '{}' THEN h.failures ELSE (
    SELECT jsonb_object_agg(code, number) FROM (
      SELECT code, sum(number::bigint) AS number FROM (
        SELECT * FROM jsonb_each_text(h.failures) UNION ALL SELECT * FROM jsonb_each_text(excluded.failures)
      ) AS both_counts (code, number) GROUP BY code) AS summed) END
"""


def report_calls(connection: sa.Connection, tallies: Mapping[str, CallTally], now: float) -> None:
    """Add what calls have experienced. `now` is the moment by the tallies' clock."""

    def ago(moment: float | None) -> float | None:
        return None if moment is None else max(0.0, now - moment)

    rows = sorted(tallies.items())
    columns = (
        [target for target, _ in rows],
        [ago(tally.answered_at) for _, tally in rows],
        [ago(tally.succeeded_at) for _, tally in rows],
        [ago(tally.failed_at) for _, tally in rows],
        [tally.failure_code for _, tally in rows],
        [tally.failure_status for _, tally in rows],
        [ago(tally.failing_since) for _, tally in rows],
        [tally.failures_in_a_row for _, tally in rows],
        [json.dumps(tally.failures) for _, tally in rows],
    )
    connection.exec_driver_sql(_ADD, columns)


# Inserts or updates the open circuits of a process, by llm_upstream_circuits_pkey.
_OPEN = """
INSERT INTO llm_upstream_circuits AS c (process, target, one_caller, opened_at, code, seen_at)
SELECT %s, target, one_caller, now() - make_interval(secs => opened), code, now()
FROM unnest(%s::text[], %s::boolean[], %s::float8[], %s::text[]) AS n (target, one_caller, opened, code)
ORDER BY target, one_caller
ON CONFLICT (process, target, one_caller) DO UPDATE
  SET code = excluded.code, opened_at = excluded.opened_at, seen_at = excluded.seen_at
"""


def report_circuits(connection: sa.Connection, process: str, circuits: Sequence[CircuitReport]) -> None:
    """Say which circuits of a process are open, in place of what it said before; those of long gone ones go, too."""
    # Deletes the circuits of this process (llm_upstream_circuits_pkey) and those of processes that are long gone.
    connection.exec_driver_sql(
        "DELETE FROM llm_upstream_circuits WHERE process = %s OR seen_at < now() - make_interval(secs => %s)",
        (process, FORGOTTEN_SECONDS),
    )
    if circuits:
        columns = (
            [circuit.target for circuit in circuits],
            [circuit.one_caller for circuit in circuits],
            [circuit.opened_seconds_ago for circuit in circuits],
            [circuit.code for circuit in circuits],
        )
        connection.exec_driver_sql(_OPEN, (process, *columns))


# Selects a row for each target: all of llm_upstream_calls, so no index.
_CALLS = """
SELECT target, last_answer_at, last_success_at, last_failure_at, last_failure_code, last_failure_status, failing_since,
  failures_in_a_row, failures
FROM llm_upstream_calls
"""


# Selects the circuits that processes have reported of late, all of a short table, each with its model's name.
_CIRCUITS = """
SELECT c.target, c.one_caller, c.opened_at,
  (SELECT model_name FROM llm_models WHERE matcha_llm_id::text = c.target) AS name
FROM llm_upstream_circuits c WHERE seen_at > now() - make_interval(secs => %s)
"""


# Counts chats that wait for the gateway, by llm_chats_waiting_for_upstream.
_WAITING = "SELECT count(*) FROM llm_chats WHERE status = 'queued' AND waiting_for = 'upstream'"


def read_health(connection: sa.Connection) -> UpstreamHealth:
    """How the gateway is, by all that processes have reported."""
    calls = [TargetCalls(*row) for row in connection.exec_driver_sql(_CALLS)]
    circuits = [ReportedCircuit(*row) for row in connection.exec_driver_sql(_CIRCUITS, (ALIVE_SECONDS,))]
    return judge(calls, circuits, chats_waiting=connection.exec_driver_sql(_WAITING).scalar_one())


def judge(calls: Sequence[TargetCalls], circuits: Sequence[ReportedCircuit], *, chats_waiting: int) -> UpstreamHealth:
    """Make one state of what was reported. Pure."""
    last_answer = _latest(row.last_answer_at for row in calls)
    answers = {row.target: row.last_answer_at for row in calls} | {ALL_TARGETS: last_answer}
    # Failures that began after the last answer of any model: nobody is served. Older ones are of single models.
    failing = [row for row in calls if _before(last_answer, row.failing_since)]
    # A caller whose questions draw errors is no outage, once the model has answered anybody since.
    stopping = [c for c in circuits if not c.one_caller or _before(answers.get(c.target), c.opened_at)]
    state: State = "up" if calls or circuits else "unknown"
    models: set[str] = set()
    moments: list[datetime | None] = []
    if failing or any(circuit.target == ALL_TARGETS for circuit in stopping):
        state = "down"
        moments = [row.failing_since for row in failing] or [circuit.opened_at for circuit in stopping]
    elif stopping:
        state = "degraded"
        models = {circuit.name or f"model {circuit.target}" for circuit in stopping}
        targets = {circuit.target for circuit in stopping}
        moments = [row.failing_since for row in calls if row.target in targets]
        moments += [circuit.opened_at for circuit in stopping]
    newest = max((row for row in calls if row.last_failure_at), key=_moment, default=None)
    failures: Counter[str] = Counter()
    for row in calls:
        failures.update(row.failures)
    return UpstreamHealth(
        state=state,
        since=min((moment for moment in moments if moment is not None), default=None),
        last_success_at=_latest(row.last_success_at for row in calls),
        last_failure_at=None if newest is None else newest.last_failure_at,
        last_failure_code=None if newest is None else newest.last_failure_code,
        last_failure_status=None if newest is None else newest.last_failure_status,
        failures_in_a_row=sum(row.failures_in_a_row for row in failing),
        models=tuple(sorted(models)),
        failures=failures,
        chats_waiting=chats_waiting,
    )


def _moment(row: TargetCalls) -> float:
    return 0.0 if row.last_failure_at is None else row.last_failure_at.timestamp()


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _before(moment: datetime | None, other: datetime | None) -> bool:
    """Whether a moment, or never, was before another one that there is."""
    return other is not None and (moment is None or moment < other)
