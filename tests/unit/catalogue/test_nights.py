"""Hundreds of nights of upstream drift and operators' edits, against a simple model of the promises."""

import unicodedata
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.catalogue.edits import EditRefused, ModelEdit, edit_model
from shared.catalogue.names import same_words
from shared.catalogue.parse import parse_entries
from shared.catalogue.plan import Policy, plan_sync
from shared.catalogue.rows import Change, ModelRow
from tests.support.catalogue import NIGHT, by_id, describe, ledgered, replay

POLICY = Policy(default_key="claude-3-7-sonnet", max_shrink=0.5)
MAKERS = ("Claude", "GPT", "Gemini", "Llama", "Command R", "Command R+", "文心", "Model")
NAMES = st.builds(
    lambda maker, version, tail: f"{maker} {version}{tail}".strip(),
    st.sampled_from(MAKERS),
    st.sampled_from(["", "1", "2", "3.5", "4"]),
    st.sampled_from(["", " Mini", " mini", "-Mini", " Pro", " (Pro)", "!"]),
)
IDS = st.integers(1, 12)


class Nights(RuleBasedStateMachine):
    """Upstream as a dictionary, the table as rows, the ledger as a list; the model of the promises beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.upstream: dict[int, str] = {}
        self.garbage: list[Any] = []
        self.rows: list[ModelRow] = []
        self.ledger: list[Change] = []
        self.now: datetime = NIGHT
        self.meanings: dict[str, str] = {}
        """Key -> upstream's name of the model that it meant when a row last held it."""
        self.pinned: dict[str, str] = {}
        """Keys that an operator gave, and so may mean what the operator says."""

    @initialize(listed=st.dictionaries(IDS, NAMES, min_size=3, max_size=8))
    def first_night(self, listed: dict[int, str]) -> None:
        self.upstream = dict(listed)
        self.night(12, force=True)

    @rule(id_=IDS, name=NAMES)
    def upstream_adds_or_repoints(self, id_: int, name: str) -> None:
        self.upstream[id_] = name

    @precondition(lambda self: self.upstream)
    @rule(data=st.data())
    def upstream_drops(self, data: st.DataObject) -> None:
        del self.upstream[data.draw(st.sampled_from(sorted(self.upstream)))]

    @precondition(lambda self: len(self.upstream) > 1)
    @rule(data=st.data())
    def upstream_swaps(self, data: st.DataObject) -> None:
        one, other = (data.draw(st.sampled_from(sorted(self.upstream))) for _ in range(2))
        self.upstream[one], self.upstream[other] = self.upstream[other], self.upstream[one]

    @precondition(lambda self: self.upstream)
    @rule(data=st.data(), new_id=IDS)
    def upstream_moves(self, data: st.DataObject, new_id: int) -> None:
        old = data.draw(st.sampled_from(sorted(self.upstream)))
        self.upstream[new_id] = self.upstream.pop(old)

    @rule(garbage=st.lists(st.one_of(st.none(), st.text(max_size=3), st.fixed_dictionaries({"id": IDS}))))
    def upstream_lists_garbage(self, garbage: list[Any]) -> None:
        self.garbage = garbage

    @rule(hours=st.integers(0, 30), force=st.booleans(), outage=st.booleans())
    def night(self, hours: int, force: bool, outage: bool = False) -> None:
        self.now += timedelta(hours=hours)
        if outage:
            return  # a failed fetch is never a miss: there is nothing to plan with
        listed = [{"id": id_, "name": name} for id_, name in self.upstream.items()]
        parsed = parse_entries([*self.garbage, *listed])
        before = by_id(self.rows)
        plan = plan_sync(self.rows, parsed, describe, POLICY, self.now, self.retired())
        if plan.guard.holds(POLICY.max_shrink) and not force:
            return
        self.rows = sorted((before | dict(plan.written)).values(), key=lambda row: row.matcha_llm_id)
        self.ledger.extend(plan.changes)
        self.check_overrides(before)
        again = plan_sync(self.rows, parsed, describe, POLICY, self.now, self.retired())
        assert not again.written

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def operator_edits(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        edit = data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "model_name": st.one_of(st.none(), st.just("Our own name")),
                    "model_key": st.one_of(st.none(), st.sampled_from(["ours", "best", "gpt-4"])),
                    "display_order": st.one_of(st.none(), st.integers(0, 5)),
                    "is_default": st.one_of(st.none(), st.booleans()),
                    "is_active": st.one_of(st.none(), st.booleans()),
                    "capabilities": st.one_of(
                        st.none(), st.fixed_dictionaries({"supports_vision": st.one_of(st.none(), st.booleans())})
                    ),
                },
            )
        )
        try:
            edited = edit_model(self.rows, row.matcha_llm_id, ModelEdit.model_validate(edit), policy=POLICY)
        except EditRefused:
            return
        self.rows = sorted((by_id(self.rows) | dict(edited.written)).values(), key=lambda row: row.matcha_llm_id)
        self.ledger.extend(edited.changes)
        if edited.row.model_key != row.model_key:
            self.pinned[edited.row.model_key] = edited.row.upstream_name

    def retired(self) -> dict[str, str]:
        """As `store.retired_keys` reads it out of the ledger."""
        held = {row.model_key for row in self.rows}
        gone: dict[str, str] = {}
        for change in self.ledger:
            if change.before and "model_key" in change.before and "upstream_name" in change.before:
                gone[change.before["model_key"]] = change.before["upstream_name"]
        return {key: name for key, name in gone.items() if key not in held}

    def check_overrides(self, before: dict[int, ModelRow]) -> None:
        moved_to = {
            row.provenance["moved_to"]["value"]: id_
            for id_, row in by_id(self.rows).items()
            if "moved_to" in row.provenance
        }
        for id_, row in by_id(self.rows).items():
            old = before.get(id_)
            if (
                old is not None
                and old.overrides
                and same_words(old.upstream_name, row.upstream_name)
                and "moved_to" not in row.provenance
            ):
                assert row.overrides == old.overrides
            origin = before.get(moved_to.get(id_, -1))
            if origin is not None and old is None:
                assert row.overrides == origin.overrides

    @invariant()
    def one_active_default(self) -> None:
        active = [row for row in self.rows if row.is_active]
        assert sum(row.is_default for row in self.rows) == (1 if active else 0)
        assert all(row.is_active for row in self.rows if row.is_default)

    @invariant()
    def keys_are_unique(self) -> None:
        assert len({row.model_key for row in self.rows}) == len(self.rows)

    @invariant()
    def the_ledger_gives_the_table(self) -> None:
        assert replay(self.ledger) == ledgered(self.rows)

    @invariant()
    def no_key_means_another_model_in_silence(self) -> None:
        for row in self.rows:
            meant = self.meanings.get(row.model_key)
            if meant is not None and not same_words(meant, row.upstream_name):
                # Only an operator can do that, by giving the key away.
                assert self.pinned.get(row.model_key) is not None
            self.meanings[row.model_key] = row.upstream_name

    @invariant()
    def every_name_is_kept_as_text(self) -> None:
        for row in self.rows:
            assert unicodedata.is_normalized("NFKC", row.model_name)
            assert row.model_key


TestNights = Nights.TestCase
TestNights.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
