"""Which model a name means: its words, without what does not say so. Pure.

Order, case, punctuation and what `qualifiers` lists do not count; every other word does, numbers and dates above all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.catalogue.facts import provider_families, qualifiers
from shared.catalogue.facts.paths import is_host, is_region, phrase_of, without_path
from shared.catalogue.facts.providers import GENERIC, OTHER, provider_of_words
from shared.catalogue.facts.spelling import MAX_KEY, REMEMBERED, clean, folded, ordered_words, slug

__all__ = ["MAX_KEY", "BareName", "bare_words", "clean", "same_words", "slug", "words"]

_GROUP: Final = re.compile(r"[(\[{【]([^()\[\]{}【】]*)[)\]}】]")
_APART: Final = re.compile(r"(\s+[-\u2010-\u2015|·•~:;]+\s+|\s*[,;:|]\s+)")
_SUFFIX: Final = re.compile(rf"(?<=[^\s:]):({'|'.join(sorted(qualifiers.SUFFIXES))})$|@default$")
_RELEASE: Final = re.compile(r"(?:(?<=\d{8})-v\d+:\d+|-v?1:0|(?<=-v\d):0)$")  # a host's own: "…-20250929-v1:0"
_SERVED_BY: Final = re.compile(rf"(?:{'|'.join(sorted(qualifiers.SERVED_BY, key=len, reverse=True))})\s+(?=\S)")
_LIFECYCLE_BESIDE: Final = re.compile(
    rf"^\s*(?:(?:{'|'.join(sorted(qualifiers.LIFECYCLE_ANYWHERE))})\b\s*)+|\s+(?:{'|'.join(sorted(qualifiers.LIFECYCLE_ANYWHERE))})\s*$"
)
_DAY: Final = re.compile(r"\d{1,2}(st|nd|rd|th)?|20\d\d|\d{6}|\d{8}|\d{1,2}\.\d{1,2}(\.\d{2,4})?")
_LONGEST: Final = 4  # words of a phrase in the tables

_VERSION: Final = re.compile(r"v?(\d+(?:\.\d+)*?)(?:\.0)?")
_NUMBER_THEN_WORD: Final = re.compile(r"([a-z]{0,2}\d+(?:\.\d+)*)([a-z]?)([a-z]{3,})")
_PLUS: Final = re.compile(r"(.*[^+])(\++)", re.DOTALL)
_SHORTEST: Final = 3  # letters of a word that is found inside another
_TWO_WORDS: Final = {"commandr": ("command", "r")}

_REASONING: Final = frozenset({"reasoning", "thinking"})
_NEGATIONS: Final = frozenset({"no", "non"})
_MONTHS: Final = frozenset(
    {"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"}
    | {"december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"}
)


@lru_cache(maxsize=REMEMBERED)
def words(name: str) -> tuple[str, ...]:
    """The words that say which model a name means, sorted, repeats kept; equal for two names of one model.

    Never empty for a name that has a visible character: two names of symbols are two names.
    """
    text = _without_labels(without_path(folded(name).strip()))
    name_words = _without_company(ordered_words(_RELEASE.sub("", text)))
    if text.rstrip().endswith(" +"):
        name_words = (*name_words, "plus")
    return tuple(sorted(_each_word(name_words)))


def same_words(one: str, other: str) -> bool:
    """Whether two names mean one model: an equivalence, and the same as equal `words`."""
    return one == other or words(one) == words(other)


@dataclass(frozen=True, slots=True)
class BareName:
    """A name's words without what says how the model is run: "reasoning", "non-reasoning", "web search"."""

    words: tuple[str, ...]
    qualifiers: frozenset[str]


@lru_cache(maxsize=REMEMBERED)
def bare_words(name: str) -> BareName:
    """What is left of a name for looking up what is stated about its model; never for telling whether two are one.

    A name of nothing else keeps its words.
    """
    ordered = ordered_words(without_path(folded(name)))
    rest: list[str] = []
    modes: set[str] = set()
    for before, word, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        if (word == "web" and after == "search") or (word == "search" and before == "web") or word == "websearch":
            modes.add("web search")
        elif word in _NEGATIONS and after in _REASONING:
            continue
        elif word in _REASONING:
            modes.add("non-reasoning" if before in _NEGATIONS else "reasoning")
        else:
            rest.append(word)
    if not modes or not rest:
        return BareName(words(name), frozenset(modes) if rest else frozenset())
    return BareName(words(" ".join(rest)), frozenset(modes))


