"""What is said of workers, runs and chats once PostgreSQL, Redis and the workers have been looked at. Pure.

One fault looks like another from each side alone: chats wait for a dead worker, for a gateway that is down, for places,
or for Redis. Who has seen all of it can tell which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from shared.chat.recent import ChatEndings, Fallbacks
from shared.system_status import LockHolder, SystemStatus
from shared.upstream_health import UpstreamHealth, describe_health
from worker.doctor.findings import Finding, Line, fault, good, warning

FAILING_SHARE, FAILING_NUMBER = 0.05, 3
"""From here on it is a fault: what the alert `LlmRefreshChatFailures` allows."""
_CODES_NAMED: Final = 4


@dataclass(slots=True)
class Facts:
    """What the checks have learnt, for who judges it together. What could not be looked at is None or unknown."""

    database: Literal["unknown", "answers", "away"] = "unknown"
    redis: Literal["unknown", "writes", "no writes"] = "unknown"
    status: SystemStatus | None = None
    health: UpstreamHealth | None = None
    endings: ChatEndings | None = None
    fallbacks: Fallbacks | None = None
    holders: Sequence[LockHolder] = ()
    alive: Mapping[str, int] | None = None
    """kind -> processes that say that they are alive"""

    def lives(self, kind: str) -> bool:
        return bool(self.alive and self.alive.get(kind))


def of_work(facts: Facts) -> Iterator[Finding]:
    """Workers, the gateway, runs and chats."""
    yield from _workers(facts)
    if facts.health is not None:
        yield of_upstream(facts.health, chat_worker_lives=facts.lives("chat") or facts.alive is None)
    if facts.status is not None:
        yield _runs(facts.status, facts)
        yield _chats(facts.status, facts)
        if facts.status.chats_past_deadline:
            yield _past_deadline(facts.status.chats_past_deadline, facts)
    if facts.endings is not None:
        yield of_endings(facts.endings, facts.health)
    if facts.fallbacks is not None:
        yield from of_fallbacks(facts.fallbacks)


def _workers(facts: Facts) -> Iterator[Finding]:
    if facts.alive is None:
        return  # nothing can be said of them; why stands at Redis
    kinds: tuple[tuple[str, Line, str], ...] = (
        ("refresh", "refresh worker", "nothing syncs"),
        ("chat", "chat worker", "nothing is answered"),
    )
    for kind, name, consequence in kinds:
        if facts.lives(kind):
            yield good(name, f"{facts.alive[kind]} alive")
        elif facts.redis == "no writes":
            yield warning(
                name,
                "cannot be told: Redis takes no writes, so none can say that it is alive",
                "let Redis take writes first, then run this again",
            )
        elif facts.database == "away":
            yield warning(
                name,
                "none says that it is alive, as it is while PostgreSQL is away",
                "bring PostgreSQL back first, then run this again",
            )
        else:
            yield fault(
                name, f"none says that it is alive: {consequence}", f"start the {kind} worker, or look at its log"
            )
    if facts.lives("beat"):
        yield good("beat", "alive")
    elif facts.redis == "no writes":
        yield warning("beat", "cannot be told: Redis takes no writes", "let Redis take writes first")
    else:
        yield warning("beat", "has not been heard: the workers' upkeep starts the nights instead", "start beat")


def of_upstream(health: UpstreamHealth, *, chat_worker_lives: bool = True) -> Finding:
    """What calls of MatchaAI have experienced. An outage there is told as one, and as nothing to do here."""
    text = describe_health(health)
    if health.is_up:
        last = f" (last at {health.last_success_at:%Y-%m-%d %H:%M} UTC)" if health.last_success_at else ""
        return good("upstream", text + last)
    if health.refuses_key:
        return fault("upstream key", text, "set MATCHAAI_API_KEY to a key that holds, and restart web and the workers")
    if not chat_worker_lives:
        return warning(
            "upstream",
            f"{text}; it is not asked while no chat worker lives",
            "start the chat worker: its first call tells how MatchaAI is now",
        )
    level = warning if health.state == "degraded" else fault
    if health.last_failure_code == "upstream_not_json":
        return level(
            "upstream",
            text,
            "a login or gateway page answers: an outage behind it ends by itself; if"
            " nothing is down there, look at MATCHAAI_BASE_URL",
        )
    return level("upstream", f"{text}; nothing to do here", "chats that wait are answered when it is back")


def _past_deadline(number: int, facts: Facts) -> Finding:
    text = (
        f"{_chats_of(number)} {'is' if number == 1 else 'are'} open past {'its' if number == 1 else 'their'} deadline"
    )
    return _held(
        "deadlines", text, "llm_chats", facts, other="start a worker, or end the transaction that holds their rows"
    )


def _held(name: Line, text: str, table: str, facts: Facts, *, other: str) -> Finding:
    """A fault of rows that do not move: with who holds them where that is seen, and else with `other` advice."""
    holders = [holder for holder in facts.holders if holder.table.rpartition(".")[2] == table]
    if not holders:
        return fault(name, text, other)
    named = ", ".join(f"pid {each.pid} ({each.login}, {each.application or 'without a name'})" for each in holders[:3])
    ends = f"`SELECT pg_terminate_backend({holders[0].pid})` as that login or a superuser"
    return fault(
        name,
        f"{text}; rows of {table} are held by a transaction of another program: {named}",
        f"end it with {ends}, or `kill {holders[0].pid}` on PostgreSQL's machine",
    )


def _runs(now: SystemStatus, facts: Facts) -> Finding:
    if not (now.runs_without_lease or now.runs_waiting):
        return good("runs", "none is stuck")
    stuck = [
        f"{number} {'run' if number == 1 else 'runs'} {what}"
        for number, what in (
            (now.runs_without_lease, "running without a worker"),
            (now.runs_waiting, "waiting for more than ten minutes"),
        )
        if number
    ]
    return _stuck("runs", "; ".join(stuck), "refresh", facts)


def _chats(now: SystemStatus, facts: Facts) -> Finding:
    lives = facts.lives("chat")
    # With a worker, a chat that does not say so yet waits for the gateway as well; without one, for the worker.
    waiting = 0 if facts.health is not None and facts.health.state == "down" and lives else now.chats_waiting
    if now.chats_without_lease:
        number = now.chats_without_lease
        more = f"; {waiting} waiting for more than a minute" if waiting else ""
        return _stuck("chats", f"{_chats_of(number)} running without a worker{more}", "chat", facts)
    if waiting:
        return _stuck("chats", f"{_chats_of(waiting)} waiting for more than a minute", "chat", facts)
    if now.chats_in_line:
        each, its = ("waits", "its") if now.chats_in_line == 1 else ("wait", "their")
        return warning(
            "chats",
            f"{_chats_of(now.chats_in_line)} {each} {its} turn behind {now.places} places; the oldest has waited for"
            f" {now.oldest_in_line_seconds:.0f} s",
            "start more chat processes, or raise CHAT_CONCURRENCY, MATCHAAI_MAX_PARALLEL or"
            " MATCHAAI_REQUESTS_PER_MINUTE, if callers shall wait less;"
            " `llm-refresh callers list` shows whose chats they are",
        )
    return good("chats", "none is stuck")


def _chats_of(number: int) -> str:
    return f"{number} {'chat' if number == 1 else 'chats'}"


def _stuck(name: Line, text: str, kind: str, facts: Facts) -> Finding:
    """Rows that do not move, with what keeps them: nothing is blamed that is seen to work."""
    if facts.redis == "no writes" or facts.alive is None:
        reason = "takes no writes" if facts.redis == "no writes" else "cannot be used"
        return warning(
            name,
            f"{text}: Redis {reason}, and messages go by it",
            "mend Redis: within half a minute they are published again",
        )
    if facts.lives(kind):
        return _held(
            name,
            f"{text}, although a {kind} worker is alive",
            "llm_chats" if kind == "chat" else "llm_sync_runs",
            facts,
            other=f"look at the {kind} worker's log, and restart it: what it holds is taken up again",
        )
    return fault(name, f"{text}: no {kind} worker is alive", f"start the {kind} worker: it takes up what lies")


def _is_over(endings: ChatEndings, health: UpstreamHealth) -> bool:
    """Whether MatchaAI was to blame for all of it, and has answered since."""
    if health.last_success_at is None or endings.last_failed_at is None:
        return False
    return endings.last_hour.keys() <= _OF_UPSTREAM and health.last_success_at > endings.last_failed_at


_OF_UPSTREAM: Final = frozenset(
    {"unauthorised", "upstream_unavailable", "upstream_not_json", "timeout", "rate_limited"}
)
_ADVICE_BY_CODE: Final[Mapping[str, str]] = {
    "unauthorised": "set MATCHAAI_API_KEY to a key that holds, and restart web and the workers",
    "unknown_model": "run `llm-refresh refresh`: MatchaAI does not know a model that it listed",
    "no_model": "no model could answer: see the lines `held list` and `catalogue`, then `llm-refresh refresh`",
    "prompt_too_long": "callers send too much for the model: `llm-refresh chats --status failed` names them",
    "rate_limited": "MatchaAI limits calls: lower CHAT_CONCURRENCY, or ask for a higher limit",
    "upstream_unavailable": "MatchaAI was away or broken: see the line `upstream`",
    "upstream_rejected": "MatchaAI refuses what is asked: `llm-refresh chat show ID` has its words",
    "upstream_not_json": "a login or gateway page answers: look at MATCHAAI_BASE_URL, then `llm-refresh doctor --live`",
    "upstream_shape": "MatchaAI answers in another form: `llm-refresh doctor --live` says in which",
    "timeout": "MatchaAI was too slow: see the line `upstream`, and MATCHAAI_TIMEOUT_SECONDS",
    "expired": "they waited too long: see the lines `deadlines`, `chats`, `chat worker` and `upstream`",
    "attempts_exhausted": "chat workers died in mid-call: their log, and the memory limit of their container",
}


def of_endings(endings: ChatEndings, health: UpstreamHealth | None = None) -> Finding:
    """The chats that failed or expired of late, by code. A cause that is over is told as that."""
    hour = sum(endings.last_hour.values())
    if not hour:
        return good("chat failures", "none in the last hour")
    code_counts, model_counts = _most(endings.last_hour), _most(endings.by_model)
    detail = f"{hour} of {endings.ended_last_hour} chats failed or expired in the last hour: {code_counts}"
    if model_counts:
        detail += f" (models: {model_counts})"
    if health is not None and _is_over(endings, health):
        return warning(
            "chat failures",
            f"{detail}; none since MatchaAI answered at {health.last_success_at:%H:%M} UTC",
            "nothing to do here: who asked may ask again",
        )
    if endings.last_failed_at is not None and endings.good_since >= FAILING_NUMBER:
        return warning(
            "chat failures",
            f"{detail}; none since {endings.last_failed_at:%H:%M} UTC, and {endings.good_since} succeeded since",
            "it seems to be over; the alert ends within 15 minutes",
        )
    codes = endings.failing_now or endings.last_hour
    advice = _ADVICE_BY_CODE.get(
        max(sorted(codes), key=codes.__getitem__), "`llm-refresh chats --status failed --since 1h` lists them"
    )
    if endings.failed_lately >= FAILING_NUMBER and endings.failed_lately > FAILING_SHARE * endings.ended_lately:
        lately = f"{endings.failed_lately} of {endings.ended_lately} in the last 15 minutes"
        return fault("chat failures", f"{detail}; {lately}", advice)
    return warning("chat failures", detail, advice)


_ADVICE_BY_REASON: Final[Mapping[str, str]] = {
    "unknown_key": "that key never existed: its callers must use another; `llm-refresh chats --model KEY` names them",
    "retired_key": "`llm-refresh changes --key KEY` says when it was retired; `llm-refresh chats --model KEY` who asks",
    "inactive_key": "`llm-refresh models --all` says why the model is inactive",
    "unknown_upstream": "run `llm-refresh refresh`: MatchaAI does not know a model that it listed",
}


def of_fallbacks(recent: Fallbacks) -> Iterator[Finding]:
    """Names that are asked for in vain, from where the alert `LlmRefreshChatFallbacks` fires; else nothing."""
    if recent.fallbacks >= FAILING_NUMBER and recent.fallbacks > FAILING_SHARE * recent.ended:
        named = ", ".join(f"{number} for {requested} ({reason})" for requested, reason, number in recent.most)
        total = f"{recent.fallbacks} of {recent.ended} chats of the last 15 minutes were answered by another model"
        yield warning("chat fallbacks", f"{total}: {named}", _ADVICE_BY_REASON[recent.most[0][1]])


def _most(numbers: Mapping[str, int]) -> str:
    """`6 timeout, 2 expired`: the largest, and how many others there are."""
    largest = sorted(numbers.items(), key=lambda each: (-each[1], each[0]))
    rest = sum(number for _, number in largest[_CODES_NAMED:])
    named = ", ".join(f"{number} {name}" for name, number in largest[:_CODES_NAMED])
    return f"{named}, {rest} others" if rest else named
