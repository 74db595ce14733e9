"""The form to compare chats with: threads that ask the gateway by httpx, and nothing else. No queue, row or log."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from bench.processes import peak_megabytes
from shared.gateway import wire


def ask(*, url: str, key: str, chats: int, in_flight: int) -> dict[str, float]:
    """Ask so often, so many at a time, a client to each thread; the CPU seconds of it, and the peak memory."""
    context = httpx.create_ssl_context(trust_env=False)
    numbers, answered = iter(range(chats)), itertools.count()
    taking = threading.Lock()
    headers = {"MATCHA-API-KEY": key, "Content-Type": "application/json"}

    def some() -> None:
        with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60, headers=headers) as client:
            while True:
                with taking:
                    number = next(numbers, None)
                if number is None:
                    return
                prompt = f"Question number {number:06}?"
                body = wire.completion_body(llm_id=28, prompt=prompt, mission_id=1, model_field="llm_id")
                response = client.post(wire.COMPLETIONS_PATH, content=body)
                answer = wire.read_completion(
                    response.status_code, response.headers["content-type"], response.content, where="bench"
                )
                assert prompt in answer
                next(answered)

    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(in_flight) as threads:
        for each in [threads.submit(some) for _ in range(in_flight)]:
            each.result()
    assert next(answered) == chats
    return {
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - began,
        "peak_megabytes": peak_megabytes(),
    }