def _without_labels(text: str) -> str:
    """A name in lower case without the labels that are set apart from it: in brackets, by a dash, comma or colon."""
    rest = _SUFFIX.sub("", text)
    named_providers: list[str] = []
    if _GROUP.search(rest):
        rest = _GROUP.sub(lambda group: _group_without_labels(group, named_providers), rest)
    parts = _APART.split(rest)
    first, last = 0, len(parts)
    for start in range(2, last, 2):
        if _is_label("".join(parts[start:])):
            last = start - 1
            break
    while first + 2 < last and _is_label(parts[first]):
        first += 2
    rest = " ".join([*named_providers, "".join(parts[first:last])])
    return rest if any(char.isalnum() for char in rest) else text


def _group_without_labels(group: re.Match[str], named_providers: list[str]) -> str:
    """What of a group in brackets says which model it is; its provider counts as standing before the name."""
    if _is_label(group[1]):
        return " "
    parts = _APART.split(group[1])
    last = next((start for start in range(2, len(parts), 2) if _is_label("".join(parts[start:]))), len(parts) + 1) - 1
    rest: list[str] = []
    for part in parts[0:last:2]:
        if phrase_of(_SERVED_BY.sub("", part.strip())) in qualifiers.PROVIDERS:
            named_providers.append(phrase_of(_SERVED_BY.sub("", part.strip())))
        elif not _is_label(part):
            rest.append(_LIFECYCLE_BESIDE.sub("", part))
    return f" ({', '.join(rest)}) " if rest else " "


@lru_cache(maxsize=4096)
def _is_label(text: str) -> bool:
    """Whether a piece that is set apart says nothing of which model it is."""
    phrase = phrase_of(text)
    if phrase in qualifiers.LABELS or _is_end_of_life(phrase.split()):
        return True
    place = _SERVED_BY.sub("", text.strip(), count=1)
    return bool(phrase) and all(is_host(part) or is_region(part.strip()) for part in re.split(r"[,/;|]", place))


def _is_end_of_life(name_words: Sequence[str]) -> bool:
    """Whether the words say how long a model lives: "legacy", "retiring on 1 May 2026". A date before them, or beside
    "legacy", is the model's own.
    """
    if name_words and name_words[0] in qualifiers.LIFECYCLE and not qualifiers.SUCCESSION.isdisjoint(name_words):
        return True
    ends = ending = False
    for word in name_words:
        if word in qualifiers.LIFECYCLE:
            ends, ending = True, ending or word not in qualifiers.LIFECYCLE_UNDATED
        elif word in _MONTHS or _DAY.fullmatch(word):
            if not ending:
                return False
        elif word not in qualifiers.LIFECYCLE_FILLERS:
            return False
    return ends


