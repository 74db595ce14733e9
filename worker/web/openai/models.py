"""`GET /v1/models`: the listing in OpenAI's form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flask import Response

from shared.catalogue import resolve
from shared.catalogue.listing import Encoded, encode
from shared.catalogue.listing_cache import ListingCache
from shared.catalogue.resolve import ModelNotFound, NoModel
from worker.runtime import Runtime
from worker.web.models import listing_response, no_listing
from worker.web.openai import bodies
from worker.web.problems import Problem
from worker.web.routing import PlainRequest, Route, as_json

PATH = "/v1/models"


class OpenAIListing:
    """The listing of this process in OpenAI's form: made anew where the listing is another one, else as it was."""

    def __init__(self, listing_cache: ListingCache) -> None:
        self._listing_cache = listing_cache
        self._made_of: Encoded | None = None
        self._made: Encoded | None = None

    @property
    def current(self) -> Encoded | None:
        """The list now; None where there has never been one."""
        current = self._listing_cache.current
        if current is not self._made_of:
            self._made = None if current is None else encode(openai_list(json.loads(current.body), current))
            self._made_of = current
        return self._made


def openai_list(listing: dict[str, Any], current: Encoded) -> dict[str, Any]:
    """The body of `GET /v1/models`."""
    return {"object": "list", "data": [_openai_model(model, current) for model in listing["models"]]}


def _openai_model(model: dict[str, Any], current: Encoded) -> dict[str, Any]:
    return {
        "id": model["model_key"],
        "object": "model",
        "created": current.created.get(model["id"], 0),
        "owned_by": model["provider"],
        "name": model["model_name"],
        "capabilities": model["capabilities"],
    }


@dataclass(frozen=True)
class OpenAIModelRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime
    listing: OpenAIListing

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                PATH,
                self.list_models,
                "The active models, in OpenAI's form",
                query=bodies.OpenAIQuery,
                returns={200: bodies.ModelList, 304: None},
            ),
            Route(
                "GET",
                f"{PATH}/{{model_key}}",
                self.show,
                "One model, in OpenAI's form",
                query=bodies.OpenAIQuery,
                returns={200: bodies.ServedModel},
            ),
        ]

    def list_models(self, call: PlainRequest) -> Response:
        current = self._current()
        return listing_response(current)

    def show(self, call: PlainRequest) -> Response:
        models = {model["id"]: model for model in json.loads(self._current().body)["data"]}
        key = call.path["model_key"]
        if key not in models:
            key = self._meant(key)
        if key not in models:
            raise Problem(404, "model_not_found", f"no model has the key {key}; GET {PATH} lists those that there are")
        return as_json(models[key])

    def _meant(self, key: str) -> str:
        """The key that a model has now which had this one; the story of a key that means none is the refusal."""
        try:
            with self.runtime.database.transaction() as connection:
                return resolve.resolve(connection, key, strict=True).key
        except ModelNotFound as missing:
            raise Problem(404, "model_not_found", str(missing)) from None
        except NoModel:
            return key

    def _current(self) -> Encoded:
        current = self.listing.current
        if current is None:
            raise no_listing()
        return current
