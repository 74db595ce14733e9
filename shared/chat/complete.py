"""One attempt at a chat: the prompt goes to the model, and to the next default while upstream does not know it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection

import structlog

from shared.catalogue.fallback import Resolution
from shared.chat.calls import ModelCalls, PlaceGivenUp, Progress
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.gateway.errors import GatewayError
from shared.vocabulary import ChatErrorCode, text_for_callers

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
        default_instead: Callable[[Resolution, Collection[int]], Awaitable[Resolution | None]],
        switch_model: Callable[[SwitchModel], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_instead` flags a model that upstream does not know, and gives the next default by the rules without
        the ids that this attempt was refused; None when no model is left. It raises DefaultUnknown where it cannot
        say: the attempt is then not the chat's to spend. `switch_model` writes which model is asked next, before it
        is asked; False where that could not be written, or the attempt is no longer ours.
        """
        self._calls = calls
        self._default_instead = default_instead
        self._switch_model = switch_model
        self._clock = clock

    async def attempt(self, claim: ChatClaim) -> Finish | Release:
        """Carry out one attempt, until an answer, a failure for good, the deadline, or a longer pause."""
        ends_at = self._clock() + claim.seconds_left
        model, progress = claim.model, Progress()
        refused: dict[int, str] = {}
        if claim.no_model is not None:
            return self._fail(claim, model, progress, "unknown_model", claim.no_model)  # our own words
        _log_model(model)
        while True:
            try:
                return await self._ask(claim, model, ends_at, progress)
            except GatewayError as error:
                failure = error
            except PlaceGivenUp as pause:
                return Release(
                    claim.chat_id,
                    claim.attempt,
                    progress.tries,
                    pause.detail,
                    pause.seconds,
                    code=pause.code,
                    counted=pause.counted,
                    limited=pause.code is None,
                )
            if failure.code != "unknown_model":
                text = text_for_callers(failure.code, tries=claim.tries + progress.tries)
                return self._fail(claim, model, progress, failure.code, text, failure.detail)
            refused[model.matcha_llm_id] = model.key
            try:
                instead = await self._default_instead(model, refused)
            except DefaultUnknown:
                return Release(claim.chat_id, claim.attempt, progress.tries, failure.detail, DEFAULT_UNKNOWN_SECONDS)
            if instead is None and model.strict:
                text = f"{text_for_callers('unknown_model')} Its caller allows no other one."
                return self._fail(claim, model, progress, "unknown_model", text, failure.detail)
            if instead is None:
                keys = ", ".join(refused.values())
                text = f"MatchaAI does not know {keys}, and no other model is left."
                return self._fail(claim, model, progress, "no_model", text, failure.detail)
            if not await self._switch_model(SwitchModel(claim.chat_id, claim.attempt, instead)):
                return Release(claim.chat_id, claim.attempt, progress.tries, failure.detail, DEFAULT_UNKNOWN_SECONDS)
            _log_model(instead, lost=model)
            model = instead

    @staticmethod
    def _fail(
        claim: ChatClaim,
        model: Resolution,
        progress: Progress,
        code: ChatErrorCode,
        text: str,
        cause: str | None = None,
    ) -> Finish:
        return Finish(
            claim.chat_id,
            claim.attempt,
            "failed",
            model,
            error_code=code,
            error_detail=text,
            error_cause=cause,
            tries=progress.tries,
        )

    async def _ask(self, claim: ChatClaim, model: Resolution, ends_at: float, progress: Progress) -> Finish:
        answer = await self._calls.ask(claim, model, ends_at, progress)
        took = round((self._clock() - progress.call_began) * 1000)
        return Finish(
            claim.chat_id, claim.attempt, "succeeded", model, answer=answer, tries=progress.tries, upstream_ms=took
        )


def _log_model(model: Resolution, lost: Resolution | None = None) -> None:
    if model.reason is not None:
        missing = model.requested if lost is None else lost.key
        instead = model.key if model.key in model.others else "default"
        log.warning(
            "llm_chat.fallback",
            message=f"Model {missing} not found, using {instead} (ID: {model.matcha_llm_id})",
            requested=model.requested,
            reason=model.reason,
            story=model.story,
        )
    log.info(
        "llm_chat.model",
        message=f"Using model: {model.key} (MatchaAI LLM ID: {model.matcha_llm_id})",
        model_key=model.key,
        matcha_llm_id=model.matcha_llm_id,
    )
