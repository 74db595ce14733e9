"""API keys: made by command and over HTTP, taken wherever a token is, and refused everywhere soon after their end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest

from harness import plain_http
from harness.processes import Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers
from harness.waiting import wait_for
from shared.db import Caller
from tests.integration.web.conftest import SECRET
from tests.support import openai_sdk as openai
from tests.support.commands import Commands, LoadedCommands

FORM = re.compile(r"lr_[a-z0-9]{12}_[A-Za-z0-9]{43}")
NOTICED_SECONDS = 5


@dataclass
class Guarded:
    """Two web processes with auth, and the command beside them."""

    web: Web
    command: Commands
    superuser_url: str

    def ask(self, key: str, path: str = "/api/llms", method: str = "GET", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Connection": "close"}  # another connection, any process
        return plain_http.request(method, f"{self.web.url}{path}", headers=headers, timeout=20, **more)

    def as_service(self, method: str, path: str, **more: Any) -> httpx.Response:
        claims = {"sub": "ops", "role": "service_role", "exp": int(time.time()) + 600}
        return self.ask(jwt.encode(claims, SECRET, "HS256"), path, method, **more)

    def made(self, *words: str) -> dict[str, Any]:
        done = self.command("keys", "create", "test", "--subject", "anna", *words, "--json")
        assert done.returncode == 0, done.stderr
        key: dict[str, Any] = json.loads(done.stdout)
        return key

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            result = connection.execute(sql.encode(), values)
            return result.fetchall() if result.description else []

    def refused_within(self, key: str, seconds: float, since: float) -> None:
        """Both processes refuse it from then on."""
        wait_for(lambda: time.monotonic() >= since + seconds, seconds=seconds + 5)
        assert {self.ask(key).status_code for _ in range(12)} == {401}


@pytest.fixture(scope="module")
def guarded(servers: Servers, loaded: LoadedCommands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder: Path = tmp_path_factory.mktemp("keys")
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        variables = local_variables(database.url, servers.redis_url(), JWT_SECRET=SECRET)
        with web(variables, folder) as shim:
            yield Guarded(shim, Commands(variables, folder, loaded), database.superuser_url)


def test_a_key_is_shown_once_and_only_its_digest_is_stored(guarded: Guarded) -> None:
    made = guarded.made("--expires", "90d")
    assert made.keys() >= {"id", "name", "subject", "role", "key", "expires_at"}
    assert (made["name"], made["subject"], made["role"]) == ("test", "anna", "authenticated")
    assert FORM.fullmatch(made["key"])
    assert made["key"].split("_")[1] == made["id"]
    secret = made["key"].split("_")[2]
    ((row,),) = guarded.query("SELECT k::text FROM llm_api_keys k WHERE id = %s", made["id"])
    assert secret not in row
    for listed in (guarded.command("keys", "list", "--json").stdout, guarded.as_service("GET", "/api/keys").text):
        assert made["id"] in listed
        assert secret not in listed
        assert "sha256" not in listed
    assert made["id"] in guarded.command("keys", "list").stdout
    assert guarded.ask(made["key"]).status_code == 200
    assert secret not in guarded.web.process.output


def test_a_key_works_wherever_a_token_does(guarded: Guarded) -> None:
    mine, service = guarded.made()["key"], guarded.made("--role", "service_role")["key"]
    assert guarded.ask(mine, "/api/me").json() == {"subject": "anna", "role": "authenticated", "auth": True}
    assert guarded.ask(mine, "/api/keys").status_code == 403
    assert guarded.ask(mine, "/metrics").status_code == 403
    assert guarded.ask(service, "/metrics").status_code == 200
    assert guarded.ask(service, "/api/llms/runs").status_code == 200
    with openai.OpenAI(base_url=f"{guarded.web.url}/v1", api_key=mine) as client:
        assert "gpt-4o" in [model.id for model in client.models.list()]


def test_what_is_no_key_is_refused_in_the_form_of_the_address(guarded: Guarded) -> None:
    key = guarded.made()["key"]
    other = key[:-1] + ("a" if key[-1] != "a" else "b")
    for wrong in (other, key[:-1], f"{key}a", "lr_", "lr_x_y", "lr_" + "a" * 12 + "_" + "b" * 43, key.upper()):
        response = guarded.ask(wrong)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated"), wrong
        assert wrong not in response.text
    with openai.OpenAI(base_url=f"{guarded.web.url}/v1", api_key=other) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            client.models.list()
        assert refused.value.code == "invalid_api_key"


def test_a_revoked_key_is_refused_by_every_process_within_five_seconds(guarded: Guarded) -> None:
    made = guarded.made()
    assert {guarded.ask(made["key"]).status_code for _ in range(12)} == {200}
    revoked_at = time.monotonic()
    assert guarded.as_service("DELETE", f"/api/keys/{made['id']}").json()["revoked_by"] == "ops"
    guarded.refused_within(made["key"], NOTICED_SECONDS, revoked_at)
    assert guarded.as_service("DELETE", f"/api/keys/{made['id']}").status_code == 200
    assert guarded.as_service("POST", f"/api/keys/{made['id']}/rotate").status_code == 404


def test_an_expired_key_is_refused_at_once(guarded: Guarded) -> None:
    made = guarded.as_service(
        "POST", "/api/keys", json={"name": "short", "subject": "ben", "expires_in_days": 3 / 86400}
    ).json()
    expires_at = time.monotonic() + 3
    assert guarded.ask(made["key"]).status_code == 200
    guarded.refused_within(made["key"], 0.5, expires_at)


def test_after_a_rotation_both_keys_hold_for_the_grace(guarded: Guarded) -> None:
    made = guarded.made()
    rotated = json.loads(guarded.command("keys", "rotate", made["id"], "--grace", "1h", "--json").stdout)
    assert (rotated["id"], rotated["subject"]) == (made["id"], "anna")
    assert rotated["key"] != made["key"]
    assert [guarded.ask(key).status_code for key in (made["key"], rotated["key"])] == [200, 200]
    again = guarded.as_service("POST", f"/api/keys/{made['id']}/rotate", json={"grace_hours": 0})
    since = time.monotonic()
    guarded.refused_within(made["key"], NOTICED_SECONDS, since)
    assert guarded.ask(rotated["key"]).status_code == 401
    assert guarded.ask(again.json()["key"]).status_code == 200


def test_its_last_use_is_known_to_the_minute(guarded: Guarded) -> None:
    made = guarded.made()
    used: Callable[[], Any] = lambda: guarded.query(  # noqa: E731
        "SELECT last_used_at, date_trunc('minute', last_used_at) FROM llm_api_keys WHERE id = %s", made["id"]
    )[0]
    assert used()[0] is None
    guarded.ask(made["key"])
    first, minute = used()
    assert first == minute
    guarded.query("UPDATE llm_api_keys SET last_used_at = now() - interval '2 minutes' WHERE id = %s", made["id"])
    wait_for(lambda: guarded.ask(made["key"]).status_code == 200 and used()[0] >= first)


def test_nobody_but_service_role_sees_the_table(guarded: Guarded) -> None:
    made = guarded.made()
    for caller in (Caller("authenticated", "anna"), Caller("operator", "olga")):
        with psycopg.connect(guarded.superuser_url) as connection:
            connection.execute(f'SET ROLE "{caller.role}"'.encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM llm_api_keys")
        for method, path in (("GET", "/api/keys"), ("POST", "/api/keys"), ("DELETE", f"/api/keys/{made['id']}")):
            claims = {"sub": caller.subject, "role": caller.role, "exp": int(time.time()) + 600}
            token = jwt.encode(claims, SECRET, "HS256")
            assert guarded.ask(token, path, method, json={"name": "x", "subject": "y"}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "", "subject": "a"},
        {"name": "x", "subject": "a\n"},
        {"name": "x", "subject": "a", "role": "admin"},
        {"name": "x", "subject": "a", "expires_in_days": 0},
        {"name": "x", "subject": "a" * 256},
        {"name": "x", "subject": "a", "id": "b"},
    ],
)
def test_a_body_that_makes_no_key_is_refused(guarded: Guarded, body: dict[str, Any]) -> None:
    assert guarded.as_service("POST", "/api/keys", json=body).status_code == 422


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "x"), 2),
        (("create", "x", "--subject", ""), 2),
        (("create", "x", "--subject", "a", "--role", "admin"), 2),
        (("create", "x", "--subject", "a", "--expires", "soon"), 2),
        (("rotate", "nothing"), 1),
        (("revoke", "nothing"), 1),
    ],
)
def test_wrong_use_of_the_command_says_so(guarded: Guarded, words: tuple[str, ...], code: int) -> None:
    done = guarded.command("keys", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr
