"""`llm-refresh doctor --live`: what the real MatchaAI does, beside what the client expects of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from shared.catalogue.facts.names import slug
from shared.catalogue.sync.parse import ParsedList, parse_entries
from shared.gateway import probe, wire
from shared.gateway.client import GatewayClient
from shared.gateway.errors import GatewayError
from shared.gateway.probe import FieldProbe
from shared.settings import Settings
from shared.vocabulary import ModelField
from worker.chat.gateway import chat_client, missing_configuration
from worker.doctor.findings import Finding, Line, fault, good, warning


def check_gateway(settings: Settings) -> Iterator[Finding]:
    """The list, one tiny completion by each model field, which of them took effect, and the shape of the answers."""
    missing = missing_configuration(settings)
    if missing is not None:
        yield fault("live", missing.detail, "then run this again")
        return

    if not settings.upstream_given:
        yield warning(
            "live",
            "this is the stand-in, not MatchaAI: it says nothing about the real one",
            "set MATCHAAI_BASE_URL and MATCHAAI_API_KEY",
        )

    def make_client(field: ModelField) -> GatewayClient:
        return chat_client(settings, field)

    try:
        listing = asyncio.run(probe.list_models(make_client))
    except GatewayError as error:
        yield fault("live: list", str(error), "no refresh can succeed until this does")
        return
    parsed = parse_entries(listing.entries)
    yield _of_list(parsed, len(listing.entries), listing.milliseconds)
    if not parsed.entries:
        return
    entry = next((e for e in parsed.entries if slug(e.name) == settings.matchaai_default_model), parsed.entries[0])
    fields = asyncio.run(probe.try_fields(make_client, entry.matcha_llm_id))
    for tried in fields:
        yield _of_field(tried, settings.matchaai_model_field, entry.name)
    yield _verdict(fields, settings.matchaai_model_field)
    yield from _of_shape({tried.place for tried in fields if tried.place is not None})


def _of_list(parsed: ParsedList, number: int, milliseconds: int) -> Finding:
    text = f"a bare list of {number} models, as expected, in {milliseconds} ms"
    if not parsed.entries:
        return fault("live: list", f"{number} models, none of them usable", "see `llm-refresh refresh --dry-run`")
    if parsed.rejected:
        return warning(
            "live: list",
            f"{text}; {len(parsed.rejected)} would be refused: {parsed.rejected[0].reason}",
            "see `llm-refresh refresh --dry-run`",
        )
    return good("live: list", text)


def _of_field(tried: FieldProbe, configured: ModelField, name: str) -> Finding:
    title: Line = "live: llm_id" if tried.field == "llm_id" else "live: options.responseLLM"
    text = {
        "taken": f"took effect: {name} answered, and a model that nobody lists was refused",
        "ignored": "has no effect: a model that nobody lists was answered, by the mission's own model",
        "unknown": f"{name} answered; whether by this field cannot be told, the second call did not come through",
        "failed": f"no answer: {tried.failure}",
    }[tried.effect]
    if tried.field != configured or tried.effect == "taken":
        return good(title, text)  # the other field is looked at to know it, not needed
    if tried.effect == "unknown":
        return warning(title, text, "run this again")
    return fault(title, text, "chats name their model by this field (MATCHAAI_MODEL_FIELD)")


def _verdict(fields: list[FieldProbe], configured: ModelField) -> Finding:
    effective = [tried.field for tried in fields if tried.effect == "taken"]
    text = f"MATCHAAI_MODEL_FIELD is {configured}; " + (
        f"{' and '.join(effective)} took effect" if effective else "no field took effect"
    )
    if configured in effective:
        return good("live: model field", text)
    if effective:
        return fault("live: model field", text, f"set MATCHAAI_MODEL_FIELD={effective[0]}")
    return warning("live: model field", text, "whatever is asked for, the mission's own model may answer")


def _of_shape(places: set[str]) -> Iterator[Finding]:
    if places == {wire.DOCUMENTED_PLACE}:
        yield good("live: answer shape", f"the text stands at {wire.DOCUMENTED_PLACE}, as expected")
    elif places:
        text = f"the text stands at {' and '.join(sorted(places))}, which the client reads"
        yield warning("live: answer shape", f"{text}; it expects {wire.DOCUMENTED_PLACE}", "the gateway has changed")
