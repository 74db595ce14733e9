"""What is known of a model beside its id and name: provider, capabilities and key, from all sources put together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable

import structlog

from shared.catalogue.facts.capabilities import ModelData, resolve
from shared.catalogue.facts.mapping import Mapping
from shared.catalogue.facts.models_dev import ModelDataUnavailable, model_data
from shared.catalogue.facts.providers import provider_of
from shared.catalogue.sync.draft import Describe, ModelDescription
from shared.catalogue.sync.parse import Entry
from shared.catalogue.sync.plan import Policy
from shared.catalogue.sync.rows import UNORDERED, Json

log = structlog.get_logger(__name__)


class ModelDescriber:
    """The mapping, and public data about models, read when it is first asked for."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping

    def load(self) -> Describe:
        """A function that describes an entry. Where the public data is missing it does without, and the log says so."""
        data: ModelData | None
        try:
            data = model_data()
        except ModelDataUnavailable as error:
            log.warning(
                "llm_refresh.model_data_unavailable",
                message="Syncing without public data about models",
                detail=str(error),
            )
            data = None

        def describe(entry: Entry, overrides: Json) -> ModelDescription:
            mapped = self.mapping.model(entry.name)
            provider = mapped.provider if mapped is not None else provider_of(entry.name)
            public_facts = data.find(entry.name, provider) if data is not None else None
            capabilities = resolve(entry.name, entry.mime_types, overrides, self.mapping.find(entry.name), public_facts)
            return ModelDescription(
                provider=provider,
                capabilities=capabilities.values,
                provenance=capabilities.provenance,
                key=mapped.key if mapped is not None else None,
                display_order=mapped.order if mapped is not None else UNORDERED,
            )

        return describe

    def digest(self, policy: Policy) -> str:
        """A digest of all that a plan depends on beside the list and the table: rules, mapping, public data, policy."""
        try:
            version = model_data().version
        except ModelDataUnavailable:
            version = "none"
        return hashlib.sha256(f"{_rules_digest()} {version} {asdict(policy)}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _rules_digest() -> str:
    """A digest of the catalogue's files: another release with other rules plans anew, whatever it calls itself."""
    digest = hashlib.sha256()
    for _, content in rule_files():
        digest.update(content)
    return digest.hexdigest()


def rule_files() -> Iterator[tuple[str, bytes]]:
    """Path below `shared/catalogue` and content of each file that may hold a rule, subfolders included, by path."""
    yield from _files_below(resources.files("shared.catalogue"), "")


def _files_below(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _files_below(entry, f"{path}/")
        elif path.endswith((".py", ".toml")):
            yield path, entry.read_bytes()
