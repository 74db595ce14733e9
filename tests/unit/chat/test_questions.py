"""What may be asked, and when two bodies ask the same."""

import pytest
from pydantic import ValidationError

from shared.chat.requests import Question, Turn


def test_bodies_that_ask_the_same_have_the_same_digest() -> None:
    one = Question.model_validate_json('{"question": "Which?", "model": null, "history": []}')
    other = Question.model_validate_json('{ "history":[], "question":"Wh\\u0069ch?"}')
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(
    "body",
    [
        '{"question": "Which one?"}',
        '{"question": "Which?", "model": "m"}',
        '{"question": "Which?", "systemPrompt": ""}',
        '{"question": "Which?", "history": [{"role": "user", "content": "a"}]}',
    ],
)
def test_bodies_that_ask_something_else_have_another(body: str) -> None:
    assert Question.model_validate_json(body).sha256 != Question(question="Which?").sha256


def test_a_list_of_models_is_absent_null_or_holds_one() -> None:
    for body in ('{"question": "Which?"}', '{"question": "Which?", "models": null}'):
        assert Question.model_validate_json(body).models == ()
    with pytest.raises(ValidationError, match=r"models\n.* must hold a model key"):
        Question.model_validate_json('{"question": "Which?", "models": []}')


def test_all_that_is_sent_counts_as_characters() -> None:
    parsed = Question(question="abc", systemPrompt="de", history=(Turn(role="user", content="f"),))
    assert parsed.characters == 6


def test_a_lone_surrogate_that_comes_in_as_python_text_is_refused_too() -> None:
    with pytest.raises(ValidationError):
        Question(question="half \ud800")


@pytest.mark.parametrize("question", ["😀", "á", "\u202eright to left", "a\n\tb", "x" * 100_000])
def test_any_other_text_is_taken_as_it_is(question: str) -> None:
    assert Question(question=question).question == question


def test_the_digest_covers_which_models_may_answer_and_older_digests_stay() -> None:
    plain = Question(question="Which?", model="m")
    assert plain.sha256 == "5a9c7ca08217142d8acba38b2683c05b093cf465a22f296a94ca4b26dde355d1"
    others = [Question(question="Which?", models=("m",)), Question(question="Which?", model="m", fallback=False)]
    assert len({plain.sha256, *(each.sha256 for each in others)}) == 3
