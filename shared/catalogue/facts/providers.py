"""Which provider a model's name tells of. Pure; the families are the table in `provider_families`.

A wrong guess is worse than `other`, so a rule says how much company its words bear. "Nova Pro" is Amazon's and "Nova
Pro Wrestling" is not; "Acme GPT-4o" is still OpenAI's, while "Dolphin Mixtral" is somebody's own tuning of open
weights. Two providers in one name are `other`, unless one is known to build on the other. A host (Azure, Bedrock) is no
provider, and a provider that also hosts ("Google: Claude Sonnet 4") is one only where no family speaks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from shared.catalogue.facts.paths import is_region, phrase_of, without_path
from shared.catalogue.facts.provider_families import KNOWN_AS, RULES, Context, Rule
from shared.catalogue.facts.qualifiers import HOSTS, PROVIDERS, WEAK_HOSTS
from shared.catalogue.facts.spelling import folded, ordered_words

OTHER: Final = "other"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POSSESSIVE: Final = re.compile(r"(?<=\w)['\u2019]s(?=\s)")  # "Meta's Llama 3"
_OPEN_FAMILIES: Final = frozenset({"llama", "qwen"})
"""Families that others build upon: beside another provider's model they are a second one, also without a version."""
_NUMBER: Final = re.compile(r"v?\d+(\.\d+)*|\d+[km]")  # a version, a date, a length
_NUMBER_WITH_UNIT: Final = re.compile(r"v?\d+([.x]\d+)*[a-z]{0,2}|[ae]\d+b")  # 72b, 8x7b, 128k, 3n, 4.5v, a22b, e4b
_PLAIN: Final = _words(
    """
    latest preview beta alpha exp experimental stable new old legacy deprecated default free internal external private
    reasoning thinking reasoner extended hybrid adaptive non no fast high low medium web search online context long
    llm model models ai api the by for via on at hosted version release labs
    us eu apac au jp uk global east west emea
    azure bedrock aws vertex gcp groq cerebras openrouter together togetherai fireworks sagemaker foundry nim sap
    cf workers central north south gov
    """
) | {phrase for phrase in HOSTS - WEAK_HOSTS if " " not in phrase}
GENERIC: Final = _PLAIN | _words(
    """
    mini nano micro tiny small large xl xxl xlarge big huge max ultra super premier premium pro plus master air airx
    lite light base core edge standard advanced express turbo flash flashx instant speed highspeed faster heavy
    lightning quality creative terminus speciale versatile
    chat instruct it hf text vision vl visual image images video audio voice speech music content clip
    realtime live tts asr stt ocr transcribe transcription omni multimodal code coder coding codex spark math translate
    embed embedding embeddings rerank reranker retriever guard safeguard safety moderation prompt
    deep research think thinker nothink distill moe dense dev build agent agentic multi tool tools custom customtools
    en hd english multilingual arabic japanese original query generate
    maverick scout behemoth reel fill depth canny redux r7b g1 v h rl md lg
    4bit 6bit 8bit fp8 fp16 bf16 int4 int8 awq gptq gguf nvfp4 tee
    production test eval batch dpo sft
    """
)
# Providers that also host others' models: providers only where nothing else in the name speaks, and nothing is unknown.
_HOSTS: Final = frozenset(
    {"google", "amazon", "microsoft", "nvidia", "alibaba", "ibm", "meta", "databricks", "snowflake"}
)
_SPEAKING_HOSTS: Final = _HOSTS - {"meta", "databricks", "snowflake"}  # "Meta Search" need not be Meta's
# The thing is about a model, or made of one, and not the model.
_ABOUT: Final = _words(
    """
    router gateway proxy wrapper compatible like style styled clone alternative competitor vs versus ensemble killer
    inspired compared comparison comparator benchmark detector generator helper bot chatbot plugin imitation fake unlike
    anti mock dummy stub summarizer than formatter linter tutor trainer tracker finder
    """
)
# Words of tunings that others make of open weights.
_TUNINGS: Final = _words(
    """
    finetune finetuned finetuning lora merge merged abliterated uncensored derestricted heretic dolphin eva euryale
    stheno lunaris hanami lumimaid magnum cydonia rocinante skyfall anubis dracarys abomination unslop storybreaker
    tenyxchat openchat vicuna alpaca airoboros rpmax arli sea lion swallow elyza nex
    """
)
_NOT: Final = frozenset({"non", "not", "no", "un", "pseudo"})
_INDEX_LENGTH: Final = 2


@dataclass(frozen=True, slots=True)
class _RuleMatch:
    """A rule's words, found at these positions of a name's words."""

    rule: Rule
    at: range


