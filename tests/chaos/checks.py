"""The invariants, checked when everything has ended: nothing lost, nothing doubled, no wrong answer, nothing late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.driver import Notes

LATE_SECONDS: Final = 30.0
"""How long after its deadline a chat may end at the latest."""


@dataclass(frozen=True, slots=True)
class ChatRow:
    """A stored chat. `late`: seconds from its deadline to its end, negative when it ended before."""

    chat_id: str
    question: str
    status: str
    answer: str | None
    error_code: str | None
    llm_id: int | None
    late: float | None


@dataclass(slots=True)
class Verdict:
    """What was found. `broken` has a sentence for each broken promise."""

    accepted: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    broken: list[str] = field(default_factory=list)


CHATS: Final = """
SELECT id::text, question, status, answer, error_code, matcha_llm_id,
  extract(epoch FROM finished_at - deadline_at)::float8 FROM llm_chats
"""


def judge(notes: Notes, rows: Sequence[ChatRow], usage: Mapping[str, int]) -> Verdict:
    """Compare what the callers were told with what is stored. `usage`: the sums of requests and successes counted."""
    verdict = Verdict()
    by_id = {row.chat_id: row for row in rows}
    verdict.accepted = len(rows)
    for asked in notes.asked.values():
        if asked.chat_id is not None and asked.chat_id not in by_id:
            verdict.lost += 1
            verdict.broken.append(f"lost: {asked.chat_id}, {asked.question!r} was accepted and is not stored")
    asked_once = Counter(row.question for row in rows)
    for question, number in asked_once.items():
        if number > 1:
            verdict.doubled += number - 1
            verdict.broken.append(f"doubled: {question!r} is stored {number} times")
        if question not in notes.asked:
            verdict.broken.append(f"from nowhere: {question!r} was never asked")
    for row in rows:
        _judge_row(verdict, row, notes)
    ended = Counter(row.status for row in rows)
    if usage["requests"] > len(rows) or usage["successes"] > ended["succeeded"]:
        verdict.doubled += 1
        verdict.broken.append(f"doubled: usage counts {dict(usage)}, {len(rows)} chats ended {dict(ended)}")
    elif usage["requests"] < len(rows) or usage["successes"] < ended["succeeded"]:
        verdict.lost += 1
        verdict.broken.append(f"lost: usage counts {dict(usage)}, {len(rows)} chats ended {dict(ended)}")
    for chat_id, end in notes.ends.items():
        stored = by_id.get(chat_id)
        if stored is not None and (end["status"] != stored.status or (end["answer"] or None) != stored.answer):
            verdict.wrong += 1
            verdict.broken.append(
                f"wrong: chat {chat_id} was shown as {end['status']} and is stored as {stored.status}"
            )
    verdict.broken.extend(notes.wrongs)
    return verdict


def _judge_row(verdict: Verdict, row: ChatRow, notes: Notes) -> None:
    if row.status == "succeeded":
        verdict.answered += 1
    else:
        verdict.failed[row.error_code or row.status] += 1
    if row.status in ("queued", "running"):
        verdict.lost += 1
        verdict.broken.append(f"lost: chat {row.chat_id} is still {row.status}")
    if (row.answer is not None) != (row.status == "succeeded"):
        verdict.wrong += 1
        verdict.broken.append(f"wrong: chat {row.chat_id} is {row.status} and its answer is {row.answer is not None}")
    elif row.answer is not None:
        expected = f"({row.llm_id}) answers: you asked “"
        if f"{row.question}”" not in row.answer or expected not in row.answer:
            verdict.wrong += 1
            verdict.broken.append(f"wrong: chat {row.chat_id} of model {row.llm_id} has {row.answer[:200]!r}")
    asked = notes.asked.get(row.question)
    if row.status == "cancelled" and asked is not None and not asked.cancelled:
        verdict.broken.append(f"chat {row.chat_id} was cancelled by nobody")
    if row.late is not None and row.late > LATE_SECONDS:
        verdict.broken.append(f"late: chat {row.chat_id} ended {row.late:.0f} s after its deadline")


@dataclass(frozen=True, slots=True)
class Window:
    """What a fault may cost: completions asked for again, from its beginning to the next fault's."""

    repeats: int
    bound: float


def over_bound(windows: Sequence[Window]) -> list[int]:
    """The places of the windows with more repeated calls than their fault may cost.

    A lease that a fault ended may run out after the next fault has begun, so what a window leaves of its bound goes to
    the one after it.
    """
    over, left = [], 0.0
    for place, window in enumerate(windows):
        if window.repeats > window.bound + left:
            over.append(place)
        left = max(0.0, window.bound - max(0.0, window.repeats - left))
    return over


def repeated_calls(requests: Sequence[Mapping[str, Any]], begins: Sequence[int]) -> list[int]:
    """How often the same prompt went to the same model again, by the window in which it did.

    `begins`: for each window the number of completions that had come before it, ascending.
    """
    counts = [0] * len(begins)
    seen: set[tuple[object, object]] = set()
    place = 0
    for number, request in enumerate(each for each in requests if each["method"] == "POST"):
        while place + 1 < len(begins) and number >= begins[place + 1]:
            place += 1
        prompt = (request["body"] or {}).get("input"), request["llm_id"]
        if prompt in seen and number >= begins[0]:
            counts[place] += 1
        seen.add(prompt)
    return counts
