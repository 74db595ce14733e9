"""The lines of `llm-refresh doctor`: their names, and the section of docs/runbook.md that each leads to. Pure.

A fault keeps the system from doing its work, or lets somebody past its rules; a warning is worth knowing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["good", "warning", "fault"]
Line = Literal[
    "settings",
    "matchaai",
    "keys",
    "disk",
    "web",
    "database",
    "database writes",
    "clock",
    "login",
    "roles",
    "policies",
    "migrations",
    "catalogue",
    "last sync",
    "last run",
    "held list",
    "source",
    "notices",
    "webhooks",
    "redis",
    "redis rights",
    "redis memory",
    "redis writes",
    "eviction",
    "persistence",
    "refresh worker",
    "chat worker",
    "beat",
    "upstream",
    "upstream key",
    "runs",
    "chats",
    "deadlines",
    "chat failures",
    "chat fallbacks",
    "live",
    "live: list",
    "live: llm_id",
    "live: options.responseLLM",
    "live: model field",
    "live: answer shape",
]

RUNBOOK: Final = "docs/runbook.md"
SECTIONS: Final[Mapping[Line, str]] = {
    "settings": "settings",
    "matchaai": "matchaai-not-set-up",
    "keys": "token-keys-unavailable",
    "disk": "disk-full",
    "web": "metrics-missing",
    "database": "postgresql-down",
    "database writes": "postgresql-read-only",
    "clock": "clocks-apart",
    "login": "database-rights",
    "roles": "database-rights",
    "policies": "database-rights",
    "migrations": "schema-does-not-fit",
    "catalogue": "no-model-or-no-default",
    "last sync": "catalogue-stale",
    "last run": "refresh-failing",
    "held list": "run-held",
    "webhooks": "webhooks-not-delivered",
    "source": "source-changed",
    "notices": "notices-not-delivered",
    "redis": "redis-down",
    "redis rights": "redis-rights",
    "redis memory": "redis-full",
    "redis writes": "redis-full",
    "eviction": "redis-settings",
    "persistence": "redis-settings",
    "refresh worker": "workers-missing",
    "chat worker": "workers-missing",
    "beat": "workers-missing",
    "upstream": "upstream-down",
    "upstream key": "gateway-key-refused",
    "runs": "runs-stuck",
    "chats": "chats-queued",
    "deadlines": "chats-past-their-deadline",
    "chat failures": "chat-failures",
    "chat fallbacks": "chat-fallbacks",
    "live": "live-check",
    "live: list": "live-check",
    "live: llm_id": "live-check",
    "live: options.responseLLM": "live-check",
    "live: model field": "live-check",
    "live: answer shape": "live-check",
}
"""The anchor of each line's section. A test compares them with the headings of the runbook."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do about it."""

    name: Line
    level: Level
    detail: str
    advice: str | None = None

    @property
    def section(self) -> str:
        """Where to read on."""
        return f"{RUNBOOK}#{SECTIONS[self.name]}"


def good(name: Line, detail: str) -> Finding:
    return Finding(name, "good", detail)


def warning(name: Line, detail: str, advice: str) -> Finding:
    return Finding(name, "warning", detail, advice)


def fault(name: Line, detail: str, advice: str) -> Finding:
    return Finding(name, "fault", detail, advice)
