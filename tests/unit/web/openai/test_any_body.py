"""Whatever a body holds, it makes a question or a refusal that can be sent, and nothing else."""

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.chat.requests import Question
from worker.web.openai import response_wire, wire
from worker.web.openai.bodies import ChatCompletionBody
from worker.web.openai.errors import as_openai_response
from worker.web.openai.response_bodies import ResponseBody
from worker.web.problems import Problem
from worker.web.validation import path_of

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXT = st.text(max_size=10) | ANY
PART = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "input_text", "image_url"]) | ANY, "text": TEXT}
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("message") | ANY,
        "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | ANY,
        "content": TEXT | st.lists(PART | ANY, max_size=3),
        "tool_calls": ANY,
    },
)
MESSAGES = st.lists(MESSAGE | ANY, max_size=3) | ANY
NAMES = (
    *("models", "fallback", "stream", "store", "n", "tools", "logprobs", "response_format", "modalities"),
    *("instructions", "background", "metadata", "previous_response_id", "text", "conversation", "ü"),
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(NAMES, ANY)
BODY = st.fixed_dictionaries(
    {}, optional={"model": st.just("m") | TEXT, "messages": MESSAGES, "input": MESSAGES | TEXT, **OPTIONAL}
)


@pytest.mark.parametrize("kind", [ChatCompletionBody, ResponseBody])
@given(body=BODY | ANY)
def test_any_body_makes_a_question_or_a_refusal(kind: type[BaseModel], body: Any) -> None:
    try:
        parsed = kind.model_validate_json(json.dumps(body))
    except ValidationError as error:
        path_of(error.errors()[0]["loc"])
        return
    try:
        if isinstance(parsed, ResponseBody):
            question, kept = response_wire.question_of(parsed, None)
            json.dumps(kept)
            names = wire.ignored(parsed)
        else:
            assert isinstance(parsed, ChatCompletionBody)
            question, names = wire.question_of(parsed), wire.ignored(parsed)
    except Problem as problem:
        with Flask("test").test_request_context():
            assert as_openai_response(problem).status_code == 400
        return
    assert isinstance(question, Question)
    assert names.isascii()
    assert names.isprintable()
