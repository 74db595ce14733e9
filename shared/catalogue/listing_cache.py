"""The listing cache of a web process: the listing as bytes, followed by its version; Redis has the last good copy."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta

import structlog

from shared.catalogue.listing import Encoded, State, encode, listing, read_created, read_models, read_state
from shared.db import Caller, Database, DatabaseFailure
from shared.redis_store import RedisStore, RedisUnavailable

log = structlog.get_logger(__name__)

READER = Caller("authenticated", "listing")


class ListingCache:
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
