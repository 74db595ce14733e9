"""Asks a real gateway how it behaves, and compares that with what the client expects: `llm-refresh doctor --live`.

Nobody could check the wire notes against the live service; this is how an operator does, in one command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, get_args

from shared.gateway import wire
from shared.gateway.client import GatewayClient, UpstreamList
from shared.gateway.errors import GatewayError
from shared.vocabulary import ModelField

LIST_SECONDS: Final = 8.0
COMPLETION_SECONDS: Final = 17.0
PROMPT: Final = "Answer with the word yes."
UNLISTED: Final = 2**31 - 1
MODEL_FIELDS: Final[tuple[ModelField, ...]] = get_args(ModelField)

MakeClient = Callable[[ModelField], GatewayClient]


@dataclass(frozen=True, slots=True)
class FieldProbe:
    """What one model field did.

    `effect`: taken (the model was chosen by it: a model that nobody lists was refused), ignored (one that nobody lists
    was answered all the same, by the mission's own model), unknown (it could not be told), failed (no good answer).
    `place` is where in the answer the text stood, `failure` why there was none.
    """

    field: ModelField
    effect: str
    place: str | None
    failure: GatewayError | None


async def list_models(make_client: MakeClient) -> UpstreamList:
    """The gateway's list. Raises GatewayError."""
    client = make_client("llm_id")
    try:
        return await client.list_models(deadline_seconds=LIST_SECONDS)
    finally:
        await client.aclose()


async def try_fields(make_client: MakeClient, llm_id: int) -> list[FieldProbe]:
    """One tiny completion of a listed model by each model field, and one of a model that nobody lists beside it."""
    return list(await asyncio.gather(*(_try(make_client(field), field, llm_id) for field in MODEL_FIELDS)))


async def _try(client: GatewayClient, field: ModelField, llm_id: int) -> FieldProbe:
    try:
        listed, unlisted = await asyncio.gather(_ask(client, llm_id), _ask(client, UNLISTED))
    finally:
        await client.aclose()
    if isinstance(listed, GatewayError):
        return FieldProbe(field, "failed", None, listed)
    if isinstance(unlisted, str):
        return FieldProbe(field, "ignored", listed, None)
    # A refusal for good says that it looked at the id; an outage says nothing.
    return FieldProbe(field, "taken" if unlisted.permanent else "unknown", listed, None)


async def _ask(client: GatewayClient, llm_id: int) -> str | GatewayError:
    """Where the answer's text stood, or why there was none."""
    try:
        reply = await client.ask(llm_id=llm_id, prompt=PROMPT, deadline_seconds=COMPLETION_SECONDS)
        wire.read_completion(reply.status, reply.content_type, reply.body)
    except GatewayError as error:
        return error
    return wire.answer_place(reply.body) or "nowhere"
