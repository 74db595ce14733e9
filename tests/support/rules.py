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
        "An id that was never listed gets a row; its key and its provider follow from its name.",
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
        "Words that do not identify the model (provider, host, region, end of life, label) may come and go.",
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
        " is retired, and callers that ask for it learn so.",
        (_ABC, _ABC | {1: "Mistral Large 3"}),
        ("repointed", "default"),
        {1: "mistral-large-3", 2: "gpt-4o"},
        default=2,
    ),
    Rule(
        "moved",
        "If a name has a new id and its old id is absent, key, order, overrides and default move to the new id. The old row"
        " keeps the key with its id as suffix and is inactive.",
        (_ABC, {9: "Claude 3.7 Sonnet"} | _B | _C),
        ("moved", "moved"),
        {9: "claude-3-7-sonnet", 1: "claude-3-7-sonnet-1"},
        inactive=(1,),
        default=9,
    ),
    Rule(
        "moved back",
        "If a name is listed again under an id that it had before, and under no other, it is moved again. This may happen"
        " any number of times, even after years.",
        (_ABC, {9: "Claude 3.7 Sonnet"} | _B | _C, _ABC),
        ("moved", "moved"),
        {1: "claude-3-7-sonnet", 9: "claude-3-7-sonnet-9"},
        inactive=(9,),
        default=1,
    ),
    Rule(
        "listed under both ids",
        "If a name is listed under its old and its new id, the key stays with the row that has it.",
        (_ABC, {9: "Claude 3.7 Sonnet"} | _B | _C, _ABC | {9: "Claude 3.7 Sonnet"}),
        ("capability", "reactivated"),
        {9: "claude-3-7-sonnet", 1: "claude-3-7-sonnet-1"},
        default=9,
    ),
    Rule(
        "the main one of two is gone",
        "If two rows have one name and the row with the plain key is absent or means another model, the row with the suffix"
        " gets the plain key, unless it is hidden. The other row becomes inactive at once.",
        (_ABC | {4: "Kimi K2", 5: "Kimi K2"}, _ABC | {5: "Kimi K2"}),
        ("moved", "moved", "deactivated"),
        {5: "kimi-k2", 4: "kimi-k2-4"},
        inactive=(4,),
        default=1,
    ),
    Rule(
        "a key that a name had",
        "If a name comes back after its row meant another model, it gets the key that it had, even in another spelling.",
        (_ABC | {4: "Kimi K2"}, _ABC | {4: "Grok 4"}, _ABC | {4: "Grok 4", 7: "KIMI-K2"}),
        ("added",),
        {7: "kimi-k2", 4: "grok-4"},
        default=1,
    ),
    Rule(
        "every id is new",
        "Models that are listed under other ids are not absent, so the guard does not hold the list.",
        (_ABC, {11: "Claude 3.7 Sonnet", 12: "GPT-4o", 13: "Gemini 2.5 Pro"}),
        ("moved",) * 6,
        {11: "claude-3-7-sonnet", 12: "gpt-4o", 13: "gemini-2-5-pro"},
        inactive=(1, 2, 3),
        default=11,
    ),
    Rule(
        "swapped",
        "If two ids exchange their names, both rows are repointed. Key, order, overrides and default follow the names.",
        (_ABC, {1: "GPT-4o", 2: "Claude 3.7 Sonnet"} | _C),
        ("repointed", "repointed"),
        {1: "gpt-4o", 2: "claude-3-7-sonnet"},
        default=2,
        held=True,
    ),
    Rule(
        "slug collision",
        "If two names make the same key, the later one gets its id as suffix.",
        (_A, _A | {4: "Llama 3.8B", 5: "Llama 3 8B"}),
        ("added", "added"),
        {4: "llama-3-8b", 5: "llama-3-8b-5"},
        default=1,
    ),
    Rule(
        "same name twice",
        "One name may be listed under several ids. Each id has a row.",
        (_A, _A | {4: "Kimi K2", 5: "Kimi K2"}),
        ("added", "added"),
        {4: "kimi-k2", 5: "kimi-k2-5"},
        default=1,
    ),
    Rule(
        "other scripts",
        "A name in another script gets a key in Latin letters. A key is never a bare number.",
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
        "A key that meant another model is not used again, even if a new name would make it.",
        ({1: "Llama 3.8B"} | _B | _C, {1: "Llama 4 Scout"} | _B | _C, {1: "Llama 4 Scout", 8: "Llama 3 8B"} | _B | _C),
        ("added",),
        {1: "llama-4-scout", 8: "llama-3-8b-8"},
        default=2,
    ),
    Rule(
        "missing",
        "A model that is absent once stays active. The miss is counted.",
        (_ABC, _A | _B),
        (),
        {3: "gemini-2-5-pro"},
        default=1,
    ),
    Rule(
        "deactivated",
        "A model becomes inactive after REFRESH_GRACE_SYNCS (2) misses that are REFRESH_GRACE_MIN_HOURS apart (12 for a nightly"
        " refresh). If MatchaAI has refused it in a chat since it last listed it, the first miss is enough.",
        (_ABC, _A | _B, _A | _B),
        ("deactivated",),
        {3: "gemini-2-5-pro"},
        inactive=(3,),
        default=1,
    ),
    Rule(
        "back again",
        "If a model is listed again, it is active again, with its key.",
        (_ABC, _A | _B, _A | _B, _ABC),
        ("reactivated",),
        {3: "gemini-2-5-pro"},
        default=1,
    ),
    Rule(
        "an id used again",
        "If a retired id comes back with other words, it is another model.",
        (_ABC, _A | _B, _A | _B, _A | _B | {3: "Kimi K2"}),
        ("repointed",),
        {3: "kimi-k2"},
        default=1,
    ),
    Rule(
        "the default is gone",
        "There is exactly one active default: MATCHAAI_DEFAULT_MODEL, else the same provider's first by order, else"
        " the first of all.",
        (_ABC | {4: "Claude 3.5 Haiku"}, *(_B | _C | {4: "Claude 3.5 Haiku"},) * 2),
        ("deactivated", "default"),
        {4: "claude-3-5-haiku"},
        inactive=(1,),
        default=4,
    ),
    Rule(
        "held: halved",
        "If more than REFRESH_MAX_SHRINK (0.5) of the active models are absent or repointed, nothing is applied or counted.",
        (_ABC, _A),
        (),
        {2: "gpt-4o", 3: "gemini-2-5-pro"},
        default=1,
        held=True,
    ),
    Rule(
        "held: empty", "An empty list is always held.", (_ABC, {}), (), {1: "claude-3-7-sonnet"}, default=1, held=True
    ),
    Rule(
        "an operator's name",
        "Every sync keeps what an operator has set.",
        (_ABC, _ABC),
        (),
        {1: "claude-3-7-sonnet"},
        default=1,
        edit=(1, {"model_name": "Our Sonnet"}),
    ),
    Rule(
        "upstream changes below an override",
        "The change is stored below the override and in the ledger.",
        (_ABC, _ABC | {1: "Claude Sonnet 3.7"}),
        ("renamed",),
        {1: "claude-3-7-sonnet"},
        default=1,
        edit=(1, {"model_name": "Our Sonnet"}),
    ),
    Rule(
        "an operator's default",
        "If the model that an operator chose is active, it is the default.",
        (_ABC, _ABC),
        (),
        {2: "gpt-4o"},
        default=2,
        edit=(2, {"is_default": True}),
    ),
    Rule(
        "a hidden model",
        "If an operator hides a model, it stays inactive while it is listed.",
        (_ABC, _ABC),
        (),
        {3: "gemini-2-5-pro"},
        inactive=(3,),
        default=1,
        edit=(3, {"is_active": False}),
    ),
    Rule(
        "a hidden name",
        "If upstream lists a hidden model a second time, under another id, that row is hidden too.",
        (_ABC, _ABC | {9: "Gemini 2.5 Pro"}),
        ("added",),
        {3: "gemini-2-5-pro", 9: "gemini-2-5-pro-9"},
        inactive=(3, 9),
        default=1,
        edit=(3, {"is_active": False}),
    ),
    Rule(
        "a model that is to be shown",
        "`is_active: true` means the same as null: no operator hides the model. If upstream does not list it, it becomes"
        " inactive like every other model.",
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
