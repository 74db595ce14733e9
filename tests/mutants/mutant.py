"""One mechanism that can be taken away: where it stands, what remains without it, and which tests notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class MutantError(Exception):
    """The mutant does not fit the code any more."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` occurs exactly once in `file` and becomes `new`; each test of `tests` (node ids) has to fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, root: Path) -> str:
        """The text of the file without the mechanism. Raises MutantError where it is not there exactly once."""
        path = root / self.file
        if not path.is_file():
            raise MutantError(f"{self.name}: there is no {self.file}")
        text = path.read_text()
        number = text.count(self.old)
        if number != 1:
            raise MutantError(f"{self.name}: its old text occurs {number} times in {self.file}, not once")
        mutated = text.replace(self.old, self.new)
        try:
            compile(mutated, self.file, "exec")
        except SyntaxError as error:
            raise MutantError(f"{self.name}: what remains is no Python ({error})") from None
        return mutated
