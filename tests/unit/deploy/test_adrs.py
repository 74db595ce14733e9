"""The decisions in docs/adr: numbered without a gap, and the same in the name and the heading."""

from tests.support.tools import ROOT


def test_each_adr_has_a_number_of_its_own_and_says_it() -> None:
    files = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(file.name[:4]) for file in files]
    assert numbers == list(range(1, len(files) + 1))
    for number, file in zip(numbers, files, strict=True):
        assert file.read_text().startswith(f"# {number}. "), file.name
