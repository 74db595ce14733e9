"""Query parameters of routes: each may be given once."""

import pytest
from flask import Flask, Response

from shared.settings import Settings
from worker.web.app import create_app
from worker.web.chat_bodies import UsageQuery
from worker.web.openai.response_bodies import ResponseQuery
from worker.web.routing import ApiRequest, Route, as_json


def show(request: ApiRequest[None, UsageQuery]) -> Response:
    return as_json(request.query.model_dump())


def show_response(request: ApiRequest[None, ResponseQuery]) -> Response:
    return as_json(request.query.model_dump())


@pytest.fixture(scope="module")
def app() -> Flask:
    settings = Settings(database_url="postgresql://h/d", redis_url="redis://h", jwt_secret="x" * 32)
    routes = [
        Route("GET", "/api/usage", show, "Usage", roles=None, query=UsageQuery),
        Route("GET", "/v1/responses", show_response, "A response", roles=None, query=ResponseQuery),
    ]
    return create_app(settings, routes)


@pytest.mark.parametrize(
    "query", ["by=caller&by=day", "by=caller&by=caller", "days=1&by=caller&by=%20", "by=zzz&by=day"]
)
def test_a_parameter_that_is_given_twice_is_refused_by_its_name(app: Flask, query: str) -> None:
    refused = app.test_client().get(f"/api/usage?{query}")
    assert (refused.status_code, refused.get_json()["code"]) == (400, "invalid_query")
    assert refused.get_json()["detail"] == "by: may be given once"


def test_openai_clients_read_it_in_their_form(app: Flask) -> None:
    error = app.test_client().get("/v1/responses?stream=true&stream=false").get_json()["error"]
    assert (error["param"], error["code"], error["message"]) == ("stream", "invalid_value", "stream: may be given once")


def test_what_is_not_looked_at_may_be_repeated_where_it_is_let_through(app: Flask) -> None:
    assert app.test_client().get("/v1/responses?include=a&include=b").status_code == 200
    assert app.test_client().get("/api/usage?by=caller&days=1").status_code == 200
    unknown = app.test_client().get("/api/usage?of=a&of=b").get_json()
    assert unknown["detail"].startswith("of: no such field")
