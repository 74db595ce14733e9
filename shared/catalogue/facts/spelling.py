"""How a name is spelled: the text that is kept, the model key, and the words in their order. Pure.

Which of the words say which model it is: `names`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from anyascii import anyascii

_NOT_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
# Drawn as nothing: Unicode's category "format", what else Default_Ignorable_Code_Point names, and the braille blank.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Pictures that are joined to one, keycaps and flags of regions (Unicode TR 51): what is invisible in them is theirs.
_PICTURE: Final = (
    "[\u203c\u2049\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\U0001f000-\U0001faff]"
    "\ufe0f?[\U0001f3fb-\U0001f3ff]?"
)
_JOINED_OR_INVISIBLE: Final = re.compile(
    f"({_PICTURE}(?:\u200d{_PICTURE})+|[0-9#*]\ufe0f?\u20e3|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]+\U000e007f)"
    f"|{_INVISIBLE.pattern}"
)
_TRADE_MARKS: Final = {ord("™"): None, ord("℠"): None}  # NFKC would make letters of them: "ClaudeTM"

MAX_KEY: Final = 200  # characters, as of a name
REMEMBERED: Final = 32_768  # names: a plan asks several times for the words of each, and again the next night
_LETTER: Final = re.compile(r"[a-z]")
_OTHER_LETTERS: Final = re.compile(
    "(?:(?![\x00-\x7f])[^\\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u0655\u0900-\u0dff\u0e00-\u109f\u1780-\u17d3])+"
)
_FOREIGN: Final = re.compile(r"[^\x00-\x7f\w]")  # neither ASCII nor a letter or digit of any script
_DATE: Final = re.compile(r"(?<!\d)(20[0-9]{2})[-_./](0[1-9]|1[0-2])[-_./](0[1-9]|[12][0-9]|3[01])(?!\d)")
# Letters and digits in one run; a point between digits joins ("3.7", "3.8b"), a dash does so only between two short
# numbers ("3-7" is 3.7, "3-8b" is 3 and 8b); a "+" or "#" at the end belongs to the word ("R+").
_ASCII_PUNCTUATION: Final = r"\s!-/:-@\[-`{-~"
_RUN: Final = rf"[^{_ASCII_PUNCTUATION}]"
_WORD: Final = re.compile(
    rf"{_RUN}+(?:(?:(?<=\d)\.(?=\d)|(?<=\d)(?<!\d\d\d)[-_](?=\d{{1,2}}(?!{_RUN})(?!\.\d))){_RUN}+)*(?:[+#]+(?!{_RUN}))?"
)
_POINT_AS_P: Final = re.compile(r"(?<=\d)p(?=\d+[a-z]?$)")  # in paths that take no point: "llama-v3p1-70b"
_LATIN_ACCENT: Final = re.compile(r"(?<=[a-z])[\u0300-\u036f]+")
_FOREIGN_DIGIT: Final = re.compile(r"(?![0-9])\d")
_MINUS: Final = {ord(char): "-" for char in "\u2212\u2043\u02d7"}  # dashes to the eye, none to Unicode
_LETTERS_THEN_DIGITS: Final = re.compile(r"([^\W\d_]{3,})(\d.*)", re.DOTALL)  # "gpt4o"; not "r1", "o3", "k2"


def clean(name: str) -> str:
    """The form in which a name is kept: NFKC, nothing invisible but within pictures, single spaces, none outside.

    Raises ValueError ("has …") for a control character or half of a surrogate pair: neither is text, and
    PostgreSQL takes neither NUL nor the latter. Spaces and tabs at its ends are no fault.
    """
    name = name.strip(" \t")
    if name.isascii() and name.isprintable():
        return " ".join(name.split())
    if fault := _NOT_TEXT.search(name):
        what = "half of a surrogate pair" if fault[0] >= "\ud800" else "a control character"
        raise ValueError(f"has {what} (U+{ord(fault[0]):04X})")
    # Taking something invisible away can bring a letter and its accent together, so normalise after it, both times.
    text = unicodedata.normalize("NFKC", _without_invisible(name.translate(_TRADE_MARKS)))
    text = unicodedata.normalize("NFKC", _without_invisible(text))
    return " ".join(text.split())


def slug(name: str) -> str:
    """The model key of a name: lower-case ASCII letters and digits joined by "-"; "" where nothing can be spelled so.

    "Claude 3.7 Sonnet" is claude-3-7-sonnet, "é" is e, "Command R+" command-r-plus, "文心一言 4.0" wenxinyiyan-4-0.
    What has no letter gets one: "4.0" is model-4-0. At most MAX_KEY characters.
    """
    text = folded(name)
    key = _key(text if text.isascii() else _in_latin(text))
    if not _LETTER.search(key) and not text.isascii():
        key = _key(anyascii(text).lower())  # pictures have names, too
    if key and not _LETTER.search(key):
        key = f"model-{key}"
    return key[:MAX_KEY].rstrip("-")


def _key(text: str) -> str:
    text = re.sub(r"(?<=[a-z0-9])\++(?![a-z0-9+])", "-plus", text)
    return "-".join(re.findall(r"[a-z0-9]+", text))


def _in_latin(text: str) -> str:
    """Letters of other scripts as Latin ones; each run is a word by itself. Pictures and signs are spaces."""
    return _OTHER_LETTERS.sub(_transliterated, text)


def _transliterated(run: re.Match[str]) -> str:
    latin = anyascii(run[0]).lower()
    if unicodedata.name(run[0][0], "").startswith("LATIN"):
        return latin
    before, after = run.string[: run.start()][-1:], run.string[run.end() :][:1]
    return (" " if before.isalnum() else "") + latin + (" " if after.isalnum() else "")


@lru_cache(maxsize=REMEMBERED)
def ordered_words(name: str) -> tuple[str, ...]:
    """The words of a name as they stand, in lower case: version numbers whole, "GPT4o" read as "GPT 4o"."""
    line = whole = folded(name)
    if not line.isascii():
        line = _FOREIGN.sub(_spelled, line.translate(_MINUS))
    if "20" in line:
        line = _DATE.sub(r"\1\2\3", line)
    result: list[str] = []
    for word in _WORD.findall(line):
        if word.isalpha():
            result.append(word)
            continue
        text = _POINT_AS_P.sub(".", word.replace("-", ".").replace("_", "."))
        split = _LETTERS_THEN_DIGITS.fullmatch(text)
        result.extend(split.groups() if split else (text,))
    return tuple(result or whole.split())


def _without_invisible(text: str) -> str:
    return _JOINED_OR_INVISIBLE.sub(lambda match: match[1] or "", text)


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def folded(name: str) -> str:
    """The text of a name in lower case, with other forms of a character as what they stand for: "４ｏ", "ﬂ", "²", "٤",
    and the Latin "é" as "e".
    """
    if name.isascii():
        return name.lower()
    text = unicodedata.normalize("NFKC", _visible(name.translate(_TRADE_MARKS)))
    text = _LATIN_ACCENT.sub("", unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text.casefold())))
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.digit(digit[0])), unicodedata.normalize("NFKC", text))


def _spelled(foreign: re.Match[str]) -> str:
    char = foreign[0]
    category = unicodedata.category(char)
    if category == "Pd":
        return "-"
    return char if category[0] == "M" else " "  # marks carry the vowels of many scripts
