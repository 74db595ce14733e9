"""Nights of upstream drift and operators' edits over the pure plan, and a simple model of what a refresh promises.

The model knows nothing of rows that were left behind, of suffixes or of moves. It knows names: what upstream lists, and
which key each name was promised when it was first seen.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.catalogue.edits import EditRefused, ModelEdit, edit_model
from shared.catalogue.facts.names import same_words, slug
from shared.catalogue.sync.held import hold_report
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.plan import Policy, plan_sync
from shared.catalogue.sync.rows import ModelChange, ModelRow
from tests.support.catalogue import NIGHT, by_id, describe, ledgered, replay

POLICY = Policy(default_key="claude-3-7-sonnet", max_shrink=0.5)


@dataclass
class Promise:
    """Of one name: the key that it has, and those that it had."""

    name: str
    key: str | None = None
    keys: set[str] = field(default_factory=set)


class World:
    """Upstream as a dictionary, the table as rows, the ledger as a list; the model of the promises beside them."""

    def __init__(self) -> None:
        self.upstream: dict[int, str] = {}
        self.history: list[tuple[int, str]] = []
        self.garbage: list[Any] = []
        self.listed: dict[int, str] = {}
        self.refused: set[int] = set()
        """What the last list said that could be read, and the ids of entries that could not."""
        self.rows: list[ModelRow] = []
        self.ledger: list[ModelChange] = []
        self.now: datetime = NIGHT
        self.promises: list[Promise] = []
        self.given: set[str] = set()
        """Keys that operators gave to models: they mean what the operator says."""
        self.own: set[str] = set()
        """Keys without a suffix."""

    def list_as(self, upstream: dict[int, str]) -> None:
        """Let upstream list these from now on."""
        self.upstream = dict(upstream)
        self.history += [pair for pair in upstream.items() if pair not in self.history]

    def night(self, hours: float, *, force: bool) -> bool:
        """A refresh so many hours after the last; returns whether its list was applied."""
        self.now += timedelta(hours=hours)
        listed = [{"id": id_, "name": name} for id_, name in self.upstream.items()]
        parsed = parse_entries([*self.garbage, *listed])
        self.listed = {entry.matcha_llm_id: entry.name for entry in parsed.entries}
        self.refused = set(parsed.ids_seen) - self.listed.keys()
        before = by_id(self.rows)
        plan = plan_sync(self.rows, parsed, describe, POLICY, self.now, self.retired())
        held = plan.guard.holds(POLICY.max_shrink)
        if held and not force:
            return False
        report = hold_report(self.rows, plan, "")
        if held:
            plan = plan_sync(self.rows, parsed, describe, POLICY, self.now, self.retired(), at_once=True)
            assert report["absent"] == plan.counts["deactivated"], (report, plan.changes)
        hidden = self.hidden_names()
        self.rows = sorted((before | dict(plan.written)).values(), key=lambda row: row.matcha_llm_id)
        self.ledger.extend(plan.changes)
        self.check_table()
        self.check_names(before)
        self.own |= {row.model_key for row in self.rows if row.model_key in (slug(row.upstream_name), *self.given)}
        again = plan_sync(self.rows, parsed, describe, POLICY, self.now, self.retired())
        assert not again.written, again.changes
        assert not again.changes
        if held:
            assert not self.listed or not again.guard.holds(POLICY.max_shrink)
        kept = [row for row in self.rows if row.is_active and row.matcha_llm_id not in parsed.ids_seen]
        assert all(not held and 0 < row.missed_syncs < POLICY.grace_syncs for row in kept), kept
        if held:
            self.check_report(report, before)
        for name in hidden:
            assert not [row for row in self.rows if row.is_active and same_words(row.upstream_name, name)], name
        return True

    def hidden_names(self) -> list[str]:
        """Names of which an operator hid every model, but for rows that their model had left."""
        own = [row for row in self.rows if "moved_to" not in row.provenance]
        shown = [row for row in own if row.overrides.get("is_active") is not False]
        return [
            row.upstream_name
            for row in own
            if not any(same_words(row.upstream_name, other.upstream_name) for other in shown)
        ]

    def check_report(self, report: dict[str, Any], before: dict[int, ModelRow]) -> None:
        """Everything that a forced list took away stood in the report of the held one."""
        reported = {model["matcha_llm_id"]: model["kind"] for model in report["models"]}
        assert len(reported) == report["absent"] + report["repointed"]
        assert report["active"] == sum(row.is_active for row in before.values())
        now = by_id(self.rows)
        for id_, row in before.items():
            if not row.is_active:
                continue
            if not same_words(now[id_].upstream_name, row.upstream_name):
                assert reported.get(id_) == "repointed", row
            elif not now[id_].is_active:
                lives_on = any(
                    each.is_active and same_words(each.upstream_name, row.upstream_name) for each in self.rows
                )
                assert reported.get(id_) == "absent" or (id_ not in reported and lives_on), row
            else:
                assert id_ not in reported, row

    def edit(self, id_: int, edit: dict[str, Any]) -> None:
        """An operator's edit, when it is not refused."""
        try:
            edited = edit_model(self.rows, id_, ModelEdit.model_validate(edit), policy=POLICY)
        except EditRefused:
            return
        old = by_id(self.rows)[id_]
        self.rows = sorted((by_id(self.rows) | dict(edited.written)).values(), key=lambda row: row.matcha_llm_id)
        self.ledger.extend(edited.changes)
        key = edited.row.model_key
        if key != old.model_key:
            self.given.add(key)
            for promise in self.promises:
                if promise.key == old.model_key:
                    promise.key = key
                    promise.keys.add(key)
                elif not same_words(promise.name, old.upstream_name):
                    promise.keys.discard(key)
                    if promise.key == key:  # given away: what this name is known by now is nobody's promise
                        promise.key, promise.keys = None, set()
        self.check_table()

    def retired(self) -> dict[str, str]:
        """As `store.retired_keys` reads it out of the ledger."""
        held = {row.model_key for row in self.rows}
        gone: dict[str, str] = {}
        for change in self.ledger:
            if change.before and "model_key" in change.before and "upstream_name" in change.before:
                gone[change.before["model_key"]] = change.before["upstream_name"]
        return {key: name for key, name in gone.items() if key not in held}

    def check_names(self, before: dict[int, ModelRow]) -> None:
        """Where upstream lists a model of a name, the key of this name means it, with all that belonged to it."""
        by_key = {row.model_key: row for row in self.rows}
        before_by_key = {row.model_key: row for row in before.values()}
        for promise in self.promises:
            if not any(same_words(row.upstream_name, promise.name) for row in self.rows):
                promise.key = None  # nothing of it is left but the ledger
        for name in self.listed.values():
            promise = next((each for each in self.promises if same_words(each.name, name)), None)
            if promise is None:
                promise = Promise(name)
                self.promises.append(promise)
            of_name = [row for row in self.rows if same_words(row.upstream_name, name)]
            here = [row for row in of_name if self._is_listed(row)]
            if promise.key is None:
                had = [row for row in here if row.model_key in promise.keys | self.own | self.given]
                assert had or not (promise.keys - self.given), (name, promise, of_name)
                promise.key = min((row.model_key for row in had or here), key=lambda key: (len(key), key))
                promise.keys.add(promise.key)
            holder, was = by_key.get(promise.key), before_by_key.get(promise.key)
            if holder is not None and holder.overrides.get("is_active") is False:
                continue
            if holder not in here and any(self._is_own(row.model_key, promise) for row in here):
                promise.key = next(
                    row.model_key for row in here if self._is_own(row.model_key, promise)
                )  # upstream lists it under another spelling that has a key of its own
                promise.keys.add(promise.key)
                continue
            assert holder is not None, (name, promise, of_name)
            assert holder in here, (name, promise, of_name)
            if was is not None and same_words(was.upstream_name, name):
                self._check_belongings(was, holder, before)

    def _is_own(self, key: str, promise: Promise) -> bool:
        """Whether a key is one of its own, or made of one that an operator gave and may have given to another since."""
        return key in self.own | self.given | promise.keys or key.startswith(tuple(f"{given}-" for given in self.given))

    def _check_belongings(self, was: ModelRow, now: ModelRow, before: dict[int, ModelRow]) -> None:
        row = before.get(now.matcha_llm_id)
        if was.overrides.get("is_active") is False:
            return
        own = row.overrides if row is not None and same_words(row.upstream_name, now.upstream_name) else {}
        for override, value in was.overrides.items():
            assert now.overrides.get(override) in (value, own.get(override)), (was, now)
        assert now.display_order in (was.display_order, own.get("display_order")), (was, now)
        chosen = any(row.overrides.get("is_default") and row.is_active for row in self.rows)
        if was.is_default and not chosen:
            assert now.is_default, (was, now)

    def _is_listed(self, row: ModelRow) -> bool:
        name = self.listed.get(row.matcha_llm_id)
        # Of an entry that is refused nobody knows that it is gone.
        return row.matcha_llm_id in self.refused or (name is not None and same_words(name, row.upstream_name))

    def check_table(self) -> None:
        """What holds of the table at all times."""
        active = [row for row in self.rows if row.is_active]
        assert sum(row.is_default for row in self.rows) == (1 if active else 0)
        assert all(row.is_active for row in self.rows if row.is_default)
        assert len({row.model_key for row in self.rows}) == len(self.rows)
        assert replay(self.ledger) == ledgered(self.rows)
        for row in self.rows:
            assert unicodedata.is_normalized("NFKC", row.model_name)
            assert row.model_key
            for promise in self.promises:
                if row.model_key in promise.keys - self.given:
                    assert same_words(promise.name, row.upstream_name), (promise, row)
