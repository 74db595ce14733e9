"""What tests of the plan share: a describer without public data, rows by few words, and a replay of the ledger."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from shared.catalogue.facts.capabilities import resolve
from shared.catalogue.facts.providers import provider_of
from shared.catalogue.sync.draft import ModelDescription
from shared.catalogue.sync.parse import Entry, ParsedList, parse_entries
from shared.catalogue.sync.plan import Plan, Policy, plan_sync
from shared.catalogue.sync.rows import LEDGERED, ModelChange, ModelRow

NIGHT = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(default_key="claude-3-7-sonnet")


def describe(entry: Entry, overrides: Mapping[str, Any]) -> ModelDescription:
    """The describer of production without mapping and public data."""
    resolved = resolve(entry.name, entry.mime_types, overrides)
    return ModelDescription(provider_of(entry.name), resolved.values, resolved.provenance)


def parsed(*listed: tuple[int, str]) -> ParsedList:
    """A list of ids and names, as upstream would send it."""
    return parse_entries([{"id": id_, "name": name} for id_, name in listed])


def after(rows: Iterable[ModelRow], plan: Plan) -> list[ModelRow]:
    """The table when the plan is applied."""
    table = {row.matcha_llm_id: row for row in rows} | dict(plan.written)
    return sorted(table.values(), key=lambda row: row.matcha_llm_id)


def sync(
    rows: Iterable[ModelRow],
    *listed: tuple[int, str],
    now: datetime = NIGHT,
    policy: Policy = POLICY,
    retired: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[ModelRow], Plan]:
    """One night: the table after it, and its plan."""
    rows = list(rows)
    plan = plan_sync(rows, parsed(*listed), describe, policy, now, retired)
    return after(rows, plan), plan


def nights(count: int) -> list[datetime]:
    """So many nights, a day apart."""
    return [NIGHT + timedelta(days=day) for day in range(count)]


def by_id(rows: Iterable[ModelRow]) -> dict[int, ModelRow]:
    return {row.matcha_llm_id: row for row in rows}


def replay(changes: Iterable[ModelChange | Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The table that the ledger's lines give, from empty: the ledgered columns by upstream's id."""
    table: dict[int, dict[str, Any]] = {}
    for change in changes:
        line = change.as_json() if isinstance(change, ModelChange) else change
        row = table.setdefault(line["matcha_llm_id"], {})
        row.update({name: value for name, value in (line["after"] or {}).items() if name in LEDGERED})
    return table


def ledgered(rows: Iterable[ModelRow]) -> dict[int, dict[str, Any]]:
    """What a replay must give."""
    return {row.matcha_llm_id: row.shown() for row in rows}