@lru_cache(maxsize=32_768)
def provider_of(name: str) -> str:
    """The provider of the model of this name, in lower case; `other` where the name does not tell."""
    text = _POSSESSIVE.sub("", without_path(folded(name)))
    provider = provider_of_words(ordered_words(text))
    organisation, slash, own = text.rpartition("/")
    group = phrase_of(organisation)
    if not slash or (group not in PROVIDERS and (" " in organisation or not _begins_with_provider(group))):
        return provider  # no path, as "Kimi K2 (09/05)", or a publisher that speaks for nobody
    by_itself = provider_of_words(ordered_words(own))
    if group in PROVIDERS:
        return by_itself if provider == OTHER else provider  # a provider that serves another's: "tencent/kimi-k2"
    return provider if provider == by_itself else OTHER  # "xai-team" is not xAI


def _begins_with_provider(group: str) -> bool:
    name_words = group.split()
    return any(" ".join(name_words[:length]) in PROVIDERS for length in range(1, len(name_words)))


@lru_cache(maxsize=32_768)
def provider_of_words(name_words: tuple[str, ...]) -> str:
    """The same for a name's words as they stand."""
    matches = _match_rules(name_words)
    positions = {position for match in matches for position in match.at}
    if any(_about(name_words, position) for position in range(len(name_words)) if position not in positions):
        return OTHER
    if not matches:
        hosts = _SPEAKING_HOSTS.intersection(name_words)
        return next(iter(hosts)) if len(hosts) == 1 and all(map(_generic, name_words)) else OTHER
    providers = {match.rule.provider for match in matches}
    if len(providers) > 1:
        providers = providers.difference(
            *(match.rule.builds_on for match in matches if _holds(match, name_words, matches))
        )
    family = providers.union(*(match.rule.builds_on for match in matches if match.rule.provider in providers))
    if any(KNOWN_AS[word] not in family for word in _OPEN_FAMILIES.intersection(name_words)):
        return OTHER  # "GPT-4o Llama mix"
    is_certain = len(providers) == 1 and any(
        _holds(match, name_words, matches) for match in matches if match.rule.provider in providers
    )
    return providers.pop() if is_certain else OTHER


def _match_rules(name_words: tuple[str, ...]) -> list[_RuleMatch]:
    text = " ".join(name_words)
    rules = _rules_by_beginning()
    matches: list[_RuleMatch] = []
    offset = 0
    for position, word in enumerate(name_words):
        for indexed in rules.get(word[:_INDEX_LENGTH], ()):
            if match := indexed.pattern.match(text, offset):
                matches.append(_RuleMatch(indexed.rule, range(position, position + 1 + match[0].rstrip().count(" "))))
        offset += len(word) + 1
    if len({rule_match.rule.provider for rule_match in matches}) < 2:
        return matches
    return [rule_match for rule_match in matches if not any(_inside(rule_match, other) for other in matches)]


def _inside(match: _RuleMatch, other: _RuleMatch) -> bool:
    return match.rule.provider != other.rule.provider and set(match.at) < set(other.at)  # "o1" in "Marco o1"


def _holds(match: _RuleMatch, name_words: tuple[str, ...], matches: list[_RuleMatch]) -> bool:
    """Whether the words beside a rule's own leave no doubt about it. Words of its own provider, and of those that it
    builds on, do not count as beside it."""
    company = match.rule.context
    if company is Context.ANY:
        return True
    family = match.rule.builds_on | {match.rule.provider}
    kin = {position for one in matches if one.rule.provider in family for position in one.at}
    beside = range(match.at.start) if company is Context.AFTER else range(len(name_words))
    is_neutral = _plain if company is Context.PLAIN else _generic
    return all(
        position in kin or is_neutral(name_words[position]) or KNOWN_AS.get(name_words[position]) in family
        for position in beside
    )


def _plain(word: str) -> bool:
    return word in _PLAIN or word in _HOSTS or _NUMBER.fullmatch(word) is not None or is_region(word)


def _generic(word: str) -> bool:
    return word in GENERIC or word in _HOSTS or _NUMBER_WITH_UNIT.fullmatch(word) is not None or is_region(word)


def _about(name_words: tuple[str, ...], position: int) -> bool:
    word, after = name_words[position], name_words[position + 1 : position + 2]
    return (
        word in _ABOUT
        or word in _TUNINGS
        or (word in _NOT and after not in (("reasoning",), ("thinking",), ("think",)))
    )


class _IndexedRule:
    """A rule whose pattern is compiled when a name first begins as it does: most processes see few names."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.beginnings = rule.prefix.split("|")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(f"(?:{'|'.join(map(re.escape, self.beginnings))}){self.rule.pattern or r'(?= |$)'}")


@lru_cache(maxsize=1)
def _rules_by_beginning() -> dict[str, list[_IndexedRule]]:
    index: dict[str, list[_IndexedRule]] = defaultdict(list)
    for indexed in map(_IndexedRule, RULES):
        for start in sorted({beginning[:_INDEX_LENGTH] for beginning in indexed.beginnings}):
            index[start.strip()].append(indexed)
    return dict(index)
