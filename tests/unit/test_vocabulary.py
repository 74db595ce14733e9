"""The words with a fixed set of values: openapi.json, the tables, the pages and the docs have the same ones."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from shared.catalogue.facts.capabilities import CAPABILITIES, CapabilityValues, Flag
from shared.models import metadata, one_of
from shared.vocabulary import (
    CHAT_ERROR_CODES,
    CHAT_STATUSES,
    DELIVERY_STATUSES,
    DISABLED_REASONS,
    FALLBACK_REASONS,
    GATEWAY_ERROR_CODES,
    WAITING_FOR,
    WEBHOOK_EVENTS,
)
from shared.webhooks.endpoints import NewEndpoint
from worker.web import bodies, chat_bodies

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "worker" / "web" / "static"
WORDS = (STATIC / "words.js").read_text()
CHAT = (ROOT / "docs" / "chat.md").read_text()
FLAGS = {name for name, field in CapabilityValues.model_fields.items() if field.annotation == Flag | None}


def schema_of(model: Any) -> dict[str, Any]:
    return dict(model.model_json_schema(mode="serialization"))


def sdk_events() -> list[Any]:
    """The classes of events that OpenAI's SDK can make of a webhook."""
    from openai.types.webhooks.unwrap_webhook_event import UnwrapWebhookEvent  # loading takes long

    return list(get_args(get_args(UnwrapWebhookEvent)[0]))


def enum(schema: dict[str, Any]) -> set[str]:
    """The values that a schema allows, null left out."""
    enum_values = list(schema.get("enum", ()))
    for part in schema.get("anyOf", ()):
        enum_values += part.get("enum", ())
    return set(enum_values)


def table(page: str, heading: str) -> str:
    """The rows of the first table behind a heading."""
    behind = page.split(heading, 1)[1]
    return re.split(r"\n\n(?=[^|])", behind.split("\n|", 1)[1])[0]


def keys_of(name: str) -> set[str]:
    """The keys of an object of words.js."""
    body = WORDS.split(f"const {name} = {{", 1)[1].split("};", 1)[0]
    return set(re.findall(r"^\s+(\w+):", body, flags=re.MULTILINE))


def test_openapi_lists_them() -> None:
    properties = schema_of(chat_bodies.Chat)["properties"]
    assert enum(properties["status"]) == set(CHAT_STATUSES)
    assert enum(properties["waiting_for"]) == set(WAITING_FOR)
    assert enum(schema_of(chat_bodies.ChatError)["properties"]["code"]) == set(CHAT_ERROR_CODES)
    assert enum(schema_of(chat_bodies.LastFailure)["properties"]["code"]) == set(GATEWAY_ERROR_CODES)
    assert enum(schema_of(chat_bodies.ChatModel)["properties"]["reason"]) == set(FALLBACK_REASONS)
    listing = schema_of(bodies.ListingBody)["$defs"]["CapabilityValues"]["properties"]
    assert tuple(listing) == CAPABILITIES
    assert {kind["type"] for kind in listing["context_window"]["anyOf"]} == {"integer", "null"}
    assert {kind["type"] for kind in listing["supports_vision"]["anyOf"]} == {"boolean", "null"}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("status", CHAT_STATUSES),
        ("waiting_for", WAITING_FOR),
        ("fallback_reason", FALLBACK_REASONS),
        ("error_code", CHAT_ERROR_CODES),
    ],
)
def test_the_tables_allow_them(column: str, values: tuple[str, ...]) -> None:
    checks = {str(check.sqltext) for check in metadata.tables["llm_chats"].constraints if hasattr(check, "sqltext")}
    assert one_of(column, values) in checks


def test_the_pages_have_words_for_each() -> None:
    assert set(CHAT_ERROR_CODES) <= keys_of("CAUSES")
    assert set(FALLBACK_REASONS) == keys_of("REASONS")


@pytest.mark.parametrize(
    ("file", "start", "end", "capabilities"),
    [
        ("llm-model-select.js", "const ABILITIES = [", "];", FLAGS),
        ("ops-edit.js", "const FLAGS = [", "];", FLAGS),
        ("ops-edit.js", "const NUMBERS = [", "];", set(CAPABILITIES) - FLAGS),
        ("ops-models.js", "const ORDER = [", "];", set(CAPABILITIES)),
        ("changes.js", "const NAMES = {", "};", set(CAPABILITIES)),
    ],
)
def test_the_pages_list_every_capability(file: str, start: str, end: str, capabilities: set[str]) -> None:
    body = (STATIC / file).read_text().split(start, 1)[1].split(end, 1)[0]
    listed = set(re.findall(r"\b(?:supports|context|max)_\w+", body))
    assert listed == capabilities, f"{start} of {file}"


def test_the_docs_explain_each() -> None:
    states = table(CHAT, "`DELETE` of a chat that has ended")
    for word in (*CHAT_STATUSES, *CHAT_ERROR_CODES):
        assert f"`{word}`" in states, word
    reasons = set(re.findall(r"^\|? ?`(\w+)` \|", table(CHAT, "| reason | means |"), flags=re.MULTILINE))
    assert reasons == set(FALLBACK_REASONS)
    frontend = (ROOT / "docs" / "frontend.md").read_text() + (ROOT / "docs" / "catalogue.md").read_text()
    assert [name for name in CAPABILITIES if f"`{name}`" not in frontend] == []


def test_events_of_webhooks_are_listed_documented_and_known_to_the_sdk() -> None:
    events = schema_of(NewEndpoint)["properties"]["events"]["items"]
    assert set(events["enum"]) == set(WEBHOOK_EVENTS)
    page = (ROOT / "docs" / "openai.md").read_text()
    assert [name for name in WEBHOOK_EVENTS if f"`{name}`" not in page] == []
    types = {get_args(event.model_fields["type"].annotation)[0] for event in sdk_events()}
    assert set(WEBHOOK_EVENTS) <= types


def test_the_tables_of_webhooks_allow_their_words() -> None:
    checks = {
        str(check.sqltext)
        for name in ("llm_webhook_endpoints", "llm_webhook_deliveries")
        for check in metadata.tables[name].constraints
        if hasattr(check, "sqltext")
    }
    assert {one_of("status", DELIVERY_STATUSES), one_of("disabled_reason", DISABLED_REASONS)} <= checks


def test_no_value_is_written_twice() -> None:
    for values in (CHAT_STATUSES, WAITING_FOR, FALLBACK_REASONS, CHAT_ERROR_CODES):
        assert len(set(values)) == len(values)
    assert set(GATEWAY_ERROR_CODES) < set(CHAT_ERROR_CODES)
    assert get_args(chat_bodies.Status) == CHAT_STATUSES
