"""Planning 10,000 entries against 10,000 rows, and loading the public data about models."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bench.figures import Aim, Figure
from bench.models import entries, with_changes
from bench.place import Place, alone
from bench.refresh import POLICY, rows_of
from shared.catalogue.facts.describer import ModelDescriber
from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.facts.models_dev import model_data
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.plan import plan_sync

PLANNED, LOADED, PLAN_MEGABYTES = Aim(1.0), Aim(0.3), Aim(100)


def _with_name(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, "name": f"{entry['name']} Renewed"} for entry in listed]


def _under_other_ids(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, "id": entry["id"] + 1_000_000} for entry in listed]


def _swapped(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, "id": other["id"]} for entry, other in zip(listed, reversed(listed), strict=True)]


def _of_one_slug(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, "name": "One Name"} for entry in listed]


NIGHTS: dict[str, Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]] = {
    "unchanged": list,
    "1 % changed": with_changes,
    "all repointed": _with_name,
    "all moved": _under_other_ids,
    "all ids swapped": _swapped,
    "all of one name": _of_one_slug,
}


def run(place: Place) -> Iterator[Figure]:
    """Each value in an interpreter of its own: nothing is remembered from the one before."""
    number, repetitions = place.choose(10_000, 1_000), place.choose(5, 1)
    for night in NIGHTS:
        place.say(f"planning {number:,}, {night}")
        results = [
            alone("bench.planning:planned", number=number, night=night, traced=False) for _ in range(repetitions)
        ]
        name = f"{number:,} entries against {number:,} rows, {night}"
        yield Figure("planning", name, "s", tuple(each["seconds"] for each in results), aim=PLANNED)
        traced = alone("bench.planning:planned", number=number, night=night, traced=True)
        yield Figure("planning", f"{name}: memory", "MB", (traced["megabytes"],), aim=PLAN_MEGABYTES)
    loads = tuple(alone("bench.planning:loaded") for _ in range(place.choose(7, 2)))
    yield Figure("planning", "public data about models, read once a process", "s", loads, aim=LOADED)


def planned(number: int, night: str, *, traced: bool) -> dict[str, float]:
    """Parse and plan once; how long that took, and, `traced`, how much memory it took at most beside its input."""
    listed = entries(number)
    rows, tonight = rows_of(listed), NIGHTS[night](listed)
    describe = ModelDescriber(load_mapping()).load()
    if traced:
        tracemalloc.start()
    began = time.perf_counter()
    plan_sync(rows, parse_entries(tonight), describe, POLICY, datetime.now(UTC))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "megabytes": tracemalloc.get_traced_memory()[1] / 1e6 if traced else 0.0}


def loaded() -> float:
    """Seconds that loading the public data takes."""
    began = time.perf_counter()
    model_data()
    return time.perf_counter() - began
