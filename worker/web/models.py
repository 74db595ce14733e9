"""Routes of the models: the listing, one model, operators' edits."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response

from shared.catalogue.edits import EditRefused, UnknownModel
from shared.catalogue.inactive import read_all_models
from shared.catalogue.listing import Encoded, listing, read_models, read_state
from shared.catalogue.listing_cache import ListingCache
from worker.runtime import Runtime
from worker.web import bodies
from worker.web.bodies import NoQuery
from worker.web.model_page import find_model
from worker.web.problems import Problem
from worker.web.routing import READERS, SERVICE, ApiRequest, PlainRequest, Route, as_json, conditional, forbidden

LISTING_PATH = "/api/llms"


@dataclass(frozen=True)
class ModelRoutes:
    """The handlers, with what they work with."""

    runtime: Runtime
    listing_cache: ListingCache

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                LISTING_PATH,
                self.list_models,
                "The active models",
                query=bodies.ListingQuery,
                returns={200: bodies.ListingBody, 304: None},
            ),
            Route(
                "GET",
                "/api/llms/{model_key}",
                self.show_model,
                "One active model; 404 says what became of a key that means none",
                returns={200: bodies.Model, 404: bodies.MissingModel},
            ),
            Route(
                "PATCH",
                "/api/llms/{model_key}",
                self.edit_model,
                "Override what a sync would set; null drops it",
                roles=SERVICE,
                body=bodies.EditBody,
                returns={200: bodies.EditedModel},
            ),
        ]

    def list_models(self, call: ApiRequest[None, bodies.ListingQuery]) -> Response:
        if call.query.provenance or call.query.all:
            return self._list_for_operators(call)
        current = self.listing_cache.current
        if current is None:
            raise no_listing()
        return listing_response(current)

    def show_model(self, call: PlainRequest) -> Response:
        return as_json(find_model(call.path["model_key"], self.listing_cache.current, self.runtime.database))

    def _list_for_operators(self, call: ApiRequest[None, bodies.ListingQuery]) -> Response:
        if call.caller.role not in READERS:
            raise forbidden(call.caller, READERS, what="more than read the plain list (provenance, all)")
        read_listed = read_all_models if call.query.all else read_models
        with self.runtime.database.transaction(call.caller) as connection:
            models = read_listed(connection, provenance=call.query.provenance)
            state = read_state(connection, stale_after=self.runtime.cadence.stale_after)
        return as_json(listing(models, state))

    def edit_model(self, call: ApiRequest[bodies.EditBody, NoQuery]) -> Response:
        key = call.path["model_key"]
        try:
            return as_json(self.runtime.editor.edit(key, call.body, caller=call.caller))
        except UnknownModel:
            raise Problem(404, "unknown_model", f"no model has the key {key!r}; /api/llms lists them") from None
        except EditRefused as refused:
            raise Problem(409, "edit_refused", str(refused)) from None


def no_listing() -> Problem:
    """What is answered where there has never been a listing."""
    detail = "no list of models has been read yet; see /readyz"
    return Problem(503, "listing_unavailable", detail, headers={"Retry-After": "2"})


def listing_response(current: Encoded) -> Response:
    """A listing, or 304 for those who have it."""
    response = Response(current.body, content_type="application/json")
    response.headers.update(listing_headers(current))
    return conditional(response)


def listing_headers(current: Encoded) -> dict[str, str]:
    """What a listing says of itself, whether it is sent or not."""
    return {"ETag": current.etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
