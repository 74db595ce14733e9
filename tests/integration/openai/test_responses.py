"""/v1/responses by OpenAI's SDK for Python: in one piece, in the background, as a stream, and resumed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.chatting import System
from harness.waiting import wait_for
from tests.support import openai_sdk as openai

GPT = "gpt-4o"
KINDS = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def create(client: openai.OpenAI, question: Any = "Which?", **more: Any) -> Any:
    return client.responses.create(**{"model": GPT, "input": question, **more})


def ended(client: openai.OpenAI, response: Any, seconds: float = 30) -> Any:
    def look() -> Any:
        stored = client.responses.retrieve(response.id)
        return stored if stored.status not in ("queued", "in_progress") else None

    return wait_for(look, seconds=seconds)


def test_it_answers_in_one_piece(client: openai.OpenAI, system: System) -> None:
    response = create(client, instructions="Be brief.", metadata={"for": "a test"}, temperature=0.3)
    ((chat_id, answer, prompt),) = system.query("SELECT id, answer, system_prompt FROM llm_chats")
    assert response.id == f"resp_{chat_id.hex}"
    assert (response.status, response.model, response.output_text) == ("completed", GPT, answer)
    assert (response.instructions, prompt, response.metadata) == ("Be brief.", "Be brief.", {"for": "a test"})
    assert (response.background, response.error, response.usage, response.previous_response_id) == (
        *(False, None, None, None),
    )
    assert response.output[0].content[0].type == "output_text"
    assert client.responses.retrieve(response.id).to_dict() == response.to_dict()


def test_it_answers_in_the_background(client: openai.OpenAI, system: System) -> None:
    system.gateway.behave(completions={"delay": 2})
    response = create(client, background=True)
    assert (response.status, response.background, response.output) == ("queued", True, [])
    later = ended(client, response)
    assert (later.status, later.background) == ("completed", True)
    assert "Which?" in later.output_text


def test_a_stream_has_the_events_in_order_with_numbers(client: openai.OpenAI) -> None:
    events = list(create(client, stream=True))
    assert [event.type for event in events] == KINDS
    assert [event.sequence_number for event in events] == list(range(len(KINDS)))
    assert events[0].response.status == "queued"
    assert events[2].response.status == "in_progress"
    done = events[-1].response
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == done.output_text
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {done.output[0].id}


def test_a_stream_is_the_same_from_any_number_on(client: openai.OpenAI, system: System) -> None:
    system.gateway.behave(completions={"padded": 9000})
    whole = [event.to_dict() for event in create(client, stream=True)]
    assert len(whole) > len(KINDS)
    response_id = whole[0]["response"]["id"]
    assert [event.to_dict() for event in client.responses.retrieve(response_id, stream=True)] == whole
    for number in range(len(whole)):
        resumed = client.responses.retrieve(response_id, stream=True, starting_after=number)
        assert [event.to_dict() for event in resumed] == whole[number + 1 :]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(response_id, stream=True, starting_after=len(whole))
    assert refused.value.param == "starting_after"
    for wrong in ("x", "-1", "1.5", "9" * 400):
        answer = system.web.get(f"/v1/responses/{response_id}?stream=true&starting_after={wrong}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "starting_after"), wrong


def test_an_open_response_refuses_a_number_that_cannot_exist_yet(client: openai.OpenAI, system: System) -> None:
    system.gateway.behave(completions={"delay": 3})
    response = create(client, background=True)
    for number in (3, 50):
        with pytest.raises(openai.BadRequestError, match="no event has a number above 2 yet") as refused:
            client.responses.retrieve(response.id, stream=True, starting_after=number)
        assert (refused.value.param, refused.value.code) == ("starting_after", "invalid_value")
    resumed = client.responses.retrieve(response.id, stream=True, starting_after=2)
    assert [event.type for event in resumed] == KINDS[3:]


def test_the_helper_of_the_sdk_gathers_a_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model=GPT, input="Which?") as stream:
        assert "Which?" in stream.get_final_response().output_text


def test_a_stream_in_the_background_that_is_left_is_resumed(client: openai.OpenAI, system: System) -> None:
    system.gateway.behave(completions={"delay": 3})
    stream = create(client, stream=True, background=True)
    first = next(iter(stream))
    stream.close()
    rest = list(client.responses.retrieve(first.response.id, stream=True, starting_after=first.sequence_number))
    assert [first.type, *(event.type for event in rest)] == KINDS
    assert system.query("SELECT cancel_at FROM llm_chats") == [(None,)]


def test_a_conversation_goes_on_from_the_response_before(client: openai.OpenAI, system: System) -> None:
    earlier_turns = [{"role": "developer", "content": "No lists."}, {"role": "user", "content": "One?"}]
    first = create(client, earlier_turns, instructions="Be brief.")
    second = create(client, "Two?", previous_response_id=first.id)
    third = create(client, [*second.output, {"role": "user", "content": "Three?"}], previous_response_id=second.id)
    prompts = system.query("SELECT system_prompt, history FROM llm_chats ORDER BY id")
    turns = [["user", "One?"], ["assistant", first.output_text], ["user", "Two?"], ["assistant", second.output_text]]
    assert prompts[0] == ("Be brief.\n\nNo lists.", [])
    assert prompts[1] == ("No lists.", turns[:2]), "instructions are not handed on, messages are"
    assert prompts[2] == ("No lists.", [*turns, turns[-1]])
    assert third.previous_response_id == second.id
    items = [(item.role, item.content[0].text) for item in client.responses.input_items.list(first.id, order="asc")]
    assert items == [("developer", "No lists."), ("user", "One?")]
    assert [item.role for item in client.responses.input_items.list(third.id, limit=1)] == ["user", "assistant"]


@pytest.mark.parametrize("of", ["another caller", "nobody"])
def test_another_callers_response_is_not_there(client: openai.OpenAI, system: System, of: str) -> None:
    response_id = create(client).id
    system.query("UPDATE llm_chats SET subject = 'ben'" if of == "another caller" else "DELETE FROM llm_chats")
    for call in (
        lambda: client.responses.retrieve(response_id),
        lambda: client.responses.retrieve(response_id, stream=True),
        lambda: client.responses.cancel(response_id),
        lambda: client.responses.delete(response_id),
        lambda: list(client.responses.input_items.list(response_id)),
        lambda: client.responses.retrieve("resp_x"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, previous_response_id=response_id)
    assert (refused.value.param, refused.value.code) == ("previous_response_id", "previous_response_not_found")


def test_a_chat_of_another_route_is_no_response(client: openai.OpenAI, system: System) -> None:
    client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "Which?"}])
    ((chat_id,),) = system.query("SELECT id FROM llm_chats")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(f"resp_{chat_id.hex}")


def test_cancelling_may_be_repeated_and_leaves_what_has_ended(client: openai.OpenAI, system: System) -> None:
    done = create(client)
    assert client.responses.cancel(done.id).status == "completed"
    system.gateway.behave(completions={"silent": True})
    response = create(client, "And this?", background=True)
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, previous_response_id=response.id)
    assert refused.value.param == "previous_response_id"
    for _ in range(2):
        cancelled = client.responses.cancel(response.id)
        assert (cancelled.status, cancelled.error, cancelled.output) == ("cancelled", None, [])
    events = list(client.responses.retrieve(response.id, stream=True))
    assert [event.type for event in events] == [*KINDS[:3], "response.failed"]
    assert events[-1].response.status == "cancelled"


def test_deleting_takes_the_content_away(client: openai.OpenAI, system: System) -> None:
    response = create(client, "A secret?", instructions="Keep it.", metadata={"a": "secret"})
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    ((row,),) = system.query("SELECT c::text FROM llm_chats c")
    assert "secret" not in row
    system.gateway.behave(completions={"silent": True})
    waiting = create(client, background=True)
    client.responses.delete(waiting.id)
    assert system.statuses() == {"succeeded": 1, "cancelled": 1}


def test_a_failure_is_raised_in_the_foreground_and_shown_in_the_background(
    client: openai.OpenAI, system: System
) -> None:
    system.gateway.behave(completions={"status": 400, "error": "prompt is too long"})
    with pytest.raises(openai.BadRequestError) as refused:
        create(client)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")
    failed = ended(client, create(client, "And this?", background=True))
    assert (failed.status, failed.error.code) == ("failed", "invalid_prompt")
    assert failed.error.message.startswith("prompt_too_long: ")
    assert list(create(client, "And in a stream?", stream=True))[-1].type == "response.failed"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": ""}, "input", "invalid_value"),
    ({"input": []}, "input", "invalid_value"),
    ({"input": 7}, "input", "invalid_value"),
    ({"input": [{"role": "assistant", "content": "x"}]}, "input[0].role", "invalid_value"),
    (
        {"input": [{"type": "function_call_output", "role": "user", "content": "x"}]},
        "input[0].type",
        "unsupported_parameter",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "input[0].content[0].type",
        "unsupported_parameter",
    ),
    ({"input": "x" * 200_001}, "input", "context_length_exceeded"),
    ({"metadata": {"a": "b" * 513}}, "metadata", "invalid_value"),
    ({"metadata": {str(number): "a" for number in range(17)}}, "metadata", "invalid_value"),
    ({"tools": [{"type": "web_search"}]}, "tools", "unsupported_parameter"),
    ({"text": {"format": {"type": "json_object"}}}, "text", "unsupported_parameter"),
    ({"previous_response_id": "resp_x"}, "previous_response_id", "previous_response_not_found"),
]


@pytest.mark.parametrize(("body", "param", "code"), REFUSED, ids=[f"{param} {code}" for _, param, code in REFUSED])
def test_what_cannot_be_done_is_a_bad_request_that_names_the_field(
    client: openai.OpenAI, system: System, body: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, **body)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert not system.statuses()


def test_a_question_that_is_sent_again_gets_the_response_of_the_first(system: System) -> None:
    system.gateway.behave(completions={"delay": 4})
    with openai.OpenAI(base_url=f"{system.web.url}/v1", api_key="x", timeout=1.5, max_retries=5) as client:
        assert "Which?" in create(client, metadata={"a": "b"}).output_text
    assert system.statuses() == {"succeeded": 1}
