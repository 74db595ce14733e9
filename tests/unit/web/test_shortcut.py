"""The shortcut answers plain requests for the listing, and nothing else."""

import time
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from shared.catalogue.listing import Encoded
from shared.settings import Settings
from worker.web.auth import Authenticator
from worker.web.listing_fast_path import ListingFastPath

SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"
LISTED = Encoded(b'{"models":[]}', '"tag"')
OTHER = Encoded(b'{"data":[]}', '"other"')


@dataclass
class Front:
    """A shortcut before an application that only says that it was asked."""

    listed: Encoded | None = LISTED
    jwt_secret: str | None = SECRET
    now: float = field(default_factory=time.time)
    observed: list[tuple[str, str, int]] = field(default_factory=list)
    status: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = Settings.model_validate(
            {
                "llm_refresh_env": "local",
                "database_url": "postgresql://a@localhost/b",
                "redis_url": "redis://localhost",
                "jwt_secret": self.jwt_secret,
            }
        )
        self.authenticator = Authenticator(settings, now=lambda: self.now)
        self.shortcut = ListingFastPath(
            lambda _, start: (start("418 Beyond", []), [b"beyond"])[1],
            {"/api/llms": lambda: self.listed, "/v1/models": lambda: OTHER},
            self.authenticator,
            [("X-Standing", "yes")],
            [lambda answered: self.observed.append(answered[:3])],
        )

    def token(self, seconds: float = 600) -> str:
        """The header of a token that has been verified."""
        claims = {"sub": "anna", "role": "authenticated", "exp": self.now + seconds}
        header = f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"
        self.authenticator.caller(header)
        return header

    def ask(self, authorization: str, **environ: str) -> bytes:
        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            self.status, self.headers = status, dict(headers)

        plain = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/llms", "QUERY_STRING": ""}
        return b"".join(self.shortcut({**plain, "HTTP_AUTHORIZATION": authorization, **environ}, start))


def test_a_known_token_gets_the_listing() -> None:
    front = Front()
    assert front.ask(front.token(), HTTP_X_REQUEST_ID="mine") == LISTED.body
    assert front.status == "200 OK"
    assert front.headers == {
        "Content-Type": "application/json",
        "Content-Length": "13",
        "ETag": '"tag"',
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
        "X-Request-ID": "mine",
        "X-Standing": "yes",
    }
    assert front.observed == [("GET", "/api/llms", 200)]


def test_who_has_the_listing_gets_304_without_it() -> None:
    front = Front()
    assert front.ask(front.token(), HTTP_IF_NONE_MATCH='"tag"') == b""
    assert front.status == "304 NOT MODIFIED"
    assert "Content-Length" not in front.headers
    assert front.observed == [("GET", "/api/llms", 304)]


def test_a_request_id_that_is_none_is_replaced() -> None:
    front = Front()
    front.ask(front.token(), HTTP_X_REQUEST_ID="line\nbreak")
    assert len(front.headers["X-Request-ID"]) == 36


@pytest.mark.parametrize(
    "environ",
    [
        {"PATH_INFO": "/api/llms/runs"},
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "PATCH"},
        {"QUERY_STRING": "provenance=1"},
        {"HTTP_ORIGIN": "https://app.example"},
        {"HTTP_IF_NONE_MATCH": 'W/"tag"'},
        {"HTTP_IF_NONE_MATCH": "*"},
        {"HTTP_AUTHORIZATION": "Bearer never.seen.before"},
        {"HTTP_AUTHORIZATION": "Bearer"},
        {"HTTP_AUTHORIZATION": ""},
    ],
)
def test_whatever_is_not_plain_goes_on(environ: dict[str, str]) -> None:
    front = Front()
    assert front.ask(front.token(), **environ) == b"beyond"
    assert front.observed == []


def test_a_token_that_has_expired_since_goes_on() -> None:
    front = Front()
    token = front.token(seconds=60)
    front.now += 61
    assert front.ask(token) == b"beyond"


def test_with_auth_off_all_goes_on_for_the_host_is_checked_there() -> None:
    front = Front(jwt_secret=None)
    front.authenticator.caller(None)
    assert front.ask("") == b"beyond"


def test_before_there_is_a_listing_all_goes_on() -> None:
    front = Front(listed=None)
    assert front.ask(front.token()) == b"beyond"


def test_each_listing_has_an_address_of_its_own() -> None:
    front = Front()
    assert front.ask(front.token(), PATH_INFO="/v1/models") == OTHER.body
    assert front.headers["ETag"] == OTHER.etag
    assert [route for _, route, _ in front.observed] == ["/v1/models"]
    assert front.ask(front.token(), PATH_INFO="/v1/models/") == b"beyond"
