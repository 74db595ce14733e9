"""What waiting people notice: how long a question takes to be accepted, what we add to the model's own time, and how
soon a committed answer reaches its reader."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from statistics import quantiles

from bench.chats import wait_until_ended
from bench.figures import Aim, Figure
from bench.listing import SECRET, port_of, token
from bench.load import Drizzled, drizzle, request
from bench.place import Place
from bench.readers import follow
from harness.chatting import System, chat_system

BEGIN_PER_SECOND = 100
POST_PER_SECOND = 200
READERS = 200
SLOW = 28  # the id of claude-3-7-sonnet
POST_P50, POST_P99, ADDED_P50, EVENT_P99 = Aim(10), Aim(50), Aim(50), Aim(20)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def run(place: Place) -> Iterator[Figure]:
    """Two web processes and two chat processes with the load generator on the same cores, tokens verified.

    The chats take all places of the chat processes; what is asked while they run waits and is withdrawn afterwards.
    """
    figures: dict[str, list[float]] = {}
    chats, seconds = place.choose(1_000, 100), place.choose(20, 4)
    rounds = place.choose(2, 1)
    with chat_system(place.servers, place.folder, JWT_SECRET=SECRET) as system:
        for _ in range(2):
            system.start_chat_worker(concurrency=chats // 2)
        _ask(system, "claude-3-7-sonnet", seconds=1, per_second=20)  # connections and caches
        wait_until_ended(system, seconds=60)
        for number in range(rounds):
            place.say(f"latency, {chats:,} chats of {seconds} s, round {number + 1} of {rounds}")
            system.gateway.behave(by_llm_id={SLOW: {"delay": seconds}})
            slow = _ask(system, "claude-3-7-sonnet", seconds=chats / BEGIN_PER_SECOND, per_second=BEGIN_PER_SECOND)
            more = _ask(system, "gpt-4o", seconds=place.choose(6, 2), per_second=POST_PER_SECOND)
            _withdraw_queued(system)
            most = wait_until_ended(system, seconds=100)
            place.say(f"latency, at most {most} seen running")
            added = [took - seconds * 1000 for took in _total_ms(system, _ids(slow))]
            for name, values in (
                ("POST at 100/s while the chats begin", [each * 1000 for each in slow.seconds]),
                ("POST at 200/s while all run", [each * 1000 for each in more.seconds]),
                (f"added to chats of {seconds} s", added),
            ):
                for percent in (50, 99):
                    figures.setdefault(f"{name}: p{percent}", []).append(percentile(values, percent))
        for number in range(place.choose(3, 1)):
            place.say(f"latency, {READERS} readers of events, round {number + 1}")
            lags = _lags(system, seconds=4)
            for percent in (50, 99):
                figures.setdefault(f"answer committed to the reader's event: p{percent}", []).append(
                    percentile(lags, percent)
                )
    aims = {
        "POST at 200/s while all run: p50": POST_P50,
        "POST at 200/s while all run: p99": POST_P99,
        f"added to chats of {seconds} s: p50": ADDED_P50,
        "answer committed to the reader's event: p99": EVENT_P99,
    }
    for name, figure in figures.items():
        yield Figure("latency", name, "ms", tuple(figure), aim=aims.get(name))


def _ask(system: System, model: str, *, seconds: float, per_second: float) -> Drizzled:
    body = json.dumps({"question": "How long does it take until I am answered?", "model": model})
    question = request("POST", "/api/chasen/chat", token=token(), body=body)
    return drizzle(port_of(system.web), question, per_second=per_second, seconds=seconds, connections=100)


def _withdraw_queued(system: System) -> None:
    """What was asked while all places were taken shall not be in the way of those that end."""
    with system.redis() as client:
        client.delete("chat")
    system.query(
        "UPDATE llm_chats SET status = 'cancelled', finished_at = now(), version = version + 1 WHERE status = 'queued'"
    )


def _ids(drizzled: Drizzled) -> list[str]:
    return [json.loads(body)["id"] for body in drizzled.bodies]


def _total_ms(system: System, chat_ids: Sequence[str]) -> list[float]:
    """From the row's beginning to its end, of chats that were answered at the first attempt."""
    moments = dict(
        system.query(
            "SELECT id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin) - created_at)::float8 * 1000"
            " FROM llm_chats WHERE status = 'succeeded' AND attempt = 1"
        )
    )
    return [moments[chat_id] for chat_id in chat_ids]


def _lags(system: System, *, seconds: float) -> list[float]:
    """Milliseconds from the commit of each answer until it was with its reader, by one clock."""
    system.gateway.behave(by_llm_id={SLOW: {"delay": seconds}})
    drizzled = _ask(system, "claude-3-7-sonnet", seconds=READERS / 100, per_second=100)
    ended = follow(port_of(system.web), token(), _ids(drizzled), seconds=60)
    committed = dict(
        system.query("SELECT id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM llm_chats")
    )
    return [(ended[chat_id] - committed[chat_id]) * 1000 for chat_id in ended]
