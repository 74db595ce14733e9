"""A body that does not come in time, as gunicorn's worker tells it."""

from __future__ import annotations

import io

import pytest

from tests.integration.chat.conftest import Chats


class Late(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise TimeoutError("the body did not come within 30 s")


@pytest.mark.parametrize("path", ["/api/chasen/chat", "/api/llms/refresh"])
def test_a_body_that_comes_too_late_is_a_408_and_nothing_is_done(chats: Chats, path: str) -> None:
    late = {"wsgi.input": Late(), "CONTENT_LENGTH": "9", "CONTENT_TYPE": "application/json"}
    response = chats.call("POST", path, environ_overrides=late)
    assert (response.status_code, response.json["code"]) == (408, "request_timeout")
    assert response.json["detail"] == "the body did not come within 30 s; nothing was done"
    assert chats.stored() == 0
