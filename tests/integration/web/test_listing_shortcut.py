"""The listing before Flask and the listing by Flask are one answer."""

from collections.abc import Iterator

import httpx
import pytest

from harness.processes import Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers
from tests.integration.web.conftest import SECRET
from tests.integration.web.test_auth import token

OF_ITS_OWN = ("date", "x-request-id")
BY_FLASK = {"If-None-Match": '"another"'}  # which the shortcut leaves to Flask


@pytest.fixture(scope="module")
def one_process(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process that has one set of remembered tokens."""
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        variables = local_variables(
            database.url,
            servers.redis_url(),
            JWT_SECRET=SECRET,
            CORS_ORIGINS="https://app.example",
            WEB_CONCURRENCY="1",
        )
        with web(variables, tmp_path_factory.mktemp("shortcut")) as shim:
            yield shim


def headers_of(answer: httpx.Response) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in answer.headers.multi_items() if name not in OF_ITS_OWN)


def test_an_answer_of_the_shortcut_is_flasks(one_process: Web) -> None:
    authorization = {"Authorization": f"Bearer {token()}"}
    by_flask = one_process.get("/api/llms", headers={**authorization, **BY_FLASK})
    plain = one_process.get("/api/llms", headers=authorization)
    assert plain.status_code == by_flask.status_code == 200
    assert plain.content == by_flask.content
    assert headers_of(plain) == headers_of(by_flask)
    assert plain.headers["X-Request-ID"] != by_flask.headers["X-Request-ID"]


def test_not_modified_is_flasks_too(one_process: Web) -> None:
    authorization = {"Authorization": f"Bearer {token()}"}
    etag = one_process.get("/api/llms", headers=authorization).headers["ETag"]
    by_flask = one_process.get("/api/llms", headers={**authorization, "If-None-Match": f'"another", {etag}'})
    plain = one_process.get("/api/llms", headers={**authorization, "If-None-Match": etag})
    assert plain.status_code == by_flask.status_code == 304
    assert [len(answer.headers.get_list("date")) for answer in (plain, by_flask)] == [1, 1]
    assert headers_of(plain) == headers_of(by_flask)


def test_both_are_timed_as_one_route(one_process: Web) -> None:
    caller = {"Authorization": f"Bearer {token(role='service_role')}"}

    def timed() -> float:
        lines = one_process.get("/metrics", headers=caller).text.splitlines()
        wanted = 'llm_refresh_http_request_seconds_count{method="GET",route="/api/llms",status="200"}'
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))

    before = timed()
    for more in ({}, {}, BY_FLASK):
        one_process.get("/api/llms", headers={**caller, **more})
    assert timed() == before + 3
