"""Where chats go: MatchaAI, or in local mode without it the stand-in."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from shared.gateway.client import GatewayClient
from shared.gateway.errors import GatewayError
from shared.settings import Settings
from shared.vocabulary import ModelField

STAND_IN_MISSION = 1


@dataclass(frozen=True, slots=True)
class MissingConfiguration:
    """Why chats can go nowhere: a stable code, what callers read, and what the operator has to do."""

    code: str
    detail: str
    advice: str


def missing_configuration(settings: Settings) -> MissingConfiguration | None:
    """What is missing before chats can be answered; None when nothing is."""
    if _place(settings) is None:
        detail = "MatchaAI is not set up here: the operator of this service has to do it"
        return MissingConfiguration("matchaai_not_set_up", detail, "set MATCHAAI_BASE_URL and MATCHAAI_API_KEY")
    if settings.upstream_given and settings.matchaai_mission_id is None:
        detail = "chats need a mission, and none is set up here: the operator of this service has to do it"
        return MissingConfiguration("mission_not_set", detail, "set MATCHAAI_MISSION_ID to the number of the mission")
    return None


def make_chat_gateway(settings: Settings) -> GatewayClient | UnconfiguredGateway:
    """The client for chats; where something is missing, one that says so of each."""
    missing = missing_configuration(settings)
    return chat_client(settings, settings.matchaai_model_field) if missing is None else UnconfiguredGateway(missing)


def chat_client(settings: Settings, model_field: ModelField) -> GatewayClient:
    """A client that names models by this field. Raises LookupError where nothing is set up."""
    place = _place(settings)
    if place is None:
        raise LookupError("nothing is set up")
    base_url, key = place
    return GatewayClient(
        base_url=base_url,
        api_key=key.get_secret_value(),
        mission_id=settings.matchaai_mission_id if settings.upstream_given else STAND_IN_MISSION,
        model_field=model_field,
    )


def _place(settings: Settings) -> tuple[str, SecretStr] | None:
    if settings.matchaai_base_url is not None and settings.matchaai_api_key is not None:
        return settings.matchaai_base_url, settings.matchaai_api_key
    if settings.local and settings.stand_in_url is not None and settings.stand_in_api_key is not None:
        return settings.stand_in_url, settings.stand_in_api_key
    return None


class UnconfiguredGateway:
    """Fails each chat with what is missing: one was accepted while it was set up, or by a process where it is."""

    def __init__(self, missing: MissingConfiguration) -> None:
        self._missing = missing

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str:
        raise GatewayError("upstream_rejected", f"Not sent: {self._missing.advice}.", permanent=True)

    async def aclose(self) -> None:
        """Nothing is open."""
