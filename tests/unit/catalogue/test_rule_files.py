"""The rules that a plan depends on: every file below shared/catalogue, so that a changed rule plans anew."""

from __future__ import annotations

import re
from pathlib import Path

import shared.catalogue.facts.describer
from shared.catalogue.facts.describer import rule_files

FOLDER = Path(shared.catalogue.facts.describer.__file__).parents[1]


def test_every_file_of_the_catalogue_counts_as_a_rule() -> None:
    expected = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if re.search(r"\.(py|toml)$", file.name)}
    assert {path for path, _ in rule_files()} == expected
    assert {"facts/mapping.toml", "facts/qualifiers.py", "sync/plan.py"} <= expected
