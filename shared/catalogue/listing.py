"""The listing: what front ends see of the catalogue, kept ready as bytes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from shared.catalogue.sync.store import SHOWN
from shared.db import Caller, Database, DatabaseFailure
from shared.models import llm_models
from shared.redis_store import RedisStore, RedisUnavailable

log = structlog.get_logger(__name__)

READER = Caller("authenticated", "listing")


@dataclass(frozen=True, slots=True)
class State:
    """What of the version row decides about the listing."""

    version: int
    last_synced_at: datetime | None
    source: str | None
    stale: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """A listing as it goes out. `etag` is a strong one, with its quotes.

    `created`: when each of its models came here, by id, in Unix seconds; empty where nobody knows.
    """

    body: bytes
    etag: str
    created: Mapping[int, int] = field(default_factory=dict)


def read_state(connection: sa.Connection, *, stale_after: timedelta) -> State:
    """The version of the catalogue, and whether its last good sync is older than `stale_after`."""
    row = connection.execute(
        sa.text(
            "SELECT version, last_synced_at, source,"
            " coalesce(last_synced_at < now() - :stale_after, true) FROM llm_catalogue_version"
        ),
        {"stale_after": stale_after},
    ).one()
    return State(*row)


def read_models(connection: sa.Connection, *, provenance: bool = False) -> list[dict[str, Any]]:
    """Active models as the API shows them, by display order, then name."""
    columns = (*SHOWN, llm_models.c.overrides, llm_models.c.provenance) if provenance else SHOWN
    query = (
        sa.select(*columns)
        .where(llm_models.c.is_active)
        .order_by(llm_models.c.display_order, llm_models.c.model_name, llm_models.c.matcha_llm_id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def read_created(connection: sa.Connection) -> dict[int, int]:
    """When each active model came here, by its row's id, in Unix seconds."""
    moment = sa.func.extract("epoch", llm_models.c.created_at).cast(sa.BigInteger)
    rows = connection.execute(sa.select(llm_models.c.id, moment).where(llm_models.c.is_active))
    return {row[0]: row[1] for row in rows}


def listing(models: list[dict[str, Any]], state: State) -> dict[str, Any]:
    """The body of `GET /api/llms`."""
    return {
        "models": models,
        "defaultModel": next((model["model_key"] for model in models if model["is_default"]), None),
        "count": len(models),
        "lastSynced": None if state.last_synced_at is None else state.last_synced_at.astimezone(UTC).isoformat(),
        "stale": state.stale,
        "source": state.source,
    }


def encode(body: dict[str, Any]) -> Encoded:
    """The listing as bytes; its tag covers all of it, `stale` too."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Encoded(data, f'"{hashlib.sha256(data).hexdigest()[:32]}"')


class ListingKeeper:
    """Holds the listing of this process; `poll` brings it up to date, `current` costs nothing.

    While PostgreSQL is away the last good copy goes out as stale; a process that has none takes the one in Redis.
    """

    def __init__(self, database: Database, store: RedisStore, *, stale_after: timedelta) -> None:
        """`stale_after`: the age of the last good sync at which the listing is stale."""
        self._stale_after = stale_after
        self._database = database
        self._store = store
        self._state: State | None = None
        """The state that `current` was read at; None while PostgreSQL is away."""
        self._current: Encoded | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def current(self) -> Encoded | None:
        """The listing now; None when there has never been one."""
        return self._current

    def poll(self) -> None:
        """Ask PostgreSQL for the version, and read the models when it is another one."""
        with self._one_at_a_time:
            try:
                self._follow()
            except DatabaseFailure as error:
                self._serve_last_good(error)

    def _follow(self) -> None:
        with self._database.transaction(READER) as connection:
            state = read_state(connection, stale_after=self._stale_after)
            if state == self._state:
                return
            models, created = read_models(connection), read_created(connection)
        self._current, self._state = replace(encode(listing(models, state)), created=created), state
        try:
            self._store.keep_listing(state.version, self._current.body)
        except RedisUnavailable as error:
            log.warning("llm_listing.copy_not_kept", message="No new copy in Redis", error=str(error))

    def _serve_last_good(self, error: Exception) -> None:
        if self._state is None and self._current is not None:
            return  # marked already
        self._state = None
        last_good = self._current.body if self._current is not None else self._copy()
        if last_good is not None:
            log.warning("llm_listing.stale", message="Serving the last good listing", error=str(error))
            created = self._current.created if self._current is not None else {}
            self._current = replace(encode(json.loads(last_good) | {"stale": True}), created=created)

    def _copy(self) -> bytes | None:
        try:
            copy = self._store.listing()
        except RedisUnavailable:
            return None
        return None if copy is None else copy[1]
