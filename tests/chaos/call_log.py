"""The calls that the gateway got, all of them: the gateway itself forgets the oldest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checks import Prompt


@dataclass
class CallLog:
    """The prompts of all calls in their order. Read often enough, it misses none; what it missed is None."""

    prompts: list[Prompt | None] = field(default_factory=list)

    def take(self, calls: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take over what came since the last time; returns what it was given."""
        posts = [each for each in calls["requests"] if each["method"] == "POST"]
        new = calls["completions"] - len(self.prompts)
        latest = posts[max(0, len(posts) - new) :] if new else []
        self.prompts += [None] * (new - len(latest))
        self.prompts += [((each["body"] or {}).get("input"), each["llm_id"]) for each in latest]
        return calls

    def number_since(self, place: int) -> int:
        """How many different prompts came since so many calls had come."""
        return len(set(self.prompts[place:]))
