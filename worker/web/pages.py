"""The pages `/` and `/ops` and what they load: shells without data, open to anyone who can reach this server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from flask import Response
from pydantic import ConfigDict

from worker.web.bodies import Query
from worker.web.problems import Problem
from worker.web.routing import ApiRequest, Route, conditional

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing from elsewhere; and with trusted types no text becomes markup, not even by a mistake of ours.
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


class AnyQuery(Query):
    """A page may be linked with parameters that it does not know."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it goes out. `etag` is without its quotes."""

    body: bytes
    content_type: str
    etag: str


class PageRoutes:
    """The handlers, with the files, which are read once."""

    def __init__(self, *, flower_port: int, chat_max_chars: int) -> None:
        self._assets = read_assets({"flower_port": str(flower_port), "chat_max_chars": str(chat_max_chars)})

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/",
                self.panel,
                "The page to ask a model",
                roles=None,
                query=AnyQuery,
                returns={200: None, 304: None},
                media_type="text/html",
            ),
            Route(
                "GET",
                "/ops",
                self.operations,
                "The page of the operators",
                roles=None,
                query=AnyQuery,
                returns={200: None, 304: None},
                media_type="text/html",
            ),
            Route(
                "GET",
                "/assets/{name}",
                self.asset,
                "A script, a style or an icon of the pages",
                roles=None,
                query=AnyQuery,
                returns={200: None, 304: None},
                media_type="text/javascript",
            ),
        ]

    def panel(self, call: ApiRequest[None, AnyQuery]) -> Response:
        return self._send("index.html")

    def operations(self, call: ApiRequest[None, AnyQuery]) -> Response:
        return self._send("ops.html")

    def asset(self, call: ApiRequest[None, AnyQuery]) -> Response:
        return self._send(call.path["name"])

    def _send(self, name: str) -> Response:
        asset = self._assets.get(name)
        if asset is None:
            raise Problem(404, "not_found", "the pages have no such file")
        response = Response(asset.body, content_type=asset.content_type)
        response.set_etag(asset.etag)
        response.headers["Cache-Control"] = "no-cache"  # kept, and asked about each time: a new version shows at once
        response.headers.extend(SECURITY)
        return conditional(response)


def read_assets(values: Mapping[str, str]) -> dict[str, Asset]:
    """The files by name. In HTML `{{name}}` stands for one of `values`, which have to be safe in an attribute."""
    assets = {}
    for file in files("worker.web.static").iterdir():
        suffix = f".{file.name.rpartition('.')[2]}"
        if suffix not in CONTENT_TYPES:
            continue
        body = file.read_bytes()
        if suffix == ".html":
            for name, value in values.items():
                body = body.replace(f"{{{{{name}}}}}".encode(), value.encode())
        assets[file.name] = Asset(body, CONTENT_TYPES[suffix], hashlib.sha256(body).hexdigest()[:32])
    return assets
