"""Limits of callers over two web servers at once, and as OpenAI's SDK sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.chatting import System
from harness.processes import Web, web
from tests.support import openai_sdk as openai

CALLER = "local"
"""Whoever asks where tokens are not looked at."""


@pytest.fixture(scope="module")
def webs(system: System) -> Iterator[list[Web]]:
    """Two servers of two processes each."""
    with web(system.variables, system.folder) as second:
        yield [system.web, second]


@pytest.fixture(autouse=True)
def without_limits(system: System) -> Iterator[None]:
    yield
    system.query("DELETE FROM llm_callers")


def limit(web: Web, **limits: int | None) -> None:
    response = web.client.patch(f"/api/callers/{CALLER}", json=limits)
    assert response.status_code == 200, response.text


def ask(web: Web, number: int) -> httpx.Response:
    """Asks again after a 503, as SDKs do: on a busy machine the line before a limit is longer than web waits."""
    while True:
        response = web.post("/api/chasen/chat", json={"question": f"Number {number}?"})
        if response.status_code != 503:
            return response
        assert response.json()["code"] == "database_unavailable", response.text


def ask_at_once(webs: list[Web], number: int) -> Counter[int]:
    """The statuses of so many questions, asked by many threads of all servers."""
    with ThreadPoolExecutor(36) as pool:
        return Counter(pool.map(lambda each: ask(webs[each % len(webs)], each).status_code, range(number)))


@pytest.mark.parametrize("allowed", [7, 150])  # one by one, and side by side at first
@pytest.mark.parametrize("name", ["max_open", "per_minute"])
def test_a_limit_holds_over_all_web_processes(system: System, webs: list[Web], name: str, allowed: int) -> None:
    system.gateway.behave(completions={"delay": 60})
    limit(webs[0], **{name: allowed})
    assert ask_at_once(webs, allowed + 60) == {202: allowed, 429: 60}
    assert sum(system.statuses().values()) == allowed


def test_a_limit_is_in_effect_in_every_web_process_at_once(system: System, webs: list[Web]) -> None:
    system.gateway.behave(completions={"delay": 60})
    assert ask_at_once(webs, 12) == {202: 12}
    limit(webs[0], max_open=12)
    assert ask_at_once(webs, 12) == {429: 12}
    limit(webs[1], max_open=None)
    assert ask_at_once(webs, 12) == {202: 12}


def test_the_sdk_raises_a_rate_limit_with_its_headers(system: System, webs: list[Web], client: openai.OpenAI) -> None:
    arguments = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Which?"}]}
    limit(webs[0], per_minute=2)
    reply = client.chat.completions.with_raw_response.create(**arguments)  # type: ignore[call-overload]
    assert reply.headers["x-ratelimit-limit-requests"] == "2"
    assert reply.headers["x-ratelimit-remaining-requests"] == "1"
    assert reply.headers["x-ratelimit-reset-requests"] == "1m0s"
    streamed = client.responses.with_raw_response.create(model="gpt-4o", input="Which?", stream=True)
    assert streamed.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(openai.RateLimitError) as refused:
        client.with_options(max_retries=0).chat.completions.create(**arguments)  # type: ignore[call-overload]
    error = refused.value
    assert (error.type, error.code, error.param) == ("requests", "rate_limit_exceeded", None)
    assert 0 < int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-should-retry" not in error.response.headers
    assert sum(system.statuses().values()) == 2


def test_the_sdk_waits_and_gets_its_answer(system: System, webs: list[Web], client: openai.OpenAI) -> None:
    limit(webs[0], max_open=1)
    system.gateway.behave(completions={"delay": 2})
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda number: client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": f"Number {number}?"}]
                ),
                range(2),
            )
        )
    assert all(answer.choices[0].message.content for answer in answers)


def test_a_resent_question_joins_its_chat_and_spends_nothing(
    system: System, webs: list[Web], client: openai.OpenAI
) -> None:
    limit(webs[0], per_minute=1)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Once?"}]}
    first = webs[0].post("/v1/chat/completions", json=body)
    again = webs[1].post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "1"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["id"] == again.json()["id"]
    assert webs[0].post("/v1/chat/completions", json=body).status_code == 429
