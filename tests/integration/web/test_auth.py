"""Tokens: who may call what, with JWT_SECRET set."""

import time
from collections.abc import Iterator

import httpx
import jwt
import pytest

from harness.processes import Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers
from tests.integration.web.conftest import SECRET


@pytest.fixture(scope="module")
def guarded(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        variables = local_variables(
            database.url, servers.redis_url(), JWT_SECRET=SECRET, JWT_AUDIENCE="authenticated", WEB_CONCURRENCY="1"
        )
        with web(variables, tmp_path_factory.mktemp("guarded")) as shim:
            yield shim


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    defaults = {"sub": "anna", "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 600}
    return jwt.encode(
        {name: value for name, value in {**defaults, **claims}.items() if value is not None}, secret, algorithm
    )


def ask(web: Web, path: str = "/api/llms", authorization: str | None = None) -> httpx.Response:
    return web.get(path, headers={} if authorization is None else {"Authorization": authorization})


def test_a_good_token_is_let_in(guarded: Web) -> None:
    for _ in range(3):
        assert ask(guarded, authorization=f"Bearer {token()}").status_code == 200
    assert ask(guarded, authorization=f"bearer {token(role='service_role')}").status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        f"Bearer {token(exp=int(time.time()) - 5)}",
        f"Bearer {token(secret='another-secret-of-more-than-32-bytes-length')}",
        f"Bearer {token(role='admin')}",
        f"Bearer {token(role=None)}",
        f"Bearer {token(role=['admin'])}",
        f"Bearer {token(sub=None)}",
        f"Bearer {token(exp=None)}",
        f"Bearer {token(aud='elsewhere')}",
        f"Bearer {token(algorithm='none', secret='')}",
        f"Bearer {token()[:-4]}AAAA",
        "Bearer " + "a" * 4000,
    ],
)
def test_no_broken_expired_and_foreign_tokens_are_a_401(guarded: Web, authorization: str | None) -> None:
    response = ask(guarded, authorization=authorization)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["code"] == "unauthenticated"
    if authorization and len(authorization) > 20:
        assert authorization.split()[-1] not in response.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/llms/refresh"),
        ("GET", "/api/llms/runs"),
        ("GET", "/api/llms/changes"),
        ("GET", "/api/llms?provenance=1"),
        ("GET", "/api/llms?all=1"),
        ("POST", "/api/llms/runs/01a214b5-340d-7961-8cd0-b4ff3624610a/dismiss"),
        ("PATCH", "/api/llms/gpt-4o"),
    ],
)
def test_what_takes_service_role_is_a_403_for_others(guarded: Web, method: str, path: str) -> None:
    response = guarded.client.request(method, path, headers={"Authorization": f"Bearer {token()}"})
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert guarded.client.request(method, path).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_what_is_open_takes_no_token(guarded: Web, path: str) -> None:
    assert ask(guarded, path).status_code == 200


def test_a_remembered_token_is_forgotten_when_it_expires(guarded: Web) -> None:
    short = f"Bearer {token(exp=int(time.time()) + 3)}"
    assert ask(guarded, authorization=short).status_code == 200
    deadline = time.monotonic() + 15
    while ask(guarded, authorization=short).status_code == 200:
        assert time.monotonic() < deadline
    assert ask(guarded, authorization=short).status_code == 401


def test_another_host_name_is_fine_with_auth(guarded: Web) -> None:
    response = guarded.get("/api/llms", headers={"Authorization": f"Bearer {token()}", "Host": "llm.example"})
    assert response.status_code == 200
