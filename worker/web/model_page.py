"""One model of the listing, by its key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.catalogue import resolve
from shared.catalogue.listing import Encoded
from shared.db import Database
from worker.web.problems import Problem


def find_model(key: str, current: Encoded | None, database: Database) -> dict[str, Any]:
    """The row of the listing that a key means: its own model's, or where that has another key now, the row of that.

    Raises Problem 404 with the reason, and the story of a key that means another model now. PostgreSQL is asked only
    for keys that the listing lacks.
    """
    rows: Mapping[str, dict[str, Any]] = (
        {} if current is None else {row["model_key"]: row for row in json.loads(current.body)["models"]}
    )
    if key in rows:
        return rows[key]
    try:
        with database.transaction() as connection:
            current_key = resolve.resolve(connection, key, strict=True).key
    except resolve.ModelNotFound as missing:
        members = {"reason": missing.reason, "story": missing.story}
        raise Problem(404, "model_not_found", str(missing), members=members) from None
    except resolve.NoModel as error:
        raise Problem(404, "model_not_found", str(error), members={"reason": "unknown_key", "story": None}) from None
    if current_key in rows:
        return rows[current_key]
    detail = "the list that this process serves lacks the model at the moment; ask again"
    raise Problem(503, "listing_unavailable", detail, headers={"Retry-After": "1"})
