"""What a plan works on: the table as it becomes, the changes that lead there, and who holds which key. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from shared.catalogue.facts.names import same_words, slug, words
from shared.catalogue.sync.parse import Entry
from shared.catalogue.sync.rows import UNORDERED, Json, ModelChange, ModelRow, addition, difference
from shared.vocabulary import ChangeKind

MAX_KEY: Final = 200  # characters, as of a name


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What is known of an entry beside its id and name.

    `key`: the one that the mapping gives to this name; None where the name makes its own.
    """

    provider: str
    capabilities: Json
    provenance: Json
    key: str | None = None
    display_order: int = UNORDERED


Describe = Callable[[Entry, Json], ModelDescription]
"""Describes an entry under the capability overrides of its row."""


MOVED_TO: Final = "moved_to"
"""In the provenance of a row that was left behind: the id that its model moved to."""


def is_left_behind(row: ModelRow) -> bool:
    """Whether the model of this row has moved to another id."""
    return MOVED_TO in row.provenance


def is_listed(row: ModelRow) -> bool:
    """Whether upstream listed this row's model under this id the last time."""
    return row.missed_syncs == 0 and not is_left_behind(row)


def is_hidden(row: ModelRow) -> bool:
    """Whether an operator keeps this row inactive."""
    return row.overrides.get("is_active") is False


HIDDEN: Final = MappingProxyType({"is_active": False})
"""The override of a hidden row."""


def hidden_names(rows: Iterable[ModelRow]) -> frozenset[tuple[str, ...]]:
    """The names (as `words`) of models that operators hid: one row of the name is hidden, and none of it is active."""
    own = [row for row in rows if not is_left_behind(row)]
    hidden = {words(row.upstream_name) for row in own if is_hidden(row)}
    return frozenset(hidden and hidden - {words(row.upstream_name) for row in own if row.is_active})


@dataclass
class Draft:
    """`after`: the rows as they become. `retired`: keys that no row holds -> the name of the model each meant.

    `holders`: key -> the id of the row that holds it once every entry has its place. `hidden`: see `hidden_names`.
    """

    after: dict[int, ModelRow]
    retired: dict[str, str] = field(default_factory=dict)
    changes: list[ModelChange] = field(default_factory=list)
    holders: dict[str, int] = field(default_factory=dict)
    hidden: frozenset[tuple[str, ...]] = frozenset()
    _former: dict[tuple[str, ...], set[str]] | None = None

    def is_hidden_name(self, name: str) -> bool:
        """Whether an operator hid the model of this name: a second row of it is no way around that."""
        return bool(self.hidden) and words(name) in self.hidden

    def put(self, kind: ChangeKind, row: ModelRow) -> None:
        """Write a row, and the ledger's line for what differs."""
        old = self.after.get(row.matcha_llm_id)
        change = addition(row) if old is None else difference(kind, old, row)
        self.after[row.matcha_llm_id] = row
        if change is not None:
            self.changes.append(change)

    def put_moved(self, row: ModelRow, from_id: int) -> None:
        """Write the row that a model has moved to, and a line that names both ids."""
        id_ = row.matcha_llm_id
        old = self.after.get(id_)
        change = addition(row) if old is None else difference("moved", old, row)
        self.after[id_] = row
        before, after = (change.before, change.after) if change is not None else (None, None)
        ids = {"matcha_llm_id": from_id}, {"matcha_llm_id": id_}
        self.changes.append(
            ModelChange("moved", id_, row.model_key, {**(before or {}), **ids[0]}, {**(after or {}), **ids[1]})
        )

    def claim(self, base_key: str, id_: int, name: str) -> str:
        """The key, or, where another row holds it or it meant another model, the key with the id as suffix."""
        key, tries = base_key[:MAX_KEY], 0
        while not self.may_have(key, name) or self.holders.setdefault(key, id_) != id_:
            tries += 1
            suffix = f"-{id_}" if tries == 1 else f"-{id_}-{tries}"
            key = base_key[: MAX_KEY - len(suffix)].rstrip("-") + suffix
        return key

    def may_have(self, key: str, name: str) -> bool:
        """Whether a model of this name may have the key: it never meant another one, or is in use."""
        return key not in self.retired or same_words(self.retired[key], name)

    def holder_of(self, key: str) -> ModelRow | None:
        """The row that holds a key once every entry has its place; None where there is none yet."""
        return self.after.get(self.holders[key]) if key in self.holders else None

    def key_of_name(self, name: str) -> str | None:
        """The shortest key of a row of this name that was not left behind; None where there is none."""
        keys = [
            row.model_key
            for row in self.after.values()
            if self.holders.get(row.model_key) == row.matcha_llm_id
            and not is_left_behind(row)
            and same_words(row.upstream_name, name)
        ]
        return min(keys, key=lambda key: (len(key), key), default=None)

    def former_key(self, name: str) -> str | None:
        """The retired key of a model that has no key now; None where a row has one for it, or it never had one.

        Ask only once `retired` is complete.
        """
        if self._former is None:
            self._former = defaultdict(set)
            for key, former_name in self.retired.items():
                self._former[words(former_name)].add(key)
        former = self._former.get(words(name), set()) - self.holders.keys()
        if not former or self.key_of_name(name) is not None:
            return None
        # One that a name makes before one that an operator gave; a key with a suffix is longer than what it is made of.
        return min(former, key=lambda key: (slug(self.retired[key]) != key, len(key), key))


class NameIndex:
    """Rows by name: finds those whose names mean one model, each row once."""

    def __init__(self, rows: Iterable[ModelRow], used_ids: set[int]) -> None:
        """The rows in the order in which they are to be found. `used_ids`: ids that are given away already."""
        self._rows: dict[tuple[str, ...], deque[ModelRow]] = defaultdict(deque)
        self._used_ids = used_ids
        for row in rows:
            self._rows[words(row.upstream_name)].append(row)

    def take(self, name: str) -> ModelRow | None:
        """The first row of this name that nobody took; None where there is none."""
        waiting = self._rows.get(words(name), deque())
        while waiting:
            row = waiting.popleft()
            if row.matcha_llm_id not in self._used_ids:
                self._used_ids.add(row.matcha_llm_id)
                return row
        return None
