"""The listing: what front ends see of the catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from shared.catalogue.sync.store import SHOWN
from shared.models import llm_models


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
