"""One attempt at a chat: the prompt goes to the model, and once more to the default where upstream has lost it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from shared.catalogue.keys import Resolution
from shared.chat.calls import ModelCalls, PlaceGivenUp, Progress
from shared.chat.lifecycle import Claim, Finish, Release
from shared.gateway.errors import GatewayError

log = structlog.get_logger(__name__)

DEFAULT_UNKNOWN_SECONDS = 5.0
"""PostgreSQL may be back by then, and say which model is the default."""


class DefaultUnknown(Exception):
    """It cannot be said at the moment which model is the default."""


class Completer:
    """Makes attempts. Belongs to one event loop."""

    def __init__(
        self,
        calls: ModelCalls,
        *,
        default_instead: Callable[[Resolution], Awaitable[Resolution | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_instead` gives the default in place of a model that upstream does not know, and flags that model.

        It raises DefaultUnknown where it cannot: the attempt is then not the chat's to spend.
        """
        self._calls = calls
        self._default_instead = default_instead
        self._clock = clock

    async def attempt(self, claim: Claim) -> Finish | Release:
        """Carry out one attempt, until an answer, a failure for good, the deadline, or a longer pause."""
        ends_at = self._clock() + claim.seconds_left
        begun = Finish(claim.chat_id, claim.attempt, "failed", claim.model)
        progress = Progress()
        _tell(claim.model)
        try:
            try:
                return await self._asked(claim, claim.model, ends_at, progress)
            except GatewayError as error:
                failure = error
            if failure.code == "unknown_model":
                instead = await self._default_instead(claim.model)
                if instead is not None:
                    begun = replace(begun, model=instead)
                    _tell(instead, lost=claim.model)
                    try:
                        return await self._asked(claim, instead, ends_at, progress)
                    except GatewayError as error:
                        failure = error
        except DefaultUnknown:
            return Release(claim.chat_id, claim.attempt, progress.tries, failure.detail, DEFAULT_UNKNOWN_SECONDS)
        except PlaceGivenUp as pause:
            return Release(
                claim.chat_id,
                claim.attempt,
                progress.tries,
                pause.detail,
                pause.seconds,
                code=pause.code,
                counted=pause.counted,
            )
        return replace(begun, error_code=failure.code, error_detail=failure.detail, tries=progress.tries)

    async def _asked(self, claim: Claim, model: Resolution, ends_at: float, progress: Progress) -> Finish:
        answer = await self._calls.ask(claim, model, ends_at, progress)
        took = round((self._clock() - progress.call_began) * 1000)
        return Finish(
            claim.chat_id, claim.attempt, "succeeded", model, answer=answer, tries=progress.tries, upstream_ms=took
        )


def _tell(model: Resolution, lost: Resolution | None = None) -> None:
    if model.reason is not None:
        missing = model.requested if lost is None else lost.key
        log.warning(
            "llm_chat.fallback",
            message=f"[ChaSen Chat] Model {missing} not found, using default (ID: {model.matcha_llm_id})",
            requested=model.requested, reason=model.reason, story=model.story,
        )  # fmt: skip
    log.info(
        "llm_chat.model",
        message=f"[ChaSen Chat] Using model: {model.key} (MatchaAI LLM ID: {model.matcha_llm_id})",
        model_key=model.key, matcha_llm_id=model.matcha_llm_id,
    )  # fmt: skip
