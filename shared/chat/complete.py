"""One attempt at a chat: the prompt goes to the model, again after what may pass, once more to the default."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from shared.catalogue.keys import Resolution
from shared.chat.circuit import Circuit
from shared.chat.lifecycle import Claim, Finish, Release
from shared.gateway.errors import GatewayError
from shared.gateway.retry import retrying
from shared.gateway.wire import render_prompt

log = structlog.get_logger(__name__)


class Gateway(Protocol):
    """What is needed of the gateway's client."""

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """`call_seconds` bounds one completion; `retry_base_seconds` is the first pause between two."""

    call_seconds: float
    retry_base_seconds: float


class DefaultUnknown(Exception):
    """It cannot be said at the moment which model is the default."""


class _UpstreamDown(Exception):
    """The circuit is open: this attempt is not the chat's to spend."""

    def __init__(self, cause: GatewayError) -> None:
        super().__init__(cause)
        self.cause = cause


class Completer:
    """Makes attempts. Belongs to one event loop."""

    def __init__(
        self,
        gateway: Gateway,
        circuit: Circuit,
        patience: Patience,
        *,
        default_instead: Callable[[Resolution], Awaitable[Resolution | None]],
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_instead` gives the default in place of a model that upstream does not know, and flags that model.

        It raises DefaultUnknown where it cannot: the attempt is then not the chat's to spend.
        """
        self._gateway = gateway
        self._circuit = circuit
        self._patience = patience
        self._default_instead = default_instead
        self._jitter = jitter
        self._clock = clock

    async def attempt(self, claim: Claim) -> Finish | Release:
        """Carry out one attempt, until an answer, a failure for good, the deadline, or an open circuit."""
        ends_at = self._clock() + claim.seconds_left
        begun = Finish(claim.chat_id, claim.attempt, "failed", claim.model)
        tries = _Tries()
        _tell(claim.model)
        try:
            return await self._asked(claim, claim.model, ends_at, tries)
        except _UpstreamDown as down:
            return Release(claim.chat_id, claim.attempt, tries.made, down.cause.detail)
        except GatewayError as error:
            failure = error
        if failure.code == "unknown_model":
            try:
                instead = await self._default_instead(claim.model)
            except DefaultUnknown:
                return Release(claim.chat_id, claim.attempt, tries.made, failure.detail)
            if instead is not None:
                begun = replace(begun, model=instead)
                _tell(instead, lost=claim.model)
                try:
                    return await self._asked(claim, instead, ends_at, tries)
                except _UpstreamDown as down:
                    return Release(claim.chat_id, claim.attempt, tries.made, down.cause.detail)
                except GatewayError as error:
                    failure = error
        return replace(begun, error_code=failure.code, error_detail=failure.detail, tries=tries.made)

    async def _asked(self, claim: Claim, model: Resolution, ends_at: float, tries: _Tries) -> Finish:
        prompt = render_prompt(claim.system_prompt, claim.history, claim.question)

        async def once(seconds: float) -> str:
            tries.made += 1
            tries.began = self._clock()
            cut_short = seconds < self._patience.call_seconds
            try:
                answer = await self._gateway.complete(
                    llm_id=model.matcha_llm_id,
                    prompt=prompt,
                    deadline_seconds=min(seconds, self._patience.call_seconds),
                    request_id=claim.request_id,
                )
            except GatewayError as error:
                if cut_short and error.code == "timeout" and error.http_status is None:
                    raise  # the chat's deadline came sooner than upstream's time was up: that says nothing of upstream
                self._note(error)
                if error.trips_circuit and self._circuit.open:
                    raise _UpstreamDown(error) from None
                raise
            self._note(None)
            return answer

        answer = await retrying(
            once,
            deadline_seconds=max(0.0, ends_at - self._clock()),
            base_seconds=self._patience.retry_base_seconds,
            jitter=self._jitter,
            on_failure=_tell_failure,
        )
        took = round((self._clock() - tries.began) * 1000)
        return Finish(
            claim.chat_id, claim.attempt, "succeeded", model, answer=answer, tries=tries.made, upstream_ms=took
        )

    def _note(self, error: GatewayError | None) -> None:
        if error is not None and error.trips_circuit:
            if self._circuit.failed():
                log.error("llm_chat.circuit_opened", message="[ChaSen Chat] MatchaAI is down, chats wait",
                          code=error.code, detail=error.detail)  # fmt: skip
        elif self._circuit.answered():
            log.info("llm_chat.circuit_closed", message="[ChaSen Chat] MatchaAI answers again")


@dataclass(slots=True)
class _Tries:
    made: int = 0
    began: float = 0.0


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


def _tell_failure(error: GatewayError, tries: int, pause: float | None) -> None:
    log.warning("llm_chat.try_failed", message="[ChaSen Chat] A call to MatchaAI failed",
                code=error.code, detail=error.detail, tries=tries,
                again_in_seconds=None if pause is None else round(pause, 1))  # fmt: skip
