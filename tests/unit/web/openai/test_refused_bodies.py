"""A refused body of /v1: the message tells the first cause alone, and writes the field as `param` does."""

from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel

from shared.settings import Settings
from worker.web.app import create_app
from worker.web.openai.bodies import ChatCompletionBody
from worker.web.openai.response_bodies import ResponseBody
from worker.web.routing import ApiRequest, Route

CHAT, RESPONSE = "/v1/chat/completions", "/v1/responses"


def never(request: ApiRequest) -> Any:
    raise AssertionError(request.body)


def route(path: str, body: type[BaseModel]) -> Route:
    return Route("POST", path, never, "Refuse", roles=None, body=body)


@pytest.fixture(scope="module")
def app() -> Flask:
    settings = Settings(database_url="postgresql://h/d", redis_url="redis://h", jwt_secret="x" * 32)
    return create_app(settings, [route(CHAT, ChatCompletionBody), route(RESPONSE, ResponseBody)])


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


NO_KEY = "must hold a model key; leave the list out to name none"

REFUSED: list[tuple[str, Any, str | None, str]] = [
    (
        CHAT,
        said([{"type": "image_url", "image_url": {}}]),
        "messages[0].content[0].type",
        "only parts of the type text can be sent to a model here",
    ),
    (CHAT, said([{"type": "text", "text": "a"}, {"type": "text"}]), "messages[0].content[1].text", "is missing"),
    (CHAT, {"messages": [{"role": 1, "content": 2}]}, "messages[0].role", "must be a text"),
    (CHAT, said(2), "messages[0].content", "must be a text or a list of parts"),
    (CHAT, said([{"type": "text", "text": 2}]), "messages[0].content[0].text", "must be a text"),
    (CHAT, {}, "messages", "is missing"),
    (CHAT, {**said("Which?"), "models": []}, "models", NO_KEY),
    (RESPONSE, {"input": "Which?", "models": []}, "models", NO_KEY),
    (RESPONSE, {"input": 2}, "input", "must be a text or a list of messages"),
    (RESPONSE, {"input": [{"role": "user", "content": {}}]}, "input[0].content", "must be a text or a list of parts"),
    (RESPONSE, {"input": [{"type": "zzz"}]}, "input[0].type", "must be message: no other type of item is known here"),
    (
        RESPONSE,
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "input[0].content[0].type",
        "only parts of the types input_text and output_text can be sent to a model here",
    ),
]


@pytest.mark.parametrize(("path", "body", "param", "cause"), REFUSED)
def test_a_message_tells_the_first_cause_at_the_path_of_param(
    app: Flask, path: str, body: dict[str, Any], param: str, cause: str
) -> None:
    refused = app.test_client().post(path, json={"model": "m", **body})
    error = refused.get_json()["error"]
    assert (refused.status_code, error["param"], error["message"]) == (400, param, f"{param}: {cause}")


def test_what_is_no_object_has_no_path(app: Flask) -> None:
    error = app.test_client().post(CHAT, json=[1]).get_json()["error"]
    assert (error["param"], error["message"]) == (None, "body: must be an object")
