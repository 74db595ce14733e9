"""One chat process with 500 places: CPU a chat of one second against bare threads, and memory with 500 in flight."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from bench.figures import Aim, Figure
from bench.place import Place, alone
from bench.processes import cpu_seconds, peak_megabytes
from harness.chatting import System, chat_system
from shared.chat.accept import Submitter
from shared.chat.chat_request import ChatRequest
from shared.chat.requests import Question
from shared.clock import new_id
from shared.db import Caller, Database
from shared.settings import read_settings
from worker.celery_app import make_celery
from worker.messages import send_chat

_OPEN = """
SELECT (SELECT count(*) FROM llm_chats WHERE status = 'queued'),
       (SELECT count(*) FROM llm_chats WHERE status = 'running')
"""
CALLER = Caller("authenticated", "bench")
CPU, MEGABYTES = Aim(3), Aim(250)


def accept(system: System, number: int) -> list[UUID]:
    """Accept so many questions as the web process does, and send nothing; nor does upkeep, which would count the
    messages that are held back here as lost."""
    database = Database(system.variables["DATABASE_URL"].replace("://", "+psycopg://", 1), application_name="bench")
    submitter = Submitter(database, ids=new_id, deadline_seconds=600, max_open=100_000)
    try:
        chat_requests = [
            ChatRequest(Question(question=f"Question number {each:06}?"), CALLER, None, None) for each in range(number)
        ]
        accepted = [submitter.submit(each).snapshot.chat_id for each in chat_requests]
        system.query("UPDATE llm_chats SET publish_at = now() + interval '1 hour' WHERE status = 'queued'")
        return accepted
    finally:
        database.dispose()


def send(system: System, chat_ids: Sequence[UUID]) -> None:
    """Send the messages for these chats."""
    app = make_celery(read_settings(system.variables))
    for chat_id in chat_ids:
        send_chat(app, chat_id, task_id=str(new_id()), request_id=None)
    app.close()


def wait_until_ended(system: System, *, seconds: float) -> int:
    """Wait until no chat is open; returns the most that were seen running at once."""
    most, deadline = 0, time.monotonic() + seconds
    while True:
        queued, running = system.query(_OPEN)[0]
        if queued + running == 0:
            return most
        assert time.monotonic() < deadline, f"{queued} chats are queued and {running} running"
        most = max(most, running)
        time.sleep(0.25)


def run(place: Place) -> Iterator[Figure]:
    """CPU of the whole process from the first message to the last commit, its logs and heartbeats included."""
    in_flight, chats = place.choose(500, 100), place.choose(2_000, 300)
    ours, bare = list[float](), list[float]()
    no_limits = {"CHAT_MAX_QUEUED": "100000", "CALLER_MAX_OPEN": "100000"}
    with chat_system(place.servers, place.folder, delay=1.0, start_web=False, **no_limits) as system:
        worker = system.start_chat_worker(concurrency=in_flight)
        for repetition in range(place.choose(4, 2)):
            place.say(f"chats, {chats:,} with {in_flight} in flight, repetition {repetition + 1}")
            waiting = accept(system, chats)
            worker.signal(signal.SIGSTOP)  # so that they come as fast as it can take them, not as we can send them
            send(system, waiting)
            before = cpu_seconds(worker.pid)
            worker.signal(signal.SIGCONT)
            most = wait_until_ended(system, seconds=100)
            ours.append((cpu_seconds(worker.pid) - before) / chats * 1000)
            place.say(f"chats, at most {most} seen running")
            result = alone(
                "bench.bare:ask", url=system.gateway.url, key=system.gateway.api_key, chats=chats, in_flight=in_flight
            )
            bare.append(result["cpu_seconds"] / chats * 1000)
        # Calls so long that all have begun before the first ends: of one second each, one core cannot begin so many.
        system.gateway.behave(completions={"delay": place.choose(15, 5)})
        send(system, accept(system, in_flight))
        most = wait_until_ended(system, seconds=100)
        assert set(system.statuses()) == {"succeeded"}, system.statuses()
        peak = peak_megabytes(worker.pid)
    # The first round holds what a process does once: its threads, connections and caches.
    yield Figure(
        "chats", f"CPU a chat, {in_flight} places / bare httpx threads", "ms", tuple(ours[1:]), tuple(bare[1:]), CPU
    )
    yield Figure("chats", "CPU a chat, first round of a new process", "ms", tuple(ours[:1]), tuple(bare[:1]))
    yield Figure("chats", f"peak memory of the process, {most} seen in flight", "MB", (peak,), aim=MEGABYTES)
