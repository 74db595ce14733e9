"""What the chaos suite calls lost, doubled, wrong and late."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.call_log import CallLog
from tests.chaos.checks import ChatRow, FaultSpan, Repeat, charge, judge, repeated_calls
from tests.chaos.driver import Notes, SentQuestion

QUESTION = "Question 000001 of ann?"
ANSWER = f"[stand-in for MatchaAI] model X (28) answers: you asked “{QUESTION}” (input …)"


def row(**changes: Any) -> ChatRow:
    given: dict[str, Any] = {"chat_id": "a", "question": QUESTION, "status": "succeeded", "answer": ANSWER}
    return ChatRow(**{**given, "error_code": None, "llm_id": 28, "late": -40.0, **changes})


def notes(**changes: Any) -> Notes:
    sent = SentQuestion(QUESTION, "ann", "key-1", chat_id="a")
    for name, value in changes.items():
        setattr(sent, name, value)
    return Notes(questions={QUESTION: sent})


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


def call(prompt: str, llm_id: int = 28) -> dict[str, Any]:
    return {"method": "POST", "body": {"input": prompt}, "llm_id": llm_id}


def test_a_repeated_call_names_the_call_before_to_the_same_model() -> None:
    log = CallLog()
    listing = {"method": "GET", "body": None, "llm_id": None}
    requests = [call("a"), listing, call("b"), call("a"), call("b", 25), call("b"), call("a")]
    log.take({"requests": requests[:3], "completions": 2})
    log.take({"requests": requests, "completions": 6})
    assert repeated_calls(log.prompts) == [Repeat(0, 2), Repeat(1, 4), Repeat(2, 5)]
    assert (log.number_since(0), log.number_since(5)) == (3, 1)


def test_calls_keep_their_numbers_when_older_ones_are_forgotten() -> None:
    log = CallLog()
    log.take({"requests": [call("a")], "completions": 1})
    log.take({"requests": [call("a"), call("b"), call("a")], "completions": 100})
    assert repeated_calls(log.prompts) == [Repeat(0, 97), Repeat(97, 99)]


def test_a_call_held_by_a_silent_gateway_counts_for_it_two_faults_later() -> None:
    silent, stopped, full = FaultSpan(10, 20, 8), FaultSpan(22, 24, 0), FaultSpan(26, 30, 0)
    charges = charge([Repeat(15, 27), Repeat(19, 28)], [silent, stopped, full])
    assert (charges.by_fault, charges.unexplained) == ([2, 0, 0], 0)


def test_a_call_made_after_a_fault_is_not_charged_to_it() -> None:
    silent, full = FaultSpan(10, 20, 8), FaultSpan(26, 30, 0)
    charges = charge([Repeat(21, 27)], [silent, full])
    assert charges.by_fault == [0, 1]


def test_what_exceeds_every_bound_is_charged_to_the_last_possible_fault() -> None:
    charges = charge([Repeat(1, 9), Repeat(2, 9), Repeat(3, 9)], [FaultSpan(0, 4, 1), FaultSpan(6, 8, 1)])
    assert charges.by_fault == [1, 2]


def test_a_repeated_call_while_no_fault_is_there_is_explained_by_none() -> None:
    charges = charge([Repeat(5, 6), Repeat(21, 22)], [FaultSpan(10, 20, 8)])
    assert (charges.by_fault, charges.unexplained) == ([0], 2)


spans_and_repeats = st.builds(
    lambda edges, bounds, pairs: (
        [FaultSpan(a, b, c) for a, b, c in zip(edges[::2], edges[1::2], bounds, strict=False)],
        [Repeat(min(pair), max(pair)) for pair in pairs],
    ),
    st.lists(st.integers(0, 30), unique=True, min_size=2, max_size=8).map(sorted),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5),
)


@given(spans_and_repeats)
def test_a_bound_is_passed_only_if_every_other_way_to_charge_passes_one_too(
    given_: tuple[list[FaultSpan], list[Repeat]],
) -> None:
    spans, repeats = given_
    charges = charge(repeats, spans)
    explained = [causes for each in repeats if (causes := [i for i, s in enumerate(spans) if s.may_cause(each)])]
    within = any(
        all(way.count(place) <= span.bound for place, span in enumerate(spans)) for way in itertools.product(*explained)
    )
    assert sum(charges.by_fault) + charges.unexplained == len(repeats)
    assert within == all(paid <= span.bound for paid, span in zip(charges.by_fault, spans, strict=True))
