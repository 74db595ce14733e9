"""The page of the API says what openapi.json says, as text."""

import re

import pytest

from worker.web.api_docs import Part, groups_of, render, type_of

OPERATION = {"summary": "Do", "operationId": "post_api_things", "responses": {"200": {"description": "See the schema"}}}


def document(**changes: object) -> dict[str, object]:
    return {
        "info": {"title": "Ours", "version": "1"},
        "paths": {"/": {"get": OPERATION | {"operationId": ""}}, "/api/things": {"post": OPERATION | changes}},
        "components": {"schemas": {"Thing": {"type": "object", "properties": {"name": {"type": "string"}}}}},
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}, "array of Thing"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"enum": ["held", "failed"], "type": "string"}, '"held" or "failed"'),
        ({"const": True}, "true"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        ({}, "anything"),
    ],
)
def test_types_in_words(schema: dict[str, object], words: str) -> None:
    assert "".join(part.text for part in type_of(schema)) == words


def test_a_schema_is_a_link() -> None:
    assert type_of({"$ref": "#/components/schemas/Thing"}) == [Part("Thing", link=True)]
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}
    assert '<a href="#schema-Thing">Thing</a>' in render(document(requestBody=body))


def test_what_a_description_says_is_text_and_never_markup() -> None:
    page = render(document(summary="<script>alert(1)</script>", description='"><img src=x>'))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_the_api_comes_first_and_pages_last() -> None:
    assert [group.name for group in groups_of(document())] == ["/api/things", "Pages and state"]


def test_each_id_is_there_once_and_nothing_is_inline() -> None:
    page = render(document())
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", page)
