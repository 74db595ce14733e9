"""Endpoints are made, listed and removed by command and over HTTP, by service_role alone; a secret is shown once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from shared.signing import signing_key
from shared.vocabulary import WEBHOOK_EVENTS
from tests.support.commands import Commands, LoadedCommands

SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"
URL = "http://127.0.0.1:9/hook?token=of-the-receiver"


@dataclass
class Managed:
    """A web process with auth, and the command beside it."""

    web: Web
    command: Commands
    variables: dict[str, str]
    superuser_url: str

    def ask(self, method: str, path: str, *, role: str = "service_role", **more: Any) -> httpx.Response:
        token = jwt.encode({"sub": "ops", "role": role, "exp": int(time.time()) + 600}, SECRET, "HS256")
        headers = {"Authorization": f"Bearer {token}"}
        return plain_http.request(method, f"{self.web.url}{path}", headers=headers, timeout=20, **more)

    def made(self, subject: str, url: str = URL) -> dict[str, Any]:
        response = self.ask(
            "POST", "/api/webhooks", json={"url": url, "subject": subject, "events": list(WEBHOOK_EVENTS)}
        )
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            result = connection.execute(sql.encode(), values)
            return result.fetchall() if result.description else []

    def delivery(self, endpoint_id: str) -> str:
        """A delivery of this endpoint that has ended."""
        rows = self.query(
            "INSERT INTO llm_webhook_deliveries (id, endpoint_id, event_id, type, object_id, status, ended_at)"
            " VALUES (gen_random_uuid(), %s, 'evt_1', 'response.completed', 'resp_1', 'failed', now()) RETURNING id",
            endpoint_id,
        )
        return str(rows[0][0])


@pytest.fixture(scope="module")
def managed(servers: Servers, loaded: LoadedCommands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    folder: Path = tmp_path_factory.mktemp("webhooks")
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        variables = local_variables(database.url, servers.redis_url(), JWT_SECRET=SECRET, WEB_CONCURRENCY="1")
        with web(variables, folder) as shim:
            yield Managed(shim, Commands(variables, folder, loaded), variables, database.superuser_url)


def test_an_endpoint_is_made_by_command_and_its_secret_shown_once(managed: Managed) -> None:
    events = "response.completed, response.failed,response.completed"
    done = managed.command("webhooks", "add", URL, "--subject", "anna", "--events", events, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["subject"], made["url"], made["events"]) == ("anna", URL, ["response.completed", "response.failed"])
    assert len(signing_key(made["secret"])) == 32
    listings = [
        managed.command("webhooks", "list", "--json").stdout,
        managed.command("webhooks", "list").stdout,
        managed.ask("GET", "/api/webhooks?subject=anna").text,
        managed.web.process.output,
    ]
    assert all(made["secret"] not in text for text in listings)
    assert all(made["id"] in text for text in listings[:3])
    assert "token=of-the-receiver" not in managed.web.process.output
    assert json.loads(listings[0])["webhooks"][0].keys() == made.keys() - {"secret"}


def test_commands_and_routes_do_the_same(managed: Managed) -> None:
    first, second = managed.made("ben"), managed.made("ben")
    delivery = managed.delivery(first["id"])
    shown = managed.ask("GET", f"/api/webhooks/{first['id']}/deliveries").json()
    assert shown == json.loads(managed.command("webhooks", "deliveries", first["id"], "--json").stdout)
    assert [(row["id"], row["status"]) for row in shown["deliveries"]] == [(delivery, "failed")]
    assert delivery in managed.ask("GET", "/api/webhooks/deliveries").text
    assert delivery in managed.command("webhooks", "deliveries").stdout
    again = managed.ask("POST", f"/api/webhooks/deliveries/{delivery}/redeliver")
    assert (again.status_code, again.json()["status"]) == (200, "waiting")
    assert managed.command("webhooks", "redeliver", delivery).returncode == 0
    assert managed.ask("POST", f"/api/webhooks/{first['id']}/enable").status_code == 200
    assert managed.command("webhooks", "enable", second["id"]).returncode == 0
    assert managed.ask("DELETE", f"/api/webhooks/{first['id']}").json()["id"] == first["id"]
    assert managed.command("webhooks", "remove", second["id"]).returncode == 0
    assert managed.ask("GET", "/api/webhooks?subject=ben").json() == {"webhooks": []}
    off = managed.ask("POST", f"/api/webhooks/deliveries/{delivery}/redeliver")
    assert (off.status_code, off.json()["code"]) == (409, "endpoint_off")
    refused = managed.command("webhooks", "redeliver", delivery)
    assert (refused.returncode, "was removed" in refused.stderr) == (1, True)


def test_a_rotation_shows_the_new_secret_once_and_says_until_when_the_old_one_signs(managed: Managed) -> None:
    made = managed.made("fritz")
    path = f"/api/webhooks/{made['id']}/rotate"
    rotated = managed.ask("POST", path, json={"grace_hours": 2}).json()
    assert rotated.keys() == made.keys()
    assert rotated["secret"] != made["secret"]
    assert len(signing_key(rotated["secret"])) == 32
    grace = datetime.fromisoformat(rotated["previous_until"]) - datetime.fromisoformat(rotated["rotated_at"])
    assert grace == timedelta(hours=2)
    done = managed.command("webhooks", "rotate", made["id"], "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert datetime.fromisoformat(again["previous_until"]) > datetime.fromisoformat(again["rotated_at"])
    at_once = managed.command("webhooks", "rotate", made["id"], "--grace", "0m")
    listing = managed.ask("GET", "/api/webhooks?subject=fritz").text
    texts = [listing, managed.web.process.output]
    secrets = [each["secret"] for each in (made, rotated, again)] + re.findall(r"whsec_\S+", at_once.stdout)
    assert (len(set(secrets)), [secret for secret in secrets if any(secret in text for text in texts)]) == (4, [])
    assert json.loads(listing)["webhooks"][0]["previous_until"] is None
    ((stored,),) = managed.query("SELECT secret FROM llm_webhook_endpoints WHERE id = %s", made["id"])
    assert stored == secrets[-1]
    assert managed.command("webhooks", "rotate", made["id"], "--grace", "31d").returncode == 2
    for wrong in ({"grace_hours": -1}, {"grace_hours": 721}, {"grace_hours": "1"}, {"grace": 1}):
        assert managed.ask("POST", path, json=wrong).status_code == 422, wrong
    managed.ask("DELETE", f"/api/webhooks/{made['id']}")
    assert managed.ask("POST", path).status_code == 404
    assert managed.command("webhooks", "rotate", made["id"]).returncode == 1
    assert managed.query("SELECT secret, previous_secret FROM llm_webhook_endpoints WHERE id = %s", made["id"]) == [
        ("", None)
    ]


def test_what_is_not_there_is_not_found(managed: Managed) -> None:
    for missing in ("0190f1f2-0000-7000-8000-000000000000", "nothing"):
        for method, path in (
            ("DELETE", f"/api/webhooks/{missing}"),
            ("POST", f"/api/webhooks/{missing}/enable"),
            ("POST", f"/api/webhooks/{missing}/rotate"),
            ("GET", f"/api/webhooks/{missing}/deliveries"),
            ("POST", f"/api/webhooks/deliveries/{missing}/redeliver"),
        ):
            refused = managed.ask(method, path)
            assert refused.status_code == 404, path
            what = "delivery" if "deliveries/" in path else "endpoint"
            assert refused.json()["detail"].startswith(f"no {what} has this id"), path
    done = managed.command("webhooks", "remove", "0190f1f2-0000-7000-8000-000000000000")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert managed.command("webhooks", "remove", "nothing").returncode == 2


@pytest.mark.parametrize("role", ["authenticated", "operator"])
def test_other_roles_may_do_nothing(managed: Managed, role: str) -> None:
    made = managed.made("carl")
    delivery = managed.delivery(made["id"])
    for method, path in (
        ("GET", "/api/webhooks"),
        ("POST", "/api/webhooks"),
        ("DELETE", f"/api/webhooks/{made['id']}"),
        ("POST", f"/api/webhooks/{made['id']}/enable"),
        ("POST", f"/api/webhooks/{made['id']}/rotate"),
        ("GET", "/api/webhooks/deliveries"),
        ("GET", f"/api/webhooks/{made['id']}/deliveries"),
        ("POST", f"/api/webhooks/deliveries/{delivery}/redeliver"),
    ):
        body = {"url": URL, "subject": "ops", "events": ["response.completed"]} if method == "POST" else None
        assert managed.ask(method, path, role=role, json=body).status_code == 403, path
    managed.ask("DELETE", f"/api/webhooks/{made['id']}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"events": []}, "events: must hold 1 or more"),
        ({"events": ["response.done"]}, "'response.done' is no event; the events are response.completed, "),
        ({"events": "response.completed"}, "events: must be a list"),
        ({"url": "ftp://x"}, "url: must be an address such as"),
        ({"url": "http://169.254.169.254/latest"}, "url: its host leads to 169.254.169.254, which is link-local"),
        ({"url": f"http://127.0.0.1/{'x' * 2000}"}, "url: may hold 2000 characters at most"),
        ({"url": "http://a:b@127.0.0.1/"}, "url: must hold no user or password"),
        ({"subject": ""}, "subject: "),
        ({"subject": "a\nb"}, "subject: must be one line"),
        ({"secret": "mine"}, "secret: no such field"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_stored(managed: Managed, change: dict[str, Any], why: str) -> None:
    before = managed.query("SELECT count(*) FROM llm_webhook_endpoints")
    body = {"url": URL, "subject": "dora", "events": ["response.completed"]} | change
    response = managed.ask("POST", "/api/webhooks", json=body)
    assert response.status_code == 422
    assert why in response.json()["detail"]
    assert managed.query("SELECT count(*) FROM llm_webhook_endpoints") == before


def test_a_subject_has_no_more_than_twenty(managed: Managed) -> None:
    for _ in range(20):
        managed.made("emil")
    many = managed.ask("POST", "/api/webhooks", json={"url": URL, "subject": "emil", "events": ["batch.completed"]})
    assert (many.status_code, many.json()["code"]) == (409, "too_many_endpoints")
    managed.made("a subject that nobody has seen")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/x", "must begin with https://"),
        ("https://127.0.0.1/x", "is loopback"),
        ("https://localhost/x", "is loopback"),
        ("https://[fe80::1]/x", "is link-local"),
    ],
)
def test_production_takes_https_and_no_loopback(managed: Managed, tmp_path: Path, url: str, why: str) -> None:
    production = Commands(managed.variables | {"LLM_REFRESH_ENV": "production"}, tmp_path, managed.command.loaded)
    done = production("webhooks", "add", url, "--subject", "anna", "--events", "response.completed")
    assert (done.returncode, why in done.stderr) == (2, True), done.stderr
    wrong = production("webhooks", "add", "https://10.0.0.1/x", "--subject", "anna", "--events", "response.done")
    assert wrong.returncode == 2
    assert all(event in wrong.stderr for event in WEBHOOK_EVENTS)
