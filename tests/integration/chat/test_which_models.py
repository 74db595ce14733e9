"""Which models may answer: a list in order, and callers who allow no other; and chats whose callers have gone."""

import uuid
from typing import Any

import pytest

from shared.chat import lifecycle, sweeper
from shared.chat.chat_request import AcceptedChat, ChatRequest
from shared.chat.requests import Question
from tests.integration.chat.conftest import ANN, BEN, Chats

SONNET_35, OPUS, GPT = "claude-3-5-sonnet", "claude-3-opus-4-1", "gpt-4o"


def model_of(chats: Chats, **body: Any) -> tuple[str, str, str | None]:
    response = chats.ask(**body)
    assert response.status_code == 202, response.text
    model = response.json["model"]
    return model["requested"], model["key"], model["reason"]


def test_the_first_model_of_a_list_that_is_there_answers(chats: Chats) -> None:
    assert model_of(chats, models=[SONNET_35, GPT]) == (SONNET_35, SONNET_35, None)
    assert model_of(chats, models=["claude-9", GPT]) == ("claude-9", GPT, "unknown_key")
    assert model_of(chats, models=["claude-9", "gpt-9"]) == ("claude-9", "claude-3-7-sonnet", "unknown_key")
    chats.catalogue.run("UPDATE llm_models SET is_active = false WHERE model_key = :key", key=OPUS)
    assert model_of(chats, models=[OPUS, "gpt-9", GPT], fallback=False) == (OPUS, GPT, "inactive_key")


@pytest.mark.parametrize("named", [{"model": "claude-9"}, {"models": ["claude-9", "gpt-9"]}])
def test_a_strict_question_for_models_that_are_not_there_is_refused_and_not_stored(chats: Chats, named: Any) -> None:
    response = chats.ask(fallback=False, **named)
    assert (response.status_code, response.json["code"]) == (404, "model_not_found")
    assert "no model has the key claude-9" in response.json["detail"]
    assert chats.stored() == 0


def test_a_strict_question_without_a_model_is_for_the_default(chats: Chats) -> None:
    assert chats.ask(fallback=False).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {"model": GPT, "models": [GPT]},
        {"models": [""]},
        {"models": GPT},
        {"models": [1]},
        {"models": [GPT] * 21},
        {"fallback": "no"},
    ],
)
def test_what_is_no_choice_of_models_is_refused(chats: Chats, body: dict[str, Any]) -> None:
    assert chats.ask(**body).status_code == 422
    assert chats.stored() == 0


def test_a_strict_chat_whose_model_upstream_does_not_know_fails(chats: Chats) -> None:
    chats.gateway.behave(by_llm_id={25: {"status": 404, "error": "LLM not found"}})
    row = chats.answered(model=SONNET_35, fallback=False)
    assert (row["status"], row["error_code"], row["model_key"]) == ("failed", "unknown_model", SONNET_35)
    row = chats.answered(models=[SONNET_35, GPT], fallback=False)
    assert (row["status"], row["model_key"], row["fallback_reason"]) == ("succeeded", GPT, "unknown_upstream")
    assert [request["llm_id"] for request in chats.gateway.calls()["requests"]] == [25, 25, 40]


def test_a_strict_chat_whose_model_goes_while_it_waits_fails_without_a_call(chats: Chats) -> None:
    chat_id = chats.accepted(model=SONNET_35, fallback=False)
    chats.catalogue.run("UPDATE llm_models SET is_active = false WHERE model_key = :key", key=SONNET_35)
    chats.process().run(chat_id)
    row = chats.row(chat_id)
    assert (row["status"], row["error_code"]) == ("failed", "unknown_model")
    assert "not active" in row["error_detail"]
    assert chats.gateway.calls()["requests"] == []


def resend(chats: Chats, question: str = "Which?", caller: Any = ANN, **more: Any) -> AcceptedChat:
    return chats.runtime.submitter.submit(ChatRequest(Question(question=question, **more), caller, None, None, "any"))


def test_a_repeated_question_joins_its_chat_while_open_or_answered(chats: Chats) -> None:
    first = resend(chats)
    assert first.new
    again = resend(chats)
    assert (again.new, again.snapshot.chat_id, again.resends) == (False, first.snapshot.chat_id, 1)
    for other in ({"question": "Who?"}, {"caller": BEN}, {"model": GPT}):
        assert resend(chats, **other).new
    chats.process().run(first.snapshot.chat_id)
    assert resend(chats).snapshot.chat_id == first.snapshot.chat_id
    chats.catalogue.run("UPDATE llm_chats SET created_at = now() - interval '16 minutes'")
    assert resend(chats).new


def test_a_question_that_is_sent_again_after_a_failure_is_a_new_one(chats: Chats) -> None:
    first = resend(chats)
    with chats.runtime.database.transaction() as connection:
        lifecycle.cancel(connection, first.snapshot.chat_id, ANN)
    assert resend(chats).new


def sweep(chats: Chats) -> sweeper.SweepResult:
    with chats.runtime.database.transaction() as connection:
        return sweeper.sweep(connection, max_attempts=3)


def give_up(chats: Chats, chat_id: uuid.UUID, resends: int, seconds: float = 0) -> None:
    with chats.runtime.database.transaction() as connection:
        lifecycle.cancel_later(connection, chat_id, resends=resends, seconds=seconds)


def test_a_chat_that_was_given_up_is_cancelled_and_counted(chats: Chats) -> None:
    chat_id, kept = chats.submit(), chats.submit()
    give_up(chats, chat_id, 0)
    give_up(chats, kept, 0, seconds=60)
    swept = sweep(chats)
    assert (dict(swept.ended), swept.changed) == ({chat_id: "cancelled"}, (chat_id,))
    row = chats.row(chat_id)
    assert (row["status"], row["error_code"]) == ("cancelled", "cancelled")
    assert "did not come back" in row["error_detail"]
    assert chats.row(kept)["status"] == "queued"
    assert chats.catalogue.run("SELECT cancelled FROM llm_usage_stats")[0]["cancelled"] == 1


def test_the_end_of_an_older_connection_does_not_cancel_a_resumed_chat(chats: Chats) -> None:
    chat_id = resend(chats).snapshot.chat_id
    give_up(chats, chat_id, 0, seconds=60)
    again = resend(chats)
    give_up(chats, chat_id, 0)  # the older connection's end, seen late
    sweep(chats)
    assert (again.snapshot.chat_id, chats.row(chat_id)["status"]) == (chat_id, "queued")
    give_up(chats, chat_id, again.resends)
    sweep(chats)
    assert chats.row(chat_id)["status"] == "cancelled"
