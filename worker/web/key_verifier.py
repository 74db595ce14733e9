"""API keys of requests, looked up in PostgreSQL."""

from __future__ import annotations

import structlog

from shared import api_keys
from shared.api_keys import ApiKeyMatch
from shared.db import Database, DatabaseFailure

log = structlog.get_logger(__name__)

RECORD_SECONDS = 1.0


class KeyVerifier:
    """Says whose a key is. The authenticator remembers it for some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def verify(self, token: str) -> ApiKeyMatch:
        """The key that holds. Raises KeyRefused, and what `Database.transaction` raises."""
        with self._database.transaction() as connection:
            key = api_keys.find(connection, token)
        if key.use_unrecorded:
            self._record_use(key.key_id)
        return key

    def _record_use(self, key_id: str) -> None:
        """In a transaction of its own: a server that only reads lets keys in all the same."""
        try:
            with self._database.transaction(timeout_seconds=RECORD_SECONDS) as connection:
                api_keys.record_use(connection, key_id)
        except DatabaseFailure as error:
            log.warning(
                "llm_keys.use_not_noted",
                message="The use of an API key was not written",
                key_id=key_id,
                error=str(error),
            )
