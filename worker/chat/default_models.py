"""Which default answers instead of a model that the gateway refuses, and the mark that keeps the next chat off it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog

from shared.catalogue import fallback
from shared.catalogue.fallback import Resolution
from shared.chat.complete import DefaultUnknown
from shared.db import Database, DatabaseFailure

log = structlog.get_logger(__name__)

FLAG_SECONDS = 1.0
"""A refresh may hold what is flagged; the answer does not wait for it."""


class DefaultModels:
    """Reads and writes PostgreSQL in threads beside the event loop."""

    def __init__(self, database: Database, *, preferred_key: str) -> None:
        self._database = database
        self._preferred_key = preferred_key

    async def default_instead(self, of: Resolution, refused: Collection[int]) -> Resolution | None:
        """The model that answers instead, or None; flags the one that was refused. Raises DefaultUnknown."""
        return await asyncio.to_thread(self._flag_and_replace, of, refused)

    def _flag_and_replace(self, of: Resolution, refused: Collection[int]) -> Resolution | None:
        try:
            with self._database.transaction() as connection:
                instead = fallback.default_instead(connection, of, refused, preferred_key=self._preferred_key)
        except DatabaseFailure as error:
            log.warning("llm_chat.no_default", message="Nobody can say which default answers instead", error=str(error))
            raise DefaultUnknown(str(error)) from None
        try:
            with self._database.transaction(timeout_seconds=FLAG_SECONDS) as connection:
                fallback.flag_unknown(connection, of.matcha_llm_id)
        except DatabaseFailure as error:  # the next chat of this model flags it
            log.warning(
                "llm_chat.not_flagged",
                message="An unknown model was not flagged",
                matcha_llm_id=of.matcha_llm_id,
                error=str(error),
            )
        return instead
