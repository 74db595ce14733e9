"""Variables from the environment, from `.env` below it and from files that they name; and names that look like ours."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream


class EnvironmentFault(Exception):
    """A file cannot be used, or a variable is given twice. The text is one line that names it, and holds no value."""


STATE_FILE = "state.json"
"""In LLM_REFRESH_HOME: the mode and the addresses of what `make up` started."""
_OWN_PREFIXES = ("LLM_REFRESH_", "MATCHAAI_")
_SHORTEST = 6
"""Shorter names look like too much else."""
_ALIKE = 0.87
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark as Windows writes it.

    Raises OSError, and ValueError for another encoding: guessing one would change a password in silence.
    """
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is not in UTF-8") from None
    if "\x00" in text:
        raise ValueError("it is not in UTF-8, or holds NUL characters")
    return text


def read_dotenv(path: Path | None) -> dict[str, str]:
    """The variables of a `.env`; none where there is no such file. Raises EnvironmentFault."""
    if path is None or not path.exists():
        return {}
    try:
        text = read_text(path)
    except OSError as error:
        raise EnvironmentFault(f"{path.name}: cannot be read ({type(error).__name__})") from None
    except ValueError as error:
        raise EnvironmentFault(f"{path.name}: {error}; save it as UTF-8") from None
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            why = "a line NAME=value belongs there, with its quotes closed"
            raise EnvironmentFault(f"{path.name}: line {_line(binding.original)} cannot be read: {why}")
    read = dotenv_values(stream=StringIO(text))
    return {name: value for name, value in read.items() if value is not None}


def merge_variables(names: Collection[str], environ: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """The variables that are set, from `.env` and, above it, the environment; NAME_FILE names a file with the value.

    An empty value counts as not set. Raises EnvironmentFault.
    """
    variables: dict[str, str] = {}
    for source in (read_dotenv(dotenv), environ):
        for name in names:
            value, path = source.get(name), source.get(f"{name}_FILE")
            if value and path:
                raise EnvironmentFault(f"{name}: given twice, by {name} and by {name}_FILE; keep one")
            if path:
                value = _value_in(path, name)
            if value:
                variables[name] = value
    return variables


def _value_in(path: str, name: str) -> str:
    try:
        return read_text(Path(path)).strip()
    except OSError as error:  # the path is not repeated: some put the secret itself there
        raise EnvironmentFault(f"{name}_FILE: names no file that can be read ({type(error).__name__})") from None
    except ValueError as error:
        raise EnvironmentFault(f"{name}_FILE: its file cannot be used: {error}") from None


def misnamed(variables: Iterable[str], names: Collection[str]) -> list[tuple[str, str | None]]:
    """Variables that nobody reads and that look like ours, each with the name that was probably meant.

    `names`: all that are read. Such a variable is not an error: it may be another program's.
    """
    readable = {*names, *(f"{name}_FILE" for name in names)}
    by_form = {_form(name): name for name in sorted(readable, key=len, reverse=True)}
    alike: list[tuple[str, str | None]] = []
    for name in sorted(set(variables) - readable):
        form = _form(name)
        if len(form) < _SHORTEST or not re.fullmatch(r"[\w-]{1,60}", name, re.ASCII):
            continue
        close = difflib.get_close_matches(form, by_form, n=1, cutoff=_ALIKE)
        if close:
            alike.append((name, by_form[close[0]]))
        elif name.startswith(_OWN_PREFIXES):
            alike.append((name, None))
    return alike


def _form(name: str) -> str:
    return name.upper().replace("-", "_")


def _line(original: Any) -> int:
    """The line of python-dotenv's Original."""
    return int(original.line)
