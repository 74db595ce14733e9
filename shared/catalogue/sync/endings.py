"""Who takes note of the end of a run, and who counts for it: a `Refresher` gets them, and knows no chats or notices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from shared.catalogue.sync.outcomes import Outcome, RunEnded
from shared.db import Connection

log = structlog.get_logger(__name__)

RecordNotices = Callable[[Connection, RunEnded], None]
"""Takes note of an ending in the transaction (a connection) that makes it true; it writes there, or not at all."""


def record_nothing(connection: Connection, ending: RunEnded) -> None:
    """For those who tell nobody."""


UsageLookup = Callable[[Connection, Collection[str]], Mapping[str, int]]
"""(connection, model keys) -> requests, or callers, of each in the last USE_DAYS days; unused keys may be absent."""


def nothing_used(connection: Connection, keys: Collection[str]) -> Mapping[str, int]:
    """Of no model is it known that it was used."""
    return {}


def log_outcome(outcome: Outcome, source: str, promoted: tuple[str, str] | None) -> None:
    """Log how a run ended that asked this source; `promoted`: the default that is gone, and its successor."""
    counts = dict(outcome.counts)
    if outcome.status == "held":
        log.error(
            "llm_refresh.held",
            message="Held: the list would take away too much, nothing changed",
            **{name: value for name, value in (outcome.held or {}).items() if name != "models"},
        )
        return
    synced = sum(counts[name] for name in ("added", "updated", "unchanged", "reactivated"))
    log.info(
        "llm_refresh.synced",
        message=f"Synced {synced} models",
        status=outcome.status,
        source=source,
        **counts,
    )
    if promoted is not None:
        old, new = promoted
        log.warning(
            "llm_refresh.default_promoted",
            message="The default model is gone, another was promoted",
            lost=old,
            promoted=new,
        )
