"""Where a list of models comes from: the gateway, or the mapping while no gateway is set up."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.catalogue.facts.mapping import Mapping
from shared.catalogue.sync.rows import MAPPING, MATCHAAI
from shared.gateway.client import GatewayClient


@dataclass(frozen=True, slots=True)
class FetchedList:
    """What a source listed: raw entries, the sha256 (hex) of the list, and how long it took."""

    source: str
    entries: tuple[object, ...]
    sha256: str
    milliseconds: int


class Sources:
    """The sources there are. `make_client` is None while no gateway is set up; a client lives for one fetch."""

    def __init__(self, mapping: Mapping, make_client: Callable[[], GatewayClient] | None) -> None:
        self._mapping = mapping
        self._make_client = make_client

    @property
    def configured(self) -> str:
        """The source of a refresh that names none."""
        return MAPPING if self._make_client is None else MATCHAAI

    def fetch(self, source: str | None, *, deadline_seconds: float, request_id: str | None) -> FetchedList:
        """The list of a source; of the gateway where one is set up and no source is named.

        Raises GatewayError when the gateway fails (never the mapping instead, in silence), LookupError for a source
        that is not there.
        """
        source = source or self.configured
        if source == MAPPING:
            return self._mapped()
        if source != MATCHAAI:
            raise LookupError(f"there is no source {source!r}: use {MATCHAAI} or {MAPPING}")
        if self._make_client is None:
            raise LookupError("the source matchaai is not set up: set MATCHAAI_BASE_URL and MATCHAAI_API_KEY")
        return asyncio.run(self._listed(self._make_client(), deadline_seconds, request_id))

    def _mapped(self) -> FetchedList:
        started = time.monotonic()
        entries = tuple({"id": model.id, "name": model.name} for model in self._mapping.models)
        digest = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
        return FetchedList(MAPPING, entries, digest, round((time.monotonic() - started) * 1000))

    async def _listed(self, client: GatewayClient, deadline_seconds: float, request_id: str | None) -> FetchedList:
        try:
            listing = await client.list_models(deadline_seconds=deadline_seconds, request_id=request_id)
        finally:
            await client.aclose()
        return FetchedList(MATCHAAI, listing.entries, listing.sha256, listing.milliseconds)
