"""What a model's name says by itself: its clean form, its key, its words. Pure.

Three readings of a name, from strict to loose:
  `slug`        the model key a new name gets;
  `words`       the identity of a name: order, case and punctuation do not count, version numbers do;
  `bare_words`  for looking up public data only: dates and qualifiers ("- Reasoning", "(Internal)") taken off.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_NOT_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
# Drawn as nothing: Unicode's category "format", what else Default_Ignorable_Code_Point names, and the braille blank.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_TRADE_MARKS: Final = {ord("™"): None, ord("℠"): None}  # NFKC would make letters of them: "ClaudeTM"

_REMEMBERED: Final = 32_768  # names: a plan asks several times for the words of each, and again the next night
_FOREIGN: Final = re.compile(r"[^\x00-\x7f\w]")  # neither ASCII nor a letter or digit of any script
_DATE: Final = re.compile(r"(?<!\d)(20[0-9]{2})[-_./](0[1-9]|1[0-2])[-_./](0[1-9]|[12][0-9]|3[01])(?!\d)")
# Letters and digits in one run; a point between digits joins ("3.7", "3.8b"), a dash does so only between two short
# numbers ("3-7" is 3.7, "3-8b" is 3 and 8b); a "+" or "#" at the end belongs to the word ("R+").
_ASCII_PUNCTUATION: Final = r"\s!-/:-@\[-`{-~"
_RUN: Final = rf"[^{_ASCII_PUNCTUATION}]"
_WORD: Final = re.compile(
    rf"{_RUN}+(?:(?:(?<=\d)\.(?=\d)|(?<=\d)(?<!\d\d\d)[-_](?=\d{{1,2}}(?!{_RUN})(?!\.\d))){_RUN}+)*(?:[+#]+(?!{_RUN}))?"
)
_LETTERS_THEN_DIGITS: Final = re.compile(r"([^\W\d_]{3,})(\d.*)", re.DOTALL)  # "gpt4o"; not "r1", "o3", "k2"

_VERSION_TAIL: Final = re.compile(r"-v\d+:\d+$")  # a host's own number of a release: "…-20250929-v1:0"

_QUALIFIERS: Final = frozenset(
    {"alpha", "beta", "default", "deprecated", "exp", "experimental", "free", "internal", "latest", "legacy", "preview"}
    | {"aws", "azure", "bedrock", "hosted", "vertex"}
    | {"apac", "au", "eu", "global", "jp", "us"}
)
_REASONING: Final = frozenset({"reasoning", "thinking"})
_NEGATIONS: Final = frozenset({"no", "non"})
_TUNINGS: Final = frozenset({"instruct", "it"})  # the usual form of a model with a size: "Llama 3.3 70B (Instruct)"
_SIZE: Final = re.compile(r"\d+(\.\d+)?[bm]")
_YEAR: Final = re.compile(r"20[2-3]\d")
_MONTHS: Final = frozenset(
    {"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"}
    | {"december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"}
)
_DATE_WORD: Final = re.compile(
    r"20\d{6}|20[2-3]\d"  # 20241022, 2025
    r"|(0[1-9]|1[0-2])\.?(0[1-9]|[12]\d|3[01])"  # 0528, 05-06
    r"|2[3-9]\.?(0[1-9]|1[0-2])"  # 2507, 25.02
)


def clean(name: str) -> str:
    """The form in which a name is kept: NFKC, nothing invisible, single spaces, none outside.

    Raises ValueError ("has …") for a control character or half of a surrogate pair: neither is text, and
    PostgreSQL takes neither NUL nor the latter.
    """
    if name.isascii() and name.isprintable():
        return " ".join(name.split())
    if fault := _NOT_TEXT.search(name):
        what = "half of a surrogate pair" if fault[0] >= "\ud800" else "a control character"
        raise ValueError(f"has {what} (U+{ord(fault[0]):04X})")
    # Taking something invisible away can bring a letter and its accent together, so normalise after it, both times.
    text = unicodedata.normalize("NFKC", _visible(name.translate(_TRADE_MARKS)))
    text = unicodedata.normalize("NFKC", _visible(text))
    return " ".join(text.split())


def slug(name: str) -> str:
    """The model key of a name: lower-case ASCII letters and digits joined by "-"; "" where the name has none.

    "Claude 3.7 Sonnet" is claude-3-7-sonnet, "é" is e, and "Command R+" is command-r-plus.
    """
    text = _casefolded(name)
    if not text.isascii():
        text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    text = re.sub(r"(?<=[a-z0-9])\++(?![a-z0-9+])", "-plus", text)
    return "-".join(re.findall(r"[a-z0-9]+", text))


@lru_cache(maxsize=_REMEMBERED)
def ordered_words(name: str) -> tuple[str, ...]:
    """The words of a name as they stand, in lower case: version numbers whole, "GPT4o" read as "GPT 4o"."""
    text = _casefolded(name)
    found: list[str] = []
    for word in _WORD.findall(_DATE.sub(r"\1\2\3", _FOREIGN.sub(_spelled, text))):
        split = _LETTERS_THEN_DIGITS.fullmatch(word.replace("-", ".").replace("_", "."))
        found.extend(split.groups() if split else (word.replace("-", ".").replace("_", "."),))
    return tuple(found or text.split())


def words(name: str) -> tuple[str, ...]:
    """The words of a name, sorted, repeats kept: equal for two names of the same words, whatever the order, case
    or punctuation. Never empty for a name that has a visible character: two names of symbols are two names.
    """
    return tuple(sorted(ordered_words(name)))


def same_words(one: str, other: str) -> bool:
    """Whether two names are one name written in two ways.

    True for another order, case or punctuation, also where a mark or space between words is only left out
    ("GPT-4o", "GPT4o"); never across numbers ("3 8B", "3.8B", "38B" are three).
    """
    if one == other:
        return True
    first, second = ordered_words(one), ordered_words(other)
    return sorted(first) == sorted(second) or _run_together(first) == _run_together(second)


@dataclass(frozen=True, slots=True)
class Bare:
    """A name's words without dates and qualifiers, and which of those were taken off ("reasoning", "date" …)."""

    words: tuple[str, ...]
    qualifiers: frozenset[str]


