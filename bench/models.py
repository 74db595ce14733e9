"""Lists of models as upstream would give them, of any length, and a source that has one in hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.sync.rows import MATCHAAI
from shared.catalogue.sync.sources import FetchedList, Sources

_FAMILIES = (
    *("Claude Sonnet", "Claude Opus", "Gemini Flash", "Gemini Pro", "GPT", "OpenAI o", "Llama Vision", "Mistral Large"),
    *("Cohere Command", "DeepSeek R", "Qwen Max", "Nova Pro", "Phi Mini", "Grok", "Kimi K", "House Model"),
)
_VARIANTS = ("", " Mini", " - Reasoning", " (Internal)", " Preview", " Latest", " 70B Instruct")
_MIME_TYPES: tuple[list[str] | None, ...] = (None, [], ["application/pdf", "image/png", "text/plain"])


def entries(number: int) -> list[dict[str, Any]]:
    """So many entries of different names, of many providers, a third of them with file types."""
    return [
        {
            "id": place + 1,
            "name": f"{_FAMILIES[place % len(_FAMILIES)]} {place // 10}.{place % 10}{_VARIANTS[place % 7]}",
            "allowed_file_input_mime_types": _MIME_TYPES[place % 3],
        }
        for place in range(number)
    ]


def with_changes(listed: Sequence[dict[str, Any]], *, one_in: int = 100) -> list[dict[str, Any]]:
    """The list with one in so many entries, and at least one, accepting other files than before."""
    new_types = ["application/pdf", "audio/wav", "image/png", "image/webp"]
    return [
        {**entry, "allowed_file_input_mime_types": new_types} if place % one_in == 0 else entry
        for place, entry in enumerate(listed)
    ]


class InHand(Sources):
    """A source that has the list already: what a fetch takes is not measured."""

    def __init__(self) -> None:
        super().__init__(load_mapping(), None)
        self._fetched: FetchedList

    def hold(self, listed: Sequence[object]) -> None:
        body = json.dumps(listed).encode()
        self._fetched = FetchedList(MATCHAAI, tuple(listed), hashlib.sha256(body).hexdigest(), 0)

    def fetch(self, source: str | None, *, deadline_seconds: float, request_id: str | None = None) -> FetchedList:
        return self._fetched
