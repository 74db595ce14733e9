"""Streams of /v1/responses that are cut anywhere and resumed anywhere, while workers and web processes are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.chatting import System
from harness.processes import Process
from tests.fault.conftest import Report, StartSystem
from tests.support import openai_sdk as openai

STREAMS = 200
AT_ONCE = 25
CUT = (openai.APIConnectionError, httpx.TransportError)
PATIENCE_SECONDS = 240


def resumed(client: openai.OpenAI, question: str, seed: int) -> tuple[str, str, int]:
    """The id and the text of a response whose stream breaks off again and again; and how often it was taken up."""
    chance = random.Random(seed)
    response_id, last, text, times = "", -1, "", 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    stream: Any = client.responses.create(model="gpt-4o", input=question, background=True, stream=True)
    while time.monotonic() < deadline:
        try:
            for event in stream or ():
                assert event.sequence_number == last + 1, (event.sequence_number, last)
                last = event.sequence_number
                if event.type == "response.created":
                    response_id = event.response.id
                elif event.type == "response.output_text.delta":
                    text += event.delta
                elif event.type == "response.completed":
                    assert event.response.output_text == text
                    return response_id, text, times
                if chance.random() < 0.3:
                    break
            if stream is not None:
                stream.close()
        except CUT:
            pass
        times += 1
        try:
            stream = (
                client.responses.retrieve(response_id, stream=True, starting_after=last)
                if response_id
                else client.responses.create(model="gpt-4o", input=question, background=True, stream=True)
            )
        except CUT:
            stream = None
            time.sleep(0.2)
    raise AssertionError(f"no end of {response_id or question} within {PATIENCE_SECONDS} s")


@pytest.mark.timeout(600)
def test_a_stream_that_is_cut_and_resumed_gives_the_same_text(start_system: StartSystem, report: Report) -> None:
    system = start_system(delay=1, CHAT_LEASE_SECONDS="2", CHAT_MAX_ATTEMPTS="20")
    system.gateway.behave(completions={"padded": 9000, "delay": 1})
    system.start_refresh_worker()
    system.start_chat_worker()
    kills: list[str] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_again_and_again, args=(system, over, kills))
    with openai.OpenAI(base_url=f"{system.web.url}/v1", api_key="x", max_retries=10) as client:
        killer.start()
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                results = list(pool.map(lambda number: resumed(client, f"Question {number}?", number), range(STREAMS)))
        finally:
            over.set()
            killer.join()
    answers = dict(system.query("SELECT 'resp_' || replace(id::text, '-', ''), answer FROM llm_chats"))
    assert [answers[response_id] for response_id, _, _ in results] == [text for _, text, _ in results]
    assert all(f"Question {number}?" in text for number, (_, text, _) in enumerate(results))
    assert {"worker", "web"} <= set(kills)
    report(streams=STREAMS, taken_up=sum(times for _, _, times in results), kills=len(kills))


def kill_again_and_again(system: System, over: threading.Event, kills: list[str]) -> None:
    """A chat worker in the middle of calls, then a web process, each when it works. Others take over meanwhile."""
    while not over.is_set():
        worker = system.start_chat_worker(wait=False)
        until(partial(consumes, worker), over)
        until(lambda: system.gateway.calls()["open"] > 0, over)
        worker.signal(signal.SIGKILL)
        worker.wait()
        kills.append("worker")
        until(system.web.answers, over)
        if not over.is_set():
            os.kill(next(children(system.web.process.pid)), signal.SIGKILL)  # its master starts another one
            kills.append("web")


def consumes(worker: Process) -> bool:
    return "ready." in worker.output


def until(what: Callable[[], bool], over: threading.Event) -> None:
    while not over.is_set() and not what():
        over.wait(0.2)


def children(pid: int) -> Iterator[int]:
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
