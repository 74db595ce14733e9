"""The rules of a refresh, each with an example: the tests play every one, and docs/catalogue.md is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Listed = dict[int, str]


@dataclass(frozen=True)
class Rule:
    """Nights of upstream's lists, and what the table holds after the last: id -> (key, active, default)."""

    name: str
    says: str
    nights: tuple[Listed, ...]
    kinds: tuple[str, ...]
    """The kinds of the last night's changes, in their order."""
    keys: dict[int, str]
    inactive: tuple[int, ...] = ()
    default: int | None = None
    held: bool = False
    edit: tuple[int, dict[str, Any]] | None = None
    """An operator's edit before the last night."""


_A, _B, _C = {1: "Claude 3.7 Sonnet"}, {2: "GPT-4o"}, {3: "Gemini 2.5 Pro"}
_ABC = _A | _B | _C

RULES = (
    Rule(
        "added",
        "An id that was never listed gets a row; its key is made of its name, its maker told from it.",
        (_A, _ABC),
        ("added", "added"),
        {1: "claude-3-7-sonnet", 2: "gpt-4o", 3: "gemini-2-5-pro"},
        default=1,
    ),
    Rule(
        "unchanged",
        "The same list changes nothing but the time of the last sync.",
        (_ABC, _ABC),
        (),
        {1: "claude-3-7-sonnet"},
        default=1,
    ),
    Rule(
        "renamed",
        "The same words in another order, case or punctuation are the same model: the key stays.",
        (_ABC, _ABC | {1: "claude sonnet 3.7"}),
        ("renamed",),
        {1: "claude-3-7-sonnet"},
        default=1,
    ),
    Rule(
        "renamed: qualifiers",
        "What says nothing about the model (its maker, a host, a region, an end of life, a label) may come and go.",
        (_ABC, {1: "us.anthropic.claude-3-7-sonnet-v1:0", 2: "OpenAI: GPT-4o (Legacy)"} | _C),
        ("renamed", "renamed"),
        {1: "claude-3-7-sonnet", 2: "gpt-4o"},
        default=1,
    ),
    Rule(
        "repointed: preview, date",
        "A stage, date, size or version makes another model.",
        (_ABC | {4: "GPT-4o (2024-08-06)"}, _A | _B | {3: "Gemini 2.5 Pro Preview", 4: "GPT-4o (2024-11-20)"}),
        ("repointed", "repointed"),
        {3: "gemini-2-5-pro-preview", 4: "gpt-4o-2024-11-20"},
        default=1,
    ),
    Rule(
        "repointed",
        "Other words under the same id are another model: it gets its own key, without overrides and default; the old key"
        " is retired, and whoever asks for it is told.",
        (_ABC, _ABC | {1: "Mistral Large 3"}),
        ("repointed", "default"),
        {1: "mistral-large-3", 2: "gpt-4o"},
        default=2,
    ),
    Rule(
        "moved",
        "The same name under a new id while the old id is absent: key, order, overrides and default go along; the old row"
        " keeps the key with its id as suffix, and is inactive.",
        (_ABC, {9: "Claude 3.7 Sonnet"} | _B | _C),
        ("moved", "moved"),
        {9: "claude-3-7-sonnet", 1: "claude-3-7-sonnet-1"},
        inactive=(1,),
        default=9,
    ),
    Rule(
        "moved back",
        "A name that is listed again under an id that it had before, and under no other, is moved again, any number of"
        " times, also after years.",
        (_ABC, {9: "Claude 3.7 Sonnet"} | _B | _C, _ABC),
        ("moved", "moved"),
        {1: "claude-3-7-sonnet", 9: "claude-3-7-sonnet-9"},
        inactive=(9,),
        default=1,
    ),
    Rule(
        "listed under both ids",
        "A name that is listed under its old and its new id keeps its key where it is.",
        (_ABC, {9: "Claude 3.7 Sonnet"} | _B | _C, _ABC | {9: "Claude 3.7 Sonnet"}),
        ("capability", "reactivated"),
        {9: "claude-3-7-sonnet", 1: "claude-3-7-sonnet-1"},
        default=9,
    ),
    Rule(
        "the main one of two is gone",
        "Of two rows of a name the one with the suffix gets the key without it, when that one's row is absent or means"
        " another model, unless it is hidden; the other row goes at once.",
        (_ABC | {4: "Kimi K2", 5: "Kimi K2"}, _ABC | {5: "Kimi K2"}),
        ("moved", "moved", "deactivated"),
        {5: "kimi-k2", 4: "kimi-k2-4"},
        inactive=(4,),
        default=1,
    ),
    Rule(
        "a key that a name had",
        "A name that comes back after its row meant another model gets the key that it had, also in another spelling.",
        (_ABC | {4: "Kimi K2"}, _ABC | {4: "Grok 4"}, _ABC | {4: "Grok 4", 7: "KIMI-K2"}),
        ("added",),
        {7: "kimi-k2", 4: "grok-4"},
        default=1,
    ),
    Rule(
        "every id is new",
        "Models that are listed under other ids are not absent: the guard lets them through.",
        (_ABC, {11: "Claude 3.7 Sonnet", 12: "GPT-4o", 13: "Gemini 2.5 Pro"}),
        ("moved",) * 6,
        {11: "claude-3-7-sonnet", 12: "gpt-4o", 13: "gemini-2-5-pro"},
        inactive=(1, 2, 3),
        default=11,
    ),
    Rule(
        "swapped",
        "Two ids that change their names are two repointed rows; key, order, overrides and default follow the names.",
        (_ABC, {1: "GPT-4o", 2: "Claude 3.7 Sonnet"} | _C),
        ("repointed", "repointed"),
        {1: "gpt-4o", 2: "claude-3-7-sonnet"},
        default=2,
        held=True,
    ),
    Rule(
        "slug collision",
        "Names that make the same key: the later one gets its id as suffix.",
        (_A, _A | {4: "Llama 3.8B", 5: "Llama 3 8B"}),
        ("added", "added"),
        {4: "llama-3-8b", 5: "llama-3-8b-5"},
        default=1,
    ),
    Rule(
        "same name twice",
        "The same name under several ids is no error: a row each.",
        (_A, _A | {4: "Kimi K2", 5: "Kimi K2"}),
        ("added", "added"),
        {4: "kimi-k2", 5: "kimi-k2-5"},
        default=1,
    ),
    Rule(
        "other scripts",
        "A name in another script gets a key in Latin letters; a key is never a bare number.",
        (_A, _A | {7: "文心一言 4.0", 8: "שלום 3", 9: "4.0"}),
        ("added", "added", "added"),
        {7: "wenxinyiyan-4-0", 8: "slvm-3", 9: "model-4-0"},
        default=1,
    ),
    Rule(
        "no letters",
        "A name that cannot be spelled in Latin letters still gets a key.",
        (_A, _A | {7: "𒀀"}),
        ("added",),
        {7: "model-7"},
        default=1,
    ),
    Rule(
        "a retired key stays retired",
        "A key that meant another model is not given away, even where a new name would make it.",
        ({1: "Llama 3.8B"} | _B | _C, {1: "Llama 4 Scout"} | _B | _C, {1: "Llama 4 Scout", 8: "Llama 3 8B"} | _B | _C),
        ("added",),
        {1: "llama-4-scout", 8: "llama-3-8b-8"},
        default=2,
    ),
    Rule(
        "missing",
        "A model that is absent once stays active: the first miss only counts.",
        (_ABC, _A | _B),
        (),
        {3: "gemini-2-5-pro"},
        default=1,
    ),
    Rule(
        "deactivated",
        "After REFRESH_GRACE_SYNCS (2) lists without it, counted only REFRESH_GRACE_MIN_HOURS apart (12 for a nightly refresh);"
        " at once when MatchaAI has refused the model in a chat since it last listed it.",
        (_ABC, _A | _B, _A | _B),
        ("deactivated",),
        {3: "gemini-2-5-pro"},
        inactive=(3,),
        default=1,
    ),
    Rule(
        "back again",
        "A model that is listed again is active again, with its key.",
        (_ABC, _A | _B, _A | _B, _ABC),
        ("reactivated",),
        {3: "gemini-2-5-pro"},
        default=1,
    ),
    Rule(
        "an id used again",
        "An id that was retired and comes back with other words is another model.",
        (_ABC, _A | _B, _A | _B, _A | _B | {3: "Kimi K2"}),
        ("repointed",),
        {3: "kimi-k2"},
        default=1,
    ),
    Rule(
        "the default is gone",
        "There is exactly one active default: MATCHAAI_DEFAULT_MODEL, else the same maker's first by order, else the first.",
        (_ABC | {4: "Claude 3.5 Haiku"}, *(_B | _C | {4: "Claude 3.5 Haiku"},) * 2),
        ("deactivated", "default"),
        {4: "claude-3-5-haiku"},
        inactive=(1,),
        default=4,
    ),
    Rule(
        "held: halved",
        "More than REFRESH_MAX_SHRINK (0.5) of the active models absent or repointed: nothing is applied, no miss counted.",
        (_ABC, _A),
        (),
        {2: "gpt-4o", 3: "gemini-2-5-pro"},
        default=1,
        held=True,
    ),
    Rule(
        "held: empty", "An empty list is held, always.", (_ABC, {}), (), {1: "claude-3-7-sonnet"}, default=1, held=True
    ),
    Rule(
        "an operator's name",
        "What an operator set is kept over every sync.",
        (_ABC, _ABC),
        (),
        {1: "claude-3-7-sonnet"},
        default=1,
        edit=(1, {"model_name": "Our Sonnet"}),
    ),
    Rule(
        "upstream changes below an override",
        "The change is noted below the override, and in the ledger.",
        (_ABC, _ABC | {1: "Claude Sonnet 3.7"}),
        ("renamed",),
        {1: "claude-3-7-sonnet"},
        default=1,
        edit=(1, {"model_name": "Our Sonnet"}),
    ),
    Rule(
        "an operator's default",
        "An operator's choice is the default whenever it is active.",
        (_ABC, _ABC),
        (),
        {2: "gpt-4o"},
        default=2,
        edit=(2, {"is_default": True}),
    ),
    Rule(
        "a hidden model",
        "A model that an operator made inactive stays so while it is listed.",
        (_ABC, _ABC),
        (),
        {3: "gemini-2-5-pro"},
        inactive=(3,),
        default=1,
        edit=(3, {"is_active": False}),
    ),
    Rule(
        "a hidden name",
        "Where upstream lists the model that an operator hid a second time, under another id, that row is hidden too.",
        (_ABC, _ABC | {9: "Gemini 2.5 Pro"}),
        ("added",),
        {3: "gemini-2-5-pro", 9: "gemini-2-5-pro-9"},
        inactive=(3, 9),
        default=1,
        edit=(3, {"is_active": False}),
    ),
    Rule(
        "a model that is to be shown",
        "`is_active: true` means what null means, that no operator hides the model; one that upstream does not list goes as"
        " every other does.",
        (_ABC, _A | _B, _A | _B),
        ("deactivated",),
        {3: "gemini-2-5-pro"},
        inactive=(3,),
        default=1,
        edit=(3, {"is_active": True}),
    ),
)

REFUSED: tuple[tuple[Any, str], ...] = (
    ("a model", "not an object but text 'a model'"),
    ({"name": "No id"}, "id is missing"),
    ({"id": True, "name": "A boolean"}, "id is no integer but true"),
    ({"id": "28", "name": "Digits"}, "id is no integer but text '28'"),
    ({"id": 0, "name": "Zero"}, "id is not between 1 and 2147483647"),
    ({"id": 2147483648, "name": "Too big"}, "id is not between 1 and 2147483647"),
    ({"id": 50}, "name is missing"),
    ({"id": 51, "name": "   "}, "name is empty"),
    ({"id": 52, "name": "A\tB"}, "name has a control character (U+0009)"),
)
