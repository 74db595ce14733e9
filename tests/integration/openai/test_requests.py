"""What requests under /v1 may bring along, and what is said of bodies in another form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from harness.chatting import System
from harness.waiting import wait_for

ASKED = {"model": "gpt-4o", "input": "Which?", "background": True}


@pytest.fixture(autouse=True)
def slow_model(system: System, well_behaved: None) -> None:
    system.gateway.behave(completions={"delay": 60})


def respond(system: System, path: str = "/v1/responses", **more: Any) -> httpx.Response:
    return system.web.post(path, json={**ASKED, **more})


def under_way(system: System) -> str:
    """The id of a response whose model is thinking."""
    response_id: str = respond(system).json()["id"]
    wait_for(lambda: system.web.get(f"/v1/responses/{response_id}").json()["status"] == "in_progress")
    return response_id


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
def test_query_parameters_that_nobody_knows_are_let_through(system: System, path: str) -> None:
    assert system.web.get(f"{path}?api-version=1&x=2&x=3").status_code == 200
    response = respond(system, "/v1/responses?api-version=1")
    assert (response.status_code, response.headers["x-llm-refresh-ignored"]) == (200, "api-version")
    one = f"/v1/responses/{response.json()['id']}"
    for method, place in (("GET", one), ("GET", f"{one}/input_items"), ("POST", f"{one}/cancel"), ("DELETE", one)):
        assert system.web.client.request(method, f"{place}?api-version=1").status_code == 200, (method, place)


def test_a_response_that_is_not_to_be_stored_says_that_it_is(system: System) -> None:
    assert respond(system, store=False).headers["x-llm-refresh-ignored"] == "store"
    assert "x-llm-refresh-ignored" not in respond(system, store=True).headers


def test_what_an_open_response_is_said_to_be_is_a_status_of_responses(system: System) -> None:
    first = under_way(system)
    refused = respond(system, previous_response_id=first)
    assert (refused.status_code, "it is in_progress" in refused.json()["error"]["message"]) == (400, True)


def test_a_resumed_stream_without_news_begins_at_once(system: System) -> None:
    first = under_way(system)
    with system.web.client.stream("GET", f"/v1/responses/{first}?stream=true&starting_after=2", timeout=4) as stream:
        assert next(stream.iter_lines()).startswith(":")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/api/chasen/chat"])
def test_a_body_in_a_coding_is_a_415(system: System, path: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    response = system.web.post(path, content=json.dumps(ASKED), headers=headers)
    assert (response.status_code, "Content-Encoding" in response.text) == (415, True)


def test_half_of_a_surrogate_pair_is_told_as_what_it_is(system: System) -> None:
    body = b'{"model": "m", "input": "\\ud800"}'
    response = system.web.post("/v1/responses", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, "half of a surrogate pair" in response.json()["error"]["message"]) == (400, True)
