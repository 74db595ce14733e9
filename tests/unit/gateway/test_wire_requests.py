"""What is sent: exactly the fields that MatchaAI takes, and the prompt in order."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gateway.errors import GatewayError
from shared.gateway.wire import completion_body, render_prompt


def test_the_body_names_the_model_as_llm_id_and_holds_nothing_else() -> None:
    body = completion_body(llm_id=25, prompt="Be brief.\n\nWhy?", mission_id=7, model_field="llm_id")

    assert json.loads(body) == {"mission_id": 7, "llm_id": 25, "input": "Be brief.\n\nWhy?"}


def test_the_body_names_the_model_in_the_other_form_where_that_is_set() -> None:
    body = completion_body(llm_id=25, prompt="Why?", mission_id=7, model_field="options.responseLLM")

    assert json.loads(body) == {"mission_id": 7, "options": {"responseLLM": 25}, "input": "Why?"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_arrives_as_it_was_written(prompt: str) -> None:
    body = completion_body(llm_id=1, prompt=prompt, mission_id=1, model_field="llm_id")

    assert json.loads(body)["input"] == prompt


def test_half_a_surrogate_pair_is_refused_and_the_refusal_carries_no_prompt() -> None:
    with pytest.raises(GatewayError) as caught:
        completion_body(llm_id=1, prompt="secret plan \ud800", mission_id=1, model_field="llm_id")

    assert (caught.value.code, caught.value.permanent) == ("upstream_rejected", True)
    assert "secret plan" not in caught.value.detail
    assert caught.value.__context__ is None


def test_a_question_alone_is_the_whole_prompt() -> None:
    assert render_prompt(None, [], "Why?") == "Why?"
    assert render_prompt("  ", [], "Why?") == "Why?"


def test_the_system_prompt_goes_before_the_question_with_an_empty_line_between() -> None:
    assert render_prompt("Be brief.", [], "Why?") == "Be brief.\n\nWhy?"


def test_history_stands_in_order_between_system_prompt_and_question() -> None:
    prompt = render_prompt("Be brief.", [("user", "Is it?"), ("assistant", "It is.")], "Why?")

    assert prompt == (
        "Be brief.\n\nThe conversation so far:\n\nUser: Is it?\n\nAssistant: It is.\n\nThe next question:\n\nWhy?"
    )
