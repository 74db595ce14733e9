"""Between OpenAI's bodies and ours."""

from typing import Any

import pytest

from worker.web.openai.bodies import ChatCompletionBody
from worker.web.openai.response_bodies import ResponseBody
from worker.web.openai.wire import ignored, pieces, question_of
from worker.web.problems import Problem


def body(*messages: Any, **more: Any) -> ChatCompletionBody:
    turns = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages or ("Which?",)]
    return ChatCompletionBody.model_validate({"model": "m", "messages": turns, **more})


def test_what_has_no_effect_is_named_and_what_stands_in_no_header_is_not() -> None:
    given = {"temperature": 1, "a b": 1, "ü": 1, "x\ny": 1, "top_p": None, "x" * 65: 1, "stream": True, "n": 1}
    assert ignored(body(**given)) == "temperature"
    assert ignored(body(**{f"p{number}": 1 for number in range(100)})).count(",") == 19


def test_a_response_names_what_belongs_to_completions_and_the_rest_of_text() -> None:
    given = {
        "n": 2,
        "logprobs": True,
        "messages": [],
        "max_tokens": 5,
        "response_format": {"type": "json_object"},
        "stream_options": {"include_usage": True},
        "text": {"format": {"type": "text"}, "verbosity": "low", "more": None},
        "tools": [],
        "store": False,
    }
    names = ignored(ResponseBody.model_validate({"model": "m", "input": "Which?", **given}))
    assert set(names.split(", ")) == {
        "n",
        "logprobs",
        "messages",
        "max_tokens",
        "response_format",
        "stream_options",
        "text.verbosity",
        "store",
    }


def test_it_is_strict_unless_falling_back_is_asked_for() -> None:
    assert question_of(body()).strict
    assert not question_of(body(fallback=True)).strict
    listed = question_of(body(models=["a", "b"]))
    assert (listed.requested, listed.others, listed.model, listed.strict) == ("a", ("b",), None, True)


def test_an_assistants_turn_may_be_empty_and_nobody_elses_missing() -> None:
    question = question_of(body("Hm?", {"role": "assistant", "content": None, "tool_calls": []}, "Which?"))
    assert [(turn.role, turn.content) for turn in question.history] == [("user", "Hm?"), ("assistant", "")]
    with pytest.raises(Problem) as refused:
        question_of(body({"role": "system"}, "Which?"))
    assert refused.value.param == "messages[0].content"


@pytest.mark.parametrize("text", ["", "a", "é" * 2000, "😀" * 4001])
def test_pieces_make_the_answer(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(0 < len(piece) <= 2000 for piece in pieces(text))
