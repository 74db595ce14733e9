"""Events of a response and their numbers depend on nothing but the row."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.chat.read import Snapshot, StoredResponse
from shared.chat.requests import MAX_TURNS
from worker.web.openai.response_bodies import ResponseBody
from worker.web.openai.response_wire import (
    chat_id_of,
    encoded_events,
    events_of,
    last_number,
    question_of,
    response_id,
)
from worker.web.problems import Problem

CHAT_ID = uuid.UUID(int=7)
KEPT = {"background": True, "instructions": None, "metadata": {}, "previous": None, "system": [], "inherited": [0, 0]}
FAILED = {"error": {"code": "timeout", "detail": "late"}}


def snapshot(status: str, version: int = 1, **body: Any) -> Snapshot:
    defaults = {"status": status, "model": {"key": "m"}, "created_at": datetime(2026, 3, 1, tzinfo=UTC)}
    return Snapshot(CHAT_ID, version, {**defaults, **body}, "anna")


@pytest.mark.parametrize(
    "path",
    [
        [snapshot("queued"), snapshot("running", 2), snapshot("succeeded", 3, answer="x" * 5000)],
        [snapshot("queued"), snapshot("succeeded", 9, answer="x" * 5000)],
        [snapshot("running", 2), snapshot("queued", 3), snapshot("running", 4), snapshot("succeeded", 5, answer="y")],
        [snapshot("queued"), snapshot("expired", 2, **FAILED)],
        [snapshot("running"), snapshot("queued", 2), snapshot("cancelled", 3, **FAILED)],
    ],
)
def test_whoever_sees_whichever_states_has_the_same_events(path: list[Snapshot]) -> None:
    whole = [event for _, event in encoded_events(path[-1], KEPT, 0)]
    seen: list[bytes] = []
    for state in path:
        for number, event in encoded_events(state, KEPT, len(seen)):
            assert number == len(seen)
            seen.append(event)
        assert len(seen) - 1 <= last_number(state, KEPT) < len(whole)
    assert seen == whole
    assert last_number(path[-1], KEPT) == len(whole) - 1


def test_an_end_without_an_answer_is_the_fourth_event() -> None:
    for status in ("failed", "cancelled", "expired"):
        *_, (kind, members) = events_of(snapshot(status, **FAILED), KEPT)
        assert kind == "response.failed"
        assert members["response"]["status"] == ("cancelled" if status == "cancelled" else "failed")


@pytest.mark.parametrize(
    "text", ["", "resp_", "resp_x", CHAT_ID.hex, f"resp_{CHAT_ID}", f"resp_{'A' * 32}", "resp_" + "٣" * 32]
)
def test_what_is_no_id_of_a_response_means_none(text: str) -> None:
    assert chat_id_of(text) is None
    assert chat_id_of(response_id(CHAT_ID)) == CHAT_ID


def test_a_conversation_has_an_end() -> None:
    body = ResponseBody.model_validate({"model": "m", "input": "Which?"})
    history = [{"role": "user", "content": "a"}] * (MAX_TURNS - 1)
    before = StoredResponse(snapshot("succeeded", answer="b"), KEPT, {"history": history, "question": "c"})
    with pytest.raises(Problem) as refused:
        question_of(body, before)
    assert (refused.value.param, refused.value.status) == ("previous_response_id", 400)
    shorter = StoredResponse(snapshot("succeeded", answer="b"), KEPT, {"history": history[1:], "question": "c"})
    assert len(question_of(body, shorter)[0].history) == MAX_TURNS
