"""Entries out of what the gateway lists: every good one kept, every bad one counted with its reason. Pure.

The wire's fields are `id`, `name` and `allowed_file_input_mime_types` (MatchaAI wire notes, `GET /llms`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from shared.catalogue.facts.names import clean

MAX_ID: Final = 2**31 - 1  # PostgreSQL's integer
MAX_NAME: Final = 200  # characters
MAX_MIME_TYPES: Final = 500
_SHOWN: Final = 80  # characters of upstream's text that a reason may repeat


@dataclass(frozen=True, slots=True)
class Entry:
    """One model as upstream lists it. `mime_types`: lower-case; None when upstream says nothing about files."""

    matcha_llm_id: int
    name: str
    mime_types: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """One bad entry, or a remark about a good one: JSON-safe, bounded, and fit for PostgreSQL's jsonb."""

    id: int | str | None
    name: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedList:
    """`ids_seen`: every valid id that was listed, also on a rejected entry, so that it does not count as absent."""

    entries: tuple[Entry, ...]
    rejected: tuple[RejectedEntry, ...]
    ids_seen: frozenset[int]


def parse_entries(raw: Sequence[object]) -> ParsedList:
    """Sort upstream's list into entries and rejects; never raises, whatever JSON the list holds.

    Of several good entries with one id the first wins; the others are rejected with that reason.
    """
    entries: dict[int, Entry] = {}
    rejected: list[RejectedEntry] = []
    ids_seen: set[int] = set()
    for item in raw:
        if not isinstance(item, Mapping):
            rejected.append(RejectedEntry(None, None, f"not an object but {_kind(item)}"))
            continue
        id_, name = item.get("id"), item.get("name")
        id_fault = _id_fault(id_) if "id" in item else "id is missing"
        if id_fault is None and _is_id(id_):
            ids_seen.add(id_)
        name_or_fault = _name(name) if "name" in item else _Fault("name is missing")
        fault = id_fault or (name_or_fault.reason if isinstance(name_or_fault, _Fault) else None)
        if fault is None and id_ in entries:
            fault = f"duplicate id: already listed as {entries[id_].name!r}"[:MAX_NAME]
        if fault is not None or isinstance(name_or_fault, _Fault) or not _is_id(id_):
            rejected.append(RejectedEntry(_shown_id(id_), _shown_name(name), fault or "not understood"))
            continue
        entries[id_] = Entry(id_, name_or_fault, _mime_types(item.get("allowed_file_input_mime_types")))
    return ParsedList(tuple(entries.values()), tuple(rejected), frozenset(ids_seen))


@dataclass(frozen=True, slots=True)
class _Fault:
    reason: str


def _is_id(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= MAX_ID  # a bool is an int to isinstance, and no id


def _id_fault(value: object) -> str | None:
    if value is None:
        return "id is null"
    if type(value) is not int:
        return f"id is no integer but {_kind(value)}"
    return None if _is_id(value) else f"id is not between 1 and {MAX_ID}"


def _name(value: object) -> str | _Fault:
    if value is None:
        return _Fault("name is null")
    if not isinstance(value, str):
        return _Fault(f"name is no text but {_kind(value)}")
    if len(value) > MAX_NAME:
        return _Fault(f"name is over {MAX_NAME} characters ({len(value)})")
    try:
        name = clean(value)
    except ValueError as fault:
        return _Fault(f"name {fault}")
    if not name:
        return _Fault("name is empty")
    if len(name) > MAX_NAME:  # compatibility forms can expand: one Arabic ligature becomes 18 letters
        return _Fault(f"name is over {MAX_NAME} characters ({len(name)}) when normalised")
    return name


def _mime_types(value: object) -> tuple[str, ...] | None:
    """The file types, as far as they are understood.

    Where nothing of a list is understood the answer is None, not empty: empty would state "no files".
    """
    if not isinstance(value, list | tuple):
        return None
    understood = (_mime_type(item) for item in value[:MAX_MIME_TYPES])
    types = tuple(dict.fromkeys(item for item in understood if item is not None))
    return types if types or not value else None


def _mime_type(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return None
    text = value.strip().lower()
    return text if text and text.isascii() and text.isprintable() else None


def _kind(value: object) -> str:
    """What a value is, in JSON's words, with a little of it where that helps."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text {_shown(value)!r}"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, int):
        return "a number"
    return "a list" if isinstance(value, list | tuple) else "an object"


def _shown(text: str) -> str:
    """A piece of upstream's text that any log, JSON or PostgreSQL takes: no control character, no lone surrogate."""
    piece = "".join(char if char.isprintable() else "\ufffd" for char in text[: _SHOWN + 1])
    return piece if len(piece) <= _SHOWN else piece[: _SHOWN - 1] + "…"


def _shown_id(value: object) -> int | str | None:
    if value is None:
        return None
    if type(value) is int:  # a number of thousands of digits cannot even be printed
        return value if value.bit_length() <= 63 else "a number of more than 63 bits"
    if isinstance(value, str):
        return _shown(value)
    return _kind(value)


def _shown_name(value: object) -> str | None:
    return _shown(value) if isinstance(value, str) else None
