"""The listing before Flask: what every page asks for all the time takes a token that is known and bytes that are ready.

It answers as Flask would, or not at all: whatever is not plain goes on to Flask, where the whole truth is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from shared.catalogue.listing import Encoded
from worker.web.app import request_id
from worker.web.auth import Authenticator
from worker.web.catalogue import LISTING_PATH, listing_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Observe = Callable[[str, str, int, float], None]
"""Takes note of a request: method, route, status, seconds."""


class ListingShortcut:
    """A WSGI application in front of another: answers plain requests for the listing, hands on all others."""

    def __init__(
        self,
        beyond: WSGIApplication,
        current: Callable[[], Encoded | None],
        authenticator: Authenticator,
        standing: Sequence[tuple[str, str]],
        observe: Observe,
    ) -> None:
        """`current` gives the listing now; `standing`: headers that no answer goes without."""
        self._beyond = beyond
        self._standing = standing
        self._current = current
        self._authenticator = authenticator
        self._observe = observe

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        current = self._current()
        if current is None or not self._is_plain(environ):
            return self._beyond(environ, start_response)
        wanted = environ.get("HTTP_IF_NONE_MATCH")
        if wanted not in (None, current.etag):  # one of several tags, a weak one, an old one: Flask compares
            return self._beyond(environ, start_response)
        headers = [*listing_headers(current).items(), *self._standing]
        headers.append(("X-Request-ID", request_id(environ.get("HTTP_X_REQUEST_ID", ""))))
        if wanted is None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(current.body)))]
        start_response("200 OK" if wanted is None else "304 NOT MODIFIED", headers)
        self._observe("GET", LISTING_PATH, 200 if wanted is None else 304, time.perf_counter() - began)
        return (current.body,) if wanted is None else ()

    def _is_plain(self, environ: WSGIEnvironment) -> bool:
        return (
            environ["PATH_INFO"] == LISTING_PATH
            and environ["REQUEST_METHOD"] == "GET"
            and not environ.get("QUERY_STRING")
            and "HTTP_ORIGIN" not in environ
            and not environ.get("CONTENT_LENGTH")
            and "HTTP_TRANSFER_ENCODING" not in environ
            and self._authenticator.remembers(environ.get("HTTP_AUTHORIZATION"))
        )
