"""A chat with its answer as a tree of Markdown: for those who may read its content, and only for them."""

from __future__ import annotations

import json
import uuid

from shared.db import Caller
from tests.integration.chat.conftest import ANN, BEN, SERVICE, Chats

OPERATOR = Caller("operator", "olga")
TEXT = "It is **so**."
PARAGRAPH = {
    "kind": "paragraph",
    "children": [
        {"kind": "text", "text": "It is "},
        {"kind": "strong", "children": [{"kind": "text", "text": "so"}]},
        {"kind": "text", "text": "."},
    ],
}


def answered(chats: Chats, text: str = TEXT) -> uuid.UUID:
    chats.gateway.behave(completions={"body": json.dumps({"response": text})})
    chat_id: uuid.UUID = chats.answered("Is it *so*?", history=[{"role": "user", "content": "Before"}])["id"]
    return chat_id


def test_the_answer_comes_as_text_and_as_a_tree_with_its_question(chats: Chats) -> None:
    chat_id = answered(chats)
    body = chats.call("GET", f"/api/chats/{chat_id}/markdown").json
    assert body == chats.call("GET", f"/api/chats/{chat_id}").json | {
        "question": "Is it *so*?",
        "markdown": [PARAGRAPH],
    }
    assert chats.call("GET", f"/api/chats/{chat_id}/markdown", SERVICE).json["markdown"] == [PARAGRAPH]


def test_nobody_else_reads_it(chats: Chats) -> None:
    chat_id = answered(chats)
    assert chats.call("GET", f"/api/chats/{chat_id}/markdown", BEN).status_code == 404
    assert chats.call("GET", f"/api/chats/{chat_id}/markdown", OPERATOR).status_code == 403
    assert chats.client.get(f"/api/chats/{chat_id}/markdown").status_code == 401
    for unknown in (uuid.uuid4(), "no-id"):
        assert chats.call("GET", f"/api/chats/{unknown}/markdown").status_code == 404


def test_without_an_answer_there_is_no_tree(chats: Chats) -> None:
    chat_id = chats.accepted("Is it so?")
    body = chats.call("GET", f"/api/chats/{chat_id}/markdown", ANN).json
    assert (body["status"], body["question"], body["markdown"]) == ("queued", "Is it so?", None)


def test_an_erased_chat_has_neither_question_nor_tree(chats: Chats) -> None:
    chat_id = answered(chats)
    assert chats.call("DELETE", f"/api/chats/{chat_id}?erase=1").status_code == 200
    body = chats.call("GET", f"/api/chats/{chat_id}/markdown").json
    assert (body["question"], body["markdown"]) == (None, None)
    assert "answer" not in body


def test_what_costs_too_much_comes_as_text_alone(chats: Chats) -> None:
    chat_id = answered(chats, "[" * 20_000)
    body = chats.call("GET", f"/api/chats/{chat_id}/markdown").json
    assert (body["answer"], body["markdown"]) == ("[" * 20_000, None)
