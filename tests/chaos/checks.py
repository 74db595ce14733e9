"""The invariants, checked when everything has ended: nothing lost, nothing doubled, no wrong answer, nothing late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

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
    for sent in notes.questions.values():
        if sent.chat_id is not None and sent.chat_id not in by_id:
            verdict.lost += 1
            verdict.broken.append(f"lost: {sent.chat_id}, {sent.question!r} was accepted and is not stored")
    asked_once = Counter(row.question for row in rows)
    for question, number in asked_once.items():
        if number > 1:
            verdict.doubled += number - 1
            verdict.broken.append(f"doubled: {question!r} is stored {number} times")
        if question not in notes.questions:
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
    sent = notes.questions.get(row.question)
    if row.status == "cancelled" and sent is not None and not sent.cancelled:
        verdict.broken.append(f"chat {row.chat_id} was cancelled by nobody")
    if row.late is not None and row.late > LATE_SECONDS:
        verdict.broken.append(f"late: chat {row.chat_id} ended {row.late:.0f} s after its deadline")


Prompt = tuple[object, object]
"""What was asked, and the upstream id of the model that was asked."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A prompt that went to the same model again, as call number `at`; before that it went as number `before`."""

    before: int
    at: int


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault among the completions: `begins` came before it, `ends` until all was normal again.

    `bound`: so many repeated calls it may cost.
    """

    begins: int
    ends: int
    bound: float

    def may_cause(self, repeat: Repeat) -> bool:
        """Whether the fault was there at some time between the two calls."""
        return self.begins <= repeat.at and repeat.before < self.ends


@dataclass(slots=True)
class Charges:
    """Repeated calls by the fault that they count for, in the order of the faults; and those that no fault explains."""

    by_fault: list[int]
    unexplained: int = 0


def repeated_calls(prompts: Sequence[Prompt | None]) -> list[Repeat]:
    """The prompts that went to the same model again; None: a call of which nothing is known."""
    repeats: list[Repeat] = []
    seen: dict[Prompt, int] = {}
    for number, prompt in enumerate(prompts):
        if prompt is None:
            continue
        if prompt in seen:
            repeats.append(Repeat(seen[prompt], number))
        seen[prompt] = number
    return repeats


def charge(repeats: Sequence[Repeat], spans: Sequence[FaultSpan]) -> Charges:
    """Charge each repeated call to one fault. `spans`: one after the other.

    A call that a silent gateway holds fails only after its time-out, when two more faults may have come and gone. So it
    is not the time of the repeated call that says which fault pays, but the time from the call before: a fault that was
    there meanwhile may be the cause. Where several were, the earliest pays that has something left of its bound. Each
    fault pays first for what no later one can pay for: then a bound is passed only if no other way to charge keeps it.
    The last possible fault pays for what is beyond all bounds.
    """
    charges = Charges([0] * len(spans))
    last: dict[int, list[int]] = {}
    for number, repeat in enumerate(repeats):
        causes = [place for place, span in enumerate(spans) if span.may_cause(repeat)]
        if causes:
            last[number] = causes
        else:
            charges.unexplained += 1
    for place, span in enumerate(spans):
        payable = sorted((number for number, causes in last.items() if place in causes), key=lambda n: last[n][-1])
        for number in payable:
            if charges.by_fault[place] + 1 <= span.bound or place == last[number][-1]:
                charges.by_fault[place] += 1
                del last[number]
    return charges
