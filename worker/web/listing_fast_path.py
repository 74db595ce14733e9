"""Listings before Flask: what all clients ask for all the time takes a token that is known and bytes that are ready.

It answers as Flask would, or not at all: whatever is not plain goes on to Flask, where the whole truth is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from shared.catalogue.listing import Encoded
from shared.db import Caller
from worker.web.access_log import HttpExchange, Observe
from worker.web.app import request_id
from worker.web.auth import Authenticator
from worker.web.models import listing_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ListingFastPath:
    """A WSGI application in front of another: answers plain requests for listings, hands on all others."""

    def __init__(
        self,
        next_app: WSGIApplication,
        listings: Mapping[str, Callable[[], Encoded | None]],
        authenticator: Authenticator,
        headers: Sequence[tuple[str, str]],
        observers: Sequence[Observe],
    ) -> None:
        """`listings` give by their paths what they are now; `headers`: headers that no answer goes without."""
        self._next_app = next_app
        self._headers = headers
        self._listings = listings
        self._authenticator = authenticator
        self._observers = observers

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        path = environ["PATH_INFO"]
        listing = self._listings.get(path)
        current = None if listing is None else listing()
        caller = self._caller(environ) if current is not None else None
        if current is None or caller is None:
            return self._next_app(environ, start_response)
        etag = environ.get("HTTP_IF_NONE_MATCH")
        if etag not in (None, current.etag):  # one of several tags, a weak one, an old one: Flask compares
            return self._next_app(environ, start_response)
        headers = [*listing_headers(current).items(), *self._headers]
        id_ = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        headers.append(("X-Request-ID", id_))
        if etag is None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(current.body)))]
        start_response("200 OK" if etag is None else "304 NOT MODIFIED", headers)
        status, seconds = 200 if etag is None else 304, time.perf_counter() - started
        exchange = HttpExchange("GET", path, status, seconds, caller, id_)
        for observe in self._observers:
            observe(exchange)
        return (current.body,) if etag is None else ()

    def _caller(self, environ: WSGIEnvironment) -> Caller | None:
        """Whose plain request this is; None where it is not one."""
        plain = (
            environ["REQUEST_METHOD"] == "GET"
            and not environ.get("QUERY_STRING")
            and "HTTP_ORIGIN" not in environ
            and not environ.get("CONTENT_LENGTH")
            and "HTTP_TRANSFER_ENCODING" not in environ
        )
        return self._authenticator.cached_caller(environ.get("HTTP_AUTHORIZATION")) if plain else None
