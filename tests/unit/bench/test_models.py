"""The lists that refreshes are measured with."""

from bench.models import entries, with_changes
from shared.catalogue.facts.names import words
from shared.catalogue.sync.parse import parse_entries


def test_every_entry_is_good_and_has_a_name_of_its_own() -> None:
    parsed = parse_entries(entries(10_000))
    assert len(parsed.entries) == 10_000
    assert len({words(entry.name) for entry in parsed.entries}) == 10_000


def test_one_in_a_hundred_changes() -> None:
    listed = entries(1_000)
    changed = with_changes(listed)
    assert sum(old != new for old, new in zip(listed, changed, strict=True)) == 10
    assert with_changes(entries(27)) != entries(27)
