"""The description of the API: `/openapi.json` for programs, `/docs` for people. Both are made of the routes, once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from flask import Response

from worker.web.api_docs import render
from worker.web.openapi import document
from worker.web.pages import SECURITY, AnyQuery
from worker.web.routing import ApiRequest, PlainRequest, Route, as_json, conditional


class DescriptionRoutes:
    """The handlers. `describe` is called with all routes, these among them, before the first request."""

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
        """Make the document and the page."""
        self._document = document(routes)
        self._page = render(self._document).encode()
        self._etag = hashlib.sha256(self._page).hexdigest()[:32]

    def openapi(self, call: PlainRequest) -> Response:
        return as_json(self._document)

    def docs(self, call: ApiRequest[None, AnyQuery]) -> Response:
        response = Response(self._page, content_type="text/html; charset=utf-8")
        response.set_etag(self._etag)
        response.headers["Cache-Control"] = "no-cache"
        response.headers.extend(SECURITY)
        return conditional(response)
