"""The pages as HTTP sees them: what they allow, how they are kept, what they load."""

import re

import pytest
from flask.testing import FlaskClient

from shared.settings import read_settings
from worker.web.app import create_app
from worker.web.pages import PageRoutes, read_assets

LOAD_NOTHING = (
    "api.js",
    "conversation.css",
    "dom.js",
    "words.js",
    "llm-model-select.js",
    "style.css",
    "ops.css",
    "docs.css",
    "icon.svg",
)
SERVERS = {"DATABASE_URL": "postgresql://127.0.0.1/nothing", "REDIS_URL": "redis://127.0.0.1"}


@pytest.fixture
def client() -> FlaskClient:
    """A server that asks everyone for a token."""
    settings = read_settings(SERVERS | {"JWT_SECRET": "x" * 32})
    return create_app(settings, PageRoutes(flower_port=5999, chat_max_chars=200_000).routes()).test_client()


@pytest.mark.parametrize("path", ["/", "/ops", "/assets/panel.js", "/assets/style.css", "/assets/icon.svg"])
def test_shells_are_open_to_anyone_and_let_nothing_inline_or_foreign_in(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_file_is_sent_once_until_it_changes(client: FlaskClient) -> None:
    first = client.get("/assets/panel.js")
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.content_type == "text/javascript; charset=utf-8"
    again = client.get("/assets/panel.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_there_are_no_other_files(client: FlaskClient) -> None:
    for path in ("/assets/__init__.py", "/assets/..%2Fpages.py", "/assets/", "/assets/nothing.js"):
        assert client.get(path).status_code == 404


def test_a_link_may_carry_parameters(client: FlaskClient) -> None:
    assert client.get("/?from=mail").status_code == 200


def test_the_port_of_flower_is_the_one_that_is_set(client: FlaskClient) -> None:
    assert 'data-port="5999"' in client.get("/ops").text


def test_pages_load_only_files_that_there_are_and_hold_nothing_inline() -> None:
    assets = read_assets({"flower_port": "1", "chat_max_chars": "2"})
    for name, asset in assets.items():
        text = asset.body.decode()
        loads = r'(?:src|href)="([^"#]+)"' if name.endswith(".html") else r'^import (?:.* from )?"([^"]+)"'
        addresses = re.findall(loads, text, re.MULTILINE)
        assert addresses or name in LOAD_NOTHING, name
        for address in addresses:
            is_ours = address in ("/", "/ops", "/docs", "/metrics") or address.rpartition("/")[2] in assets
            assert is_ours, f"{name} loads {address}"
        if name.endswith(".html"):
            assert "{{" not in text, name
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), name


def test_no_file_names_an_address_elsewhere() -> None:
    for name, asset in read_assets({}).items():
        elsewhere = set(re.findall(rb"https?://[\w.-]+", asset.body)) - {b"http://www.w3.org"}
        assert not elsewhere, name
