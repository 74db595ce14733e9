"""Random nights, by a seed: the same seed gives the same nights."""

from __future__ import annotations

import random
from typing import Any

from tests.support.drift import World

IDS = range(1, 13)
MODELS = (
    ("Claude 3.7 Sonnet", "claude sonnet 3.7", "Claude-3.7-Sonnet"),
    ("GPT-4o", "gpt 4o", "GPT4o"),
    ("Gemini 2.5 Flash-Lite", "Gemini 2.5 FlashLite", "gemini 2.5 flash lite"),
    ("Claude 3.5 Haiku",),
    ("Command R+", "command r+"),
    ("Command R Plus",),
    ("GPT-4",),
    ("文心",),
    ("Model 4",),
)
EDITS: tuple[dict[str, Any], ...] = (
    {"model_name": "Our own name"},
    {"model_name": None},
    {"model_key": "ours"},
    {"model_key": "best"},
    {"model_key": None},
    {"display_order": 3},
    {"display_order": None},
    {"is_default": True},
    {"is_default": None},
    {"is_active": False},
    {"is_active": True},
    {"is_active": None},
    {"capabilities": {"supports_vision": True}},
    {"capabilities": None},
)
HOURS = (0, 1, 13, 24, 24, 24, 24 * 14, 24 * 365 * 3)


def soak(seed: int, nights: int, *, begin_anew_every: int = 40) -> int:
    """So many applied nights, every 40 over a new table; returns how many lists were held instead."""
    chance = random.Random(seed)
    held = applied = 0
    world = World()
    while applied < nights:
        if not world.rows or applied % begin_anew_every == 0:
            world = World()
            world.list_as({chance.choice(IDS): _name(chance) for _ in range(chance.randint(2, 8))})
            world.night(12, force=True)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            world.list_as(_drifted(chance, world))
        for _ in range(chance.choice((0, 0, 0, 0, 1, 2))):
            world.edit(chance.choice(world.rows).matcha_llm_id, dict(chance.choice(EDITS)))
        if world.night(chance.choice(HOURS), force=chance.random() < 0.6):
            applied += 1
        else:
            held += 1
    return held


def _name(chance: random.Random) -> str:
    return chance.choice(chance.choice(MODELS))


def _drifted(chance: random.Random, world: World) -> dict[int, str]:
    """What upstream lists after one change."""
    upstream = dict(world.upstream)
    listed = sorted(upstream)
    match chance.choice(
        ("add", "drop", "swap", "cycle", "move", "return", "double", "respell", "respell and move", "renumber")
    ):
        case "add":
            upstream[chance.choice(IDS)] = _name(chance)
        case "drop" if listed:
            del upstream[chance.choice(listed)]
        case "swap" if len(listed) > 1:
            one, other = chance.sample(listed, 2)
            upstream[one], upstream[other] = upstream[other], upstream[one]
        case "cycle" if len(listed) > 2:
            one, two, three = chance.sample(listed, 3)
            upstream[one], upstream[two], upstream[three] = upstream[two], upstream[three], upstream[one]
        case "move" if listed:
            upstream[chance.choice(IDS)] = upstream.pop(chance.choice(listed))
        case "return" if world.history:
            id_, name = chance.choice(world.history)
            upstream = {each: other for each, other in upstream.items() if other != name} | {id_: name}
        case "double" if listed:
            upstream[chance.choice(IDS)] = upstream[chance.choice(listed)]
        case "respell" if listed:
            id_ = chance.choice(listed)
            upstream[id_] = _respelled(chance, upstream[id_])
        case "respell and move" if listed:
            upstream[chance.choice(IDS)] = _respelled(chance, upstream.pop(chance.choice(listed)))
        case "renumber":
            ids = chance.sample(IDS, len(listed))
            upstream = {id_: upstream[old] for id_, old in zip(ids, listed, strict=True)}
    return upstream


def _respelled(chance: random.Random, name: str) -> str:
    return chance.choice(next((names for names in MODELS if name in names), (name,)))
