"""Half a body, odd headers and odd addresses: refused as what they are, and nothing is done."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from harness.processes import Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers


@pytest.fixture(scope="module")
def shim(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        with web(
            local_variables(database.url, servers.redis_url(), WEB_CONCURRENCY="1"), tmp_path_factory.mktemp("odd")
        ) as running:
            yield running


def exchange(shim: Web, request: bytes) -> tuple[int, str]:
    """Send these bytes, close our side, and read the answer: its status and the rest of it."""
    place = urlsplit(shim.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while received := connection.recv(65_536):
            answer += received
    return int(answer.split()[1]), answer.decode()


def head(method: str, path: str, *headers: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Connection: close")
    return "\r\n".join([*lines, *headers, "", ""]).encode()


ROUTES = [
    ("POST", "/api/llms/refresh"),
    ("POST", "/api/chasen/chat"),
    ("PATCH", "/api/llms/gpt-4o"),
    ("DELETE", "/api/chats/00000000-0000-0000-0000-000000000000"),
    ("GET", "/api/llms"),
    ("GET", "/healthz"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("body", [b"", b'{"dryRun":'])
def test_a_body_shorter_than_its_length_is_a_400(shim: Web, method: str, path: str, body: bytes) -> None:
    runs = shim.get("/api/llms/runs").json()
    status, answer = exchange(shim, head(method, path, "Content-Length: 16") + body)
    assert (status, '"code": "incomplete_body"' in answer) == (400, True), answer
    assert shim.get("/api/llms/runs").json() == runs


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "body", [b"", b"2\r\n{}", b"2\r\n{}\r\n", b"2\r\n{}\r\n0\r\n", b"ff\r\n{}", b"no\r\n{}\r\n0\r\n\r\n"]
)
def test_chunks_that_break_off_are_a_400(shim: Web, method: str, path: str, body: bytes) -> None:
    runs = shim.get("/api/llms/runs").json()
    status, answer = exchange(shim, head(method, path, "Transfer-Encoding: chunked") + body)
    assert (status, '"code": "incomplete_body"' in answer) == (400, True), answer
    assert shim.get("/api/llms/runs").json() == runs


def test_whole_bodies_are_taken_in_both_forms(shim: Web) -> None:
    body = b'{"model_name": null}'
    whole = exchange(shim, head("PATCH", "/api/llms/gpt-4o", f"Content-Length: {len(body)}") + body)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert whole[0] == 200, whole
    assert exchange(shim, head("PATCH", "/api/llms/gpt-4o", "Transfer-Encoding: chunked") + chunks)[0] == 200


@pytest.mark.parametrize(
    "header",
    ["SCRIPT_NAME: /x", "Script-Name: /x", "PATH_INFO: /x", "REMOTE_USER: root", "X-Forwarded-Prefix: /x", "A_b: c"],
)
def test_no_header_moves_the_application(shim: Web, header: str) -> None:
    assert exchange(shim, head("GET", "/healthz", header))[0] == 200


LONG = "a" * 5000


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (head("GET", f"/api/llms?of={LONG}"), 414, "uri_too_long"),
        (head("GET", f"/api/llms?of={LONG * 40}"), 414, "uri_too_long"),
        (head("GET", "/healthz", f"X-Long: {LONG * 2}"), 431, "headers_too_large"),
        (head("GET", "/healthz", *(f"X-{number}: a" for number in range(120))), 431, "headers_too_large"),
        (head("POST", "/api/llms/refresh", "Transfer-Encoding: zzz"), 501, "unsupported_transfer_coding"),
        (head("POST", "/api/llms/refresh", "Expect: tea"), 417, "expectation_failed"),
        (head("GET", "/healthz", "no header"), 400, "bad_request"),
        (b"GET\r\n\r\n", 400, "bad_request"),
        (head("GET", "/v1/models").replace(b"HTTP/1.1", b"HTTP/9"), 400, "bad_request"),
        (head("GET", f"/v1/models?of={LONG}"), 414, "uri_too_long"),
        (head("POST", "/v1/responses", f"X-Long: {LONG * 2}"), 431, "headers_too_large"),
        (head("POST", "/v1/responses", "Transfer-Encoding: zzz"), 501, "unsupported_transfer_coding"),
    ],
)
def test_what_is_no_readable_request_is_refused_in_the_form_of_its_address(
    shim: Web, request_: bytes, status: int, code: str
) -> None:
    answered, text = exchange(shim, request_)
    fields, _, body = text.partition("\r\n\r\n")
    headers = httpx.Headers([tuple(line.split(": ", 1)) for line in fields.split("\r\n")[1:]])  # type: ignore[misc]
    document = json.loads(body)
    assert (answered, int(headers["content-length"])) == (status, len(body))
    if b"/v1/" in request_:
        assert headers["content-type"] == "application/json"
        assert set(document) == {"error"}
        assert (document["error"]["type"], document["error"]["code"]) == ("invalid_request_error", code)
        assert headers.get("x-should-retry") == ("false" if status == 501 else None)
    else:
        assert headers["content-type"] == "application/problem+json"
        assert (document["code"], document["status"]) == (code, status)
        assert document["request_id"] == headers["x-request-id"]
    assert headers["connection"] == "close"
    assert headers["x-request-id"]


def test_a_request_behind_one_that_was_answered_is_refused_by_its_own_address(shim: Web) -> None:
    first = head("GET", "/healthz").replace(b"Connection: close", b"Connection: keep-alive")
    status, text = exchange(shim, first + head("GET", f"/v1/models?of={LONG}"))
    assert (status, '"code": "uri_too_long"' in text, '{"error": ' in text) == (200, True, True)


@pytest.mark.parametrize("path", ["/api/tasks/%00", "/api/tasks/a%00b", "/api/llms/runs/%00", "/api/chats/%00"])
def test_a_nul_in_an_address_is_a_404(shim: Web, path: str) -> None:
    response = shim.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert shim.client.patch("/api/llms/%00", json={}).status_code == 404


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/llms/changes", {"GET", "HEAD", "OPTIONS"}),
        ("/api/llms/runs", {"GET", "HEAD", "OPTIONS"}),
        ("/api/llms/usage", {"GET", "HEAD", "OPTIONS"}),
        ("/api/llms/refresh", {"POST", "OPTIONS"}),
        ("/api/llms/changes-of-mine", {"GET", "HEAD", "PATCH", "OPTIONS"}),
    ],
)
def test_options_names_the_methods_that_there_are(shim: Web, path: str, methods: set[str]) -> None:
    allowed = {method.strip() for method in shim.client.options(path).headers["allow"].split(",")}
    assert allowed == methods
    if "PATCH" not in methods:
        assert shim.client.patch(path, json={}).status_code == 405


@pytest.mark.parametrize("body", [{"model": "", "history": None}, {"model": None, "history": []}, {}])
def test_a_model_of_no_letters_and_a_null_history_are_as_absent(shim: Web, body: dict[str, object]) -> None:
    # Nothing is set up to ask: the body was taken when that is what is said.
    response: httpx.Response = shim.post("/api/chasen/chat", json={"question": "q", **body})
    assert (response.status_code, response.json()["code"]) == (503, "matchaai_not_set_up")
    assert int(response.headers["retry-after"]) > 0


def test_every_503_says_when_to_come_back(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> None:
    with servers.empty_database() as database:
        variables = local_variables(database.url, "redis://127.0.0.1:1/0")
        with web(variables, tmp_path_factory.mktemp("bare")) as running:
            answers = [
                running.get("/readyz"),
                running.get("/api/llms"),
                running.get("/api/llms/runs"),
                running.post("/api/llms/refresh"),
                running.post("/api/llms/refresh", json={"dryRun": True}),
                running.post("/api/chasen/chat", json={"question": "q"}),
            ]
    assert [answer.status_code for answer in answers] == [503] * len(answers)
    codes = {answer.json().get("code") for answer in answers[1:]}
    assert codes == {"listing_unavailable", "database_not_migrated", "redis_unavailable", "matchaai_not_set_up"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
