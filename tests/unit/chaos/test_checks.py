"""What the chaos suite calls lost, doubled, wrong and late."""

from typing import Any

import pytest

from tests.chaos.checks import ChatRow, Window, judge, over_bound, repeated_calls
from tests.chaos.driver import Asked, Notes

QUESTION = "Question 000001 of ann?"
ANSWER = f"[stand-in for MatchaAI] model X (28) answers: you asked “{QUESTION}” (input …)"


def row(**changes: Any) -> ChatRow:
    given: dict[str, Any] = {"chat_id": "a", "question": QUESTION, "status": "succeeded", "answer": ANSWER}
    return ChatRow(**{**given, "error_code": None, "llm_id": 28, "late": -40.0, **changes})


def notes(**changes: Any) -> Notes:
    asked = Asked(QUESTION, "ann", "key-1", chat_id="a")
    for name, value in changes.items():
        setattr(asked, name, value)
    return Notes(asked={QUESTION: asked})


def counted(requests: int = 1, successes: int = 1) -> dict[str, int]:
    return {"requests": requests, "successes": successes}


def test_a_chat_with_its_own_answer_breaks_no_promise() -> None:
    verdict = judge(notes(), [row()], counted())
    assert (verdict.accepted, verdict.answered, verdict.broken) == (1, 1, [])


def test_an_accepted_chat_that_is_not_stored_is_lost() -> None:
    verdict = judge(notes(), [], counted(0, 0))
    assert verdict.lost == 1
    assert "is not stored" in verdict.broken[0]


def test_a_question_that_is_stored_twice_is_doubled() -> None:
    verdict = judge(notes(), [row(), row(chat_id="b")], counted(2, 2))
    assert verdict.doubled == 1


@pytest.mark.parametrize(("requests", "successes", "name"), [(2, 2, "doubled"), (1, 2, "doubled"), (0, 0, "lost")])
def test_usage_that_differs_from_the_rows_breaks_a_promise(requests: int, successes: int, name: str) -> None:
    verdict = judge(notes(), [row()], counted(requests, successes))
    assert (verdict.doubled, verdict.lost) == ((1, 0) if name == "doubled" else (0, 1))


@pytest.mark.parametrize(
    "changes",
    [{"answer": ANSWER.replace("000001", "000002")}, {"llm_id": 25}, {"answer": None}, {"status": "failed"}],
)
def test_an_answer_to_another_question_or_by_another_model_is_wrong(changes: dict[str, Any]) -> None:
    assert judge(notes(), [row(**changes)], counted()).wrong == 1


def test_a_chat_that_is_still_open_is_lost() -> None:
    verdict = judge(notes(), [row(status="running", answer=None, late=None)], counted(1, 0))
    assert verdict.lost == 1


def test_a_chat_that_ends_long_after_its_deadline_is_late() -> None:
    assert "late" in judge(notes(), [row(late=31.0)], counted()).broken[0]


def test_a_question_that_nobody_asked_breaks_a_promise() -> None:
    verdict = judge(Notes(), [row()], counted())
    assert "from nowhere" in verdict.broken[0]


def test_a_chat_that_was_cancelled_by_nobody_breaks_a_promise() -> None:
    cancelled = row(status="cancelled", answer=None, error_code="cancelled")
    assert "cancelled by nobody" in judge(notes(), [cancelled], counted(1, 0)).broken[0]
    assert judge(notes(cancelled=True), [cancelled], counted(1, 0)).broken == []


def test_an_end_that_is_shown_and_then_another_is_wrong() -> None:
    seen = notes()
    seen.saw({"id": "a", "status": "failed", "answer": None, "error": None, "model": None})
    assert judge(seen, [row()], counted()).wrong == 1


def test_an_end_that_changes_between_two_readings_breaks_a_promise() -> None:
    seen = notes()
    for answer in (ANSWER, "another"):
        seen.saw({"id": "a", "status": "succeeded", "answer": answer, "error": None, "model": None})
    assert any("changed" in text for text in seen.wrongs)


def test_repeated_calls_are_counted_in_the_window_in_which_they_come() -> None:
    def call(prompt: str, llm_id: int = 28) -> dict[str, Any]:
        return {"method": "POST", "body": {"input": prompt}, "llm_id": llm_id}

    listing = {"method": "GET", "body": None, "llm_id": None}
    requests = [call("a"), listing, call("b"), call("a"), call("b", 25), call("b"), call("a")]
    assert repeated_calls(requests, [0, 2, 4]) == [0, 1, 2]


def test_what_a_fault_leaves_of_its_bound_goes_to_the_next_one_alone() -> None:
    assert over_bound([Window(0, 5), Window(4, 0), Window(1, 0)]) == [2]
    assert over_bound([Window(5, 5), Window(1, 0)]) == [1]
    assert over_bound([Window(3, 5), Window(2, 2), Window(2, 0)]) == []
