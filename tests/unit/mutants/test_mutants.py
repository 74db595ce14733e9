"""What `make mutants` takes away is still where it was, and so are the tests that notice."""

import re
from pathlib import Path

import pytest

from tests.mutants.all import MUTANTS
from tests.mutants.mutant import Mutant, MutantError
from tests.mutants.scratch import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mechanism_occurs_once_and_its_tests_are_there(mutant: Mutant) -> None:
    assert mutant.applied(ROOT) != (ROOT / mutant.file).read_text()
    assert mutant.tests
    for test in mutant.tests:
        file, _, function = test.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)


def test_what_occurs_twice_or_not_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1\nb = 1\n")
    for old, number in (("= 1", 2), ("= 2", 0)):
        with pytest.raises(MutantError, match=f"occurs {number} times"):
            Mutant("odd", "code.py", old, "", ("t",)).applied(tmp_path)
    with pytest.raises(MutantError, match="no Python"):
        Mutant("odd", "code.py", "a = 1", "a =", ("t",)).applied(tmp_path)
    with pytest.raises(MutantError, match=r"there is no other\.py"):
        Mutant("odd", "other.py", "a", "b", ("t",)).applied(tmp_path)
