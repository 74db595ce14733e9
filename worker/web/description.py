"""The description of the API: `/openapi.json` for programs, `/docs` for people. Both are made of the routes, once.

That takes longer than any request may hold up the others: it happens when somebody first asks, in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response
from gevent.threadpool import ThreadPool

from worker.web.api_docs import render
from worker.web.openapi import document
from worker.web.pages import SECURITY, AnyQuery
from worker.web.routing import ApiRequest, PlainRequest, Route, as_json, conditional


@dataclass(frozen=True)
class Description:
    """The document, and its page with its ETag."""

    document: dict[str, Any]
    page: bytes
    etag: str


class DescriptionRoutes:
    """The handlers. `describe` is called with all routes, these among them, before the first request."""

    def __init__(self) -> None:
        self._routes: Sequence[Route] = ()
        self._made: Description | None = None
        self._pool = ThreadPool(1)

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/openapi.json",
                self.openapi,
                "The description of this API, for programs",
                roles=None,
                returns={200: None},
            ),
            Route(
                "GET",
                "/docs",
                self.docs,
                "The description of this API, for people",
                roles=None,
                query=AnyQuery,
                returns={200: None, 304: None},
                media_type="text/html",
            ),
        ]

    def describe(self, routes: Sequence[Route]) -> None:
        """Take the routes that will be described."""
        self._routes = routes

    def openapi(self, call: PlainRequest) -> Response:
        return as_json(self._description().document)

    def docs(self, call: ApiRequest[None, AnyQuery]) -> Response:
        description = self._description()
        response = Response(description.page, content_type="text/html; charset=utf-8")
        response.set_etag(description.etag)
        response.headers["Cache-Control"] = "no-cache"
        response.headers.extend(SECURITY)
        return conditional(response)

    def _description(self) -> Description:
        return self._made or self._pool.apply(self._make)

    def _make(self) -> Description:
        if self._made is None:  # nobody else has asked in the meantime
            made = document(self._routes)
            page = render(made).encode()
            self._made = Description(made, page, hashlib.sha256(page).hexdigest()[:32])
        return self._made
