"""Every rule that docs/catalogue.md tells is played, and the file is made of what is played here."""

from pathlib import Path

import pytest

from shared.catalogue.edits import ModelEdit, edit_model
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.rows import ModelRow
from tests.support.catalogue import POLICY, by_id, nights, sync
from tests.support.catalogue_document import document
from tests.support.rules import REFUSED, RULES, Rule

DOCUMENT = Path(__file__).parents[3] / "docs" / "catalogue.md"


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_the_rule_is_kept(rule: Rule) -> None:
    rows: list[ModelRow] = []
    plan = None
    retired: dict[str, str] = {}
    for number, (night, listed) in enumerate(zip(nights(len(rule.nights)), rule.nights, strict=True)):
        last = number == len(rule.nights) - 1
        if last and rule.edit is not None:
            id_, edit = rule.edit
            written = edit_model(rows, id_, ModelEdit.model_validate(edit), policy=POLICY).written
            rows = list((by_id(rows) | dict(written)).values())
        planned, plan = sync(rows, *listed.items(), now=night, retired=retired)
        if not plan.guard.holds(POLICY.max_shrink) or rule.kinds:
            rows = planned
        for change in plan.changes:
            if change.before and "upstream_name" in change.before:
                retired[change.before["model_key"]] = change.before["upstream_name"]
        held_keys = {row.model_key for row in rows}
        retired = {key: name for key, name in retired.items() if key not in held_keys}
    assert plan is not None
    assert plan.guard.holds(POLICY.max_shrink) is rule.held
    if not rule.held or rule.kinds:
        assert tuple(change.kind for change in plan.changes) == rule.kinds
    table = by_id(rows)
    assert {id_: table[id_].model_key for id_ in rule.keys} == rule.keys
    assert tuple(id_ for id_, row in table.items() if not row.is_active) == rule.inactive
    assert next((id_ for id_, row in table.items() if row.is_default), None) == rule.default


@pytest.mark.parametrize(("entry", "reason"), REFUSED)
def test_the_entry_is_refused_with_that_reason(entry: object, reason: str) -> None:
    parsed = parse_entries([entry, {"id": 1, "name": "Good One"}])
    assert [rejected.reason for rejected in parsed.rejected] == [reason]
    assert len(parsed.entries) == 1


def test_the_document_is_made_of_these_rules() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), (
        "make it anew: .venv/bin/python -m tests.support.catalogue_document > docs/catalogue.md"
    )
