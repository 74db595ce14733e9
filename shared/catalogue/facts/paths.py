"""The model's own part of a name that is a path: without hosts, regions, accounts and what only groups. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

from shared.catalogue.facts.qualifiers import GROUPS, HOSTS, NAMED_GROUPS, PROVIDERS, REGION, REGIONS

_ARN: Final = re.compile(r"arn:[\w-]*:[\w-]*:[\w-]*:\d*:(?=\S)")
_PREFIX: Final = re.compile(r"([^\s:/][^:/]{0,30}?)\s*:\s*(?=[^\s:])")  # "OpenAI: GPT-4o", "hf:zai-org/GLM-5"
_REGION_POINT: Final = re.compile(r"(us|eu|apac|global|jp|au|ca|sa|uk|in|kr|us-gov)\.(?=[a-z][a-z0-9-]*\.)")
_PLACE: Final = re.compile(REGION)
_COMMITMENT: Final = re.compile(r"\d+-months?-commitment|v\d+(beta\d*)?|\d{6,}|[0-9a-f]{8}-[0-9a-f-]{20,}")
_LETTER: Final = re.compile(r"[^\W\d_]")


def phrase_of(text: str) -> str:
    """A piece of a name as the tables write phrases: words joined by single spaces."""
    return " ".join(re.findall(r"[^\W_]+", text))


@lru_cache(maxsize=4096)
def is_host(text: str) -> bool:
    """Whether a piece of a name, in lower case, is nothing but who serves the model."""
    return phrase_of(text) in HOSTS


@lru_cache(maxsize=4096)
def is_region(text: str) -> bool:
    """Whether a piece of a name, in lower case, is nothing but where the model runs."""
    return text.strip() in REGIONS or phrase_of(text) in REGIONS or _PLACE.fullmatch(text.strip()) is not None


def without_path(text: str) -> str:
    """What is left of a name in lower case; the provider's part of a path stays: "bedrock/us-east-1/anthropic.claude-2"
    is "anthropic.claude-2", "openrouter/openai/gpt-4o" is "openai/gpt-4o".
    """
    if ":" not in text and "/" not in text:
        return _without_region(text)
    rest = _ARN.sub("", text, count=1) if text.startswith("arn:") else text
    while (prefix := _PREFIX.match(rest)) and is_host(prefix[1]) and _LETTER.search(rest, prefix.end()):
        rest = rest[prefix.end() :]
    if "/" in rest and " /" not in rest and "/ " not in rest:
        rest = _last_parts(rest.strip("/").split("/"))
    return _without_region(rest)


def _without_region(text: str) -> str:
    region = _REGION_POINT.match(text)
    return text[region.end() :] if region else text


def _last_parts(parts: list[str]) -> str:
    result: list[str] = []
    skip_next = False
    for part, after in pairwise(parts):
        if skip_next:
            skip_next = False
        elif part in NAMED_GROUPS:
            skip_next = True
        elif part in GROUPS or is_host(part) or is_region(part) or _COMMITMENT.fullmatch(part):
            continue
        elif _is_provider(part) and _is_provider(after) and after is not parts[-1]:
            continue  # who serves it, before who made it: "perplexity/openai/gpt-4o"
        else:
            result.append(part)
    return "/".join([*result, parts[-1]])


def _is_provider(part: str) -> bool:
    return phrase_of(part) in PROVIDERS