def _without_company(name_words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without hosts, regions, providers and labels at both ends, while the rest tells its provider."""
    rest = name_words
    while (shorter := _shorter_at_start(rest) or _shorter_at_end(rest)) is not None:
        rest = shorter
    return rest


def _shorter_at_start(name_words: tuple[str, ...]) -> tuple[str, ...] | None:
    for phrase, rest in _splits(name_words, at_start=True):
        # "Anthropic's Claude": the s is no word.
        if phrase in qualifiers.LIFECYCLE_ANYWHERE or _says_nothing(phrase.removesuffix(" s"), rest):
            return rest
    return None


def _shorter_at_end(name_words: tuple[str, ...]) -> tuple[str, ...] | None:
    for start in range(len(name_words) - 1, 0, -1):
        word, after = name_words[start], name_words[start + 1 : start + 2]
        if word in qualifiers.LIFECYCLE_ANYWHERE and _is_end_of_life(name_words[start:]):
            return None if after and len(after[0]) < 3 and after[0].isdigit() else name_words[:start]
        if word not in qualifiers.LIFECYCLE_FILLERS and word not in _MONTHS and not _DAY.fullmatch(word):
            break
    for phrase, rest in _splits(name_words, at_start=False):
        if _says_nothing(_SERVED_BY.sub("", phrase), rest):
            return rest
    return None


def _splits(name_words: tuple[str, ...], *, at_start: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A phrase at one end of the words, the longest first, and the rest, which is never empty."""
    if not name_words or name_words[0 if at_start else -1] not in _words_at_ends():
        return  # as with nearly all names
    for length in range(min(_LONGEST, len(name_words) - 1), 0, -1):
        phrase, rest = (
            (name_words[:length], name_words[length:]) if at_start else (name_words[-length:], name_words[:-length])
        )
        yield " ".join(phrase), rest


@lru_cache(maxsize=1)
def _words_at_ends() -> frozenset[str]:
    """The words that phrases of the tables begin or end with."""
    tables: tuple[Iterable[str], ...] = (
        *(qualifiers.HOSTS, qualifiers.PROVIDERS, qualifiers.REGIONS, qualifiers.LABELS_BESIDE),
        *(qualifiers.LIFECYCLE_ANYWHERE, qualifiers.REGION_ENDS),
    )
    return frozenset(word for table in tables for phrase in table for word in (phrase.split()[0], phrase.split()[-1]))


def _says_nothing(phrase: str, rest: tuple[str, ...]) -> bool:
    """Whether a phrase beside the rest only names a place, a host, the provider or a label."""
    named = qualifiers.PROVIDERS.get(phrase)
    strong_host = phrase in qualifiers.HOSTS and phrase not in qualifiers.WEAK_HOSTS
    if named is None and not strong_host and phrase not in qualifiers.LABELS_BESIDE and not is_region(phrase):
        return False
    provider = provider_of_words(rest)
    if provider == OTHER:
        return False
    return named is None or strong_host or provider == named or named in qualifiers.HOSTING_PROVIDERS


def _each_word(name_words: tuple[str, ...]) -> Iterator[str]:
    carry = ""
    for word, after in zip(name_words, [*name_words[1:], ""], strict=False):
        whole, carry = carry + word, ""
        if after[:1].isdigit() and whole not in _known_words() and whole[:-1] in _known_words():
            whole, carry = whole[:-1], whole[-1]  # "deepseekr 2", which is how "DeepSeekR2" is read
        yield from _parts(whole)


@lru_cache(maxsize=8192)
def _parts(word: str) -> tuple[str, ...]:
    """A word as it would stand with its marks and spaces written: "r+" is `r plus`, "4omini" `4o mini`, "v3" `3`."""
    if plus := _PLUS.fullmatch(word):
        return (*_parts(plus[1]), "plus" * len(plus[2]))
    if version := _VERSION.fullmatch(word):
        return (version[1],)  # "v2.0" is 2
    if number := _NUMBER_THEN_WORD.fullmatch(word):
        for head, rest in ((number[1], number[2] + number[3]), (number[1] + number[2], number[3])):
            if inner := _known_parts(rest):
                return (*_parts(head), *inner)
    return _TWO_WORDS.get(word) or _known_parts(word) or (word,)


@lru_cache(maxsize=8192)
def _known_parts(word: str) -> tuple[str, ...]:
    """The fewest words of the tables that make up a word, more than one where there are: "flashlite" is `flash lite`.
    Empty where it is not made of them.
    """
    best: list[tuple[str, ...] | None] = [(), *[None] * len(word)]
    for end in range(_SHORTEST, len(word) + 1):
        for start in range(end - _SHORTEST + 1):
            before, part = best[start], word[start:end]
            shorter = best[end]
            if before is None or part not in _known_words() or (start == 0 and end == len(word)):
                continue
            if shorter is None or len(before) + 1 < len(shorter):
                best[end] = (*before, part)
    if best[-1]:
        return best[-1]
    if word.endswith("ai") and word[:-2] in _known_words():
        return (word[:-2], "ai")
    return (word,) if word in _known_words() else ()


@lru_cache(maxsize=1)
def _known_words() -> frozenset[str]:
    begins = {word for rule in provider_families.RULES for words_ in rule.prefix.split("|") for word in words_.split()}
    return frozenset(word for word in begins | GENERIC if len(word) >= _SHORTEST and word.isascii() and word.isalpha())