@lru_cache(maxsize=_REMEMBERED)
def bare_words(name: str) -> Bare:
    """What is left of a name for looking up public data; never for telling whether two models are one.

    A name of nothing but qualifiers keeps its words.
    """
    ordered = ordered_words(_VERSION_TAIL.sub("", name))
    sized = any(_SIZE.fullmatch(word) for word in ordered)
    has_year = any(_YEAR.fullmatch(word) for word in ordered)
    kept: list[str] = []
    taken: set[str] = set()
    for before, word, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        if _DATE_WORD.fullmatch(word) or (has_year and word in _MONTHS) or (word == "528" and before == "r1"):
            taken.add("date")
        elif (word == "web" and after == "search") or (word == "search" and before == "web") or word == "websearch":
            taken.add("web search")
        elif word in _NEGATIONS and after in _REASONING:
            continue
        elif word in _REASONING:
            taken.add("non-reasoning" if before in _NEGATIONS else "reasoning")
        elif word in _QUALIFIERS or (sized and word in _TUNINGS):
            taken.add(word)
        else:
            kept.append(word)
    return Bare(tuple(sorted(kept)), frozenset(taken)) if kept else Bare(tuple(sorted(ordered)), frozenset())


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _casefolded(name: str) -> str:
    if name.isascii():
        return name.lower()
    text = unicodedata.normalize("NFKC", _visible(name.translate(_TRADE_MARKS)))
    return unicodedata.normalize("NFKC", text.casefold())


def _spelled(foreign: re.Match[str]) -> str:
    char = foreign[0]
    category = unicodedata.category(char)
    if category == "Pd":
        return "-"
    return char if category[0] == "M" else " "  # marks carry the vowels of many scripts


def _run_together(ordered: tuple[str, ...]) -> str:
    joined = ""
    for word in ordered:
        joined += ("|" if joined[-1:].isdigit() and word[0].isdigit() else "") + word
    return joined
