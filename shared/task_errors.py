"""How a task that did not do its work ends: an exception whose text says what, why, and what to do.

Each has two arguments, both JSON: the text, and the values in it. A client that does not know this project gets an
exception of the same name from Celery (`celery.backends.base.Backend.exception_to_python`) with these arguments.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from shared.catalogue.sync.outcomes import Outcome
from shared.vocabulary import SOURCE_NOT_SET_UP

INVALID_ARGUMENTS: Final = "invalid_arguments"
_ASK_AGAIN = "MatchaAI did not answer as it should: ask for the refresh again when it does; the list stays as it was"
_ADVICE: Final[Mapping[str, str]] = {
    "unauthorised": "MatchaAI refuses the key: give the workers a valid one (docs/operations.md, Rotate)",
    "rate_limited": _ASK_AGAIN,
    "timeout": _ASK_AGAIN,
    "upstream_unavailable": _ASK_AGAIN,
    "upstream_rejected": "MatchaAI refuses the request: look at it with `llm-refresh doctor --live`",
    "upstream_not_json": "look at what MatchaAI answers with `llm-refresh doctor --live`",
    "upstream_shape": "look at what MatchaAI answers with `llm-refresh doctor --live`",
    SOURCE_NOT_SET_UP: "name a source that is set up, or none",
    "not_held": "look at what is held with `llm-refresh runs`, and ask again without force or with its sha256",
    "busy": "ask again when the running refresh has ended",
    "queued": "it begins by itself when the running refresh has ended; its run says how it ends",
    "abandoned": "look at the log of the worker that ran it, and ask again",
    INVALID_ARGUMENTS: "send the arguments that docs/services.md lists",
    "database_unavailable": "look at PostgreSQL with `llm-refresh doctor`, and ask again",
}
_OTHERWISE: Final = "look at the worker's log for this run"


class TaskFailure(Exception):
    """`args`: the text, and the values of the result that the task would have had."""

    def __init__(self, text: str, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(text, dict(values or {}))

    @property
    def values(self) -> dict[str, Any]:
        """`run_id`, `status` and `counts` of a refresh, `chat_id`, `status` and `code` of a chat."""
        values: dict[str, Any] = self.args[1]
        return values

    def __str__(self) -> str:
        return str(self.args[0])


class RefreshFailed(TaskFailure):
    """A refresh failed, or had not begun in its time. The list is as it was before."""


class RefreshHeld(TaskFailure):
    """A list was not believed: nothing was changed. The text names the sha256 that applies it."""


class ChatFailed(TaskFailure):
    """A chat failed or expired. Nothing of its question or answer is in here."""


def of_outcome(outcome: Outcome) -> RefreshFailed | RefreshHeld | None:
    """The exception that a refresh which ended so ends its task with; None where the task succeeded."""
    preview = outcome.plan is not None
    if outcome.status in ("succeeded", "partial") or (preview and outcome.status == "held"):
        return None
    values = outcome.as_result()
    name = f"run {outcome.run_id}" if outcome.run_id is not None else "the dry run" if preview else "the refresh"
    if outcome.status == "held":
        held = {name: (outcome.held or {}).get(name) for name in ("absent", "active", "repointed", "sha256")}
        sha256 = held.get("sha256")
        text = (
            f"{name} is held: {held.get('absent')} of {held.get('active')} active models are absent and"
            f" {held.get('repointed')} mean another model in the list with the sha256 {sha256}. Nothing was changed."
            f" To apply this very list: `llm-refresh refresh --force {sha256}`;"
            f" to refuse it: `llm-refresh refresh --dismiss {sha256}`"
        )
        return RefreshHeld(text, values | {"held": held})
    return _failed(name, outcome)


def _failed(name: str, outcome: Outcome) -> RefreshFailed:
    code = outcome.code or outcome.status
    what = "has not begun" if outcome.status == "queued" else "failed"
    detail = (outcome.detail or "see the run").rstrip(".")
    text = f"{name} {what}: {code}: {detail}. What to do: {_ADVICE.get(code, _OTHERWISE)}"
    return RefreshFailed(text, outcome.as_result())


def of_chat(chat_id: uuid.UUID, status: str, code: str | None) -> ChatFailed:
    """The exception that the task of a chat ends with which failed, expired or is not there."""
    cause = code or status
    text = f"chat {chat_id}: {cause}. What to do: `llm-refresh chat show {chat_id}` has the whole cause"
    return ChatFailed(text, {"chat_id": str(chat_id), "status": status, "code": cause})


def of_invalid_refresh(detail: str) -> RefreshFailed:
    """The exception that a refresh with wrong arguments ends with: it has no run."""
    return _failed("the refresh", Outcome(None, "failed", code=INVALID_ARGUMENTS, detail=detail))


def of_invalid_chat(detail: str) -> ChatFailed:
    """The exception that a message of a chat with wrong arguments ends with. It does not quote them."""
    text = (
        f"llm.chat: {INVALID_ARGUMENTS}: {detail}. What to do: send the id of a chat as POST /api/chasen/chat gave it"
    )
    return ChatFailed(text, {"chat_id": None, "status": "failed", "code": INVALID_ARGUMENTS})
