"""Calls of one chat to one model: tried again after what may pass, in place for a moment, else from the queue."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared.catalogue.fallback import Resolution
from shared.chat.circuit_breaker import RATE_LIMITED, CallKey, CircuitBreaker, CircuitScope
from shared.chat.claims import ChatClaim
from shared.chat.waiting import PARK_SECONDS
from shared.gateway.errors import GatewayError
from shared.gateway.retry import pause_before_next, retries_exhausted
from shared.gateway.wire import render_prompt

log = structlog.get_logger(__name__)

IN_PLACE_SECONDS = 5.0
"""A longer pause between two tries is spent in the queue: the place is another chat's meanwhile."""
TRIES_PER_ATTEMPT = 3
"""So many failed tries count as one of CHAT_MAX_ATTEMPTS, while the model answers others."""


class Gateway(Protocol):
    """What is needed of the gateway's client."""

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class CallLimits:
    """`call_seconds` bounds one completion; `retry_base_seconds` is the first pause between two."""

    call_seconds: float
    retry_base_seconds: float


@dataclass(slots=True)
class Progress:
    """What an attempt has done so far."""

    tries: int = 0
    call_began: float = 0.0
    first_failure_at: float | None = None
    real_cause: GatewayError | None = None


class Admission(Protocol):
    """What says when a call may begin."""

    async def begin(self, chat_id: uuid.UUID) -> uuid.UUID | float: ...

    def end(self, call_id: uuid.UUID) -> None: ...


class PlaceGivenUp(Exception):
    """The chat goes back to the queue for so many seconds, because of a failure: `detail` is None where it was others'.

    `counted`: the attempt is the chat's to spend. `code` is None where a limit of the gateway's lets no call begin.
    """

    def __init__(self, code: str | None, detail: str | None, seconds: float, *, counted: bool = False) -> None:
        super().__init__(code, detail, seconds, counted)
        self.code = code
        self.detail = detail
        self.seconds = seconds
        self.counted = counted


class ModelCalls:
    """Asks models for chats. Belongs to one event loop."""

    def __init__(
        self,
        gateway: Gateway,
        breaker: CircuitBreaker,
        limits: CallLimits,
        *,
        circuits_closed: Callable[[tuple[CircuitScope, ...]], None] = lambda scopes: None,
        record: Callable[[int, GatewayError | None], None] = lambda model, error: None,
        admission: Admission | None = None,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`circuits_closed` is called with the circuits that an answer closed, `record` with the model's id and how a
        call ended; they must not block. `admission` counts calls; None: no limit does.
        """
        self._admission = admission
        self._gateway = gateway
        self._breaker = breaker
        self._patience = limits
        self._circuits_closed = circuits_closed
        self._record_outcome = record
        self._jitter = jitter
        self._clock = clock
        self._circuits_changed = asyncio.Event()

    async def ask(self, claim: ChatClaim, model: Resolution, ends_at: float, progress: Progress) -> str:
        """The model's answer.

        Raises GatewayError when it is to be had no more, PlaceGivenUp when the chat has to wait for it.
        """
        key = CallKey(claim.chat_id, model.matcha_llm_id, claim.subject)
        prompt = render_prompt(claim.system_prompt, claim.history, claim.question)
        while True:
            blocking = None if claim.is_probe and progress.tries == 0 else self._breaker.blocks(key)
            if blocking is not None:
                raise PlaceGivenUp(blocking.code, None, PARK_SECONDS)
            call_id = await self._begin(claim, ends_at)
            try:
                return await self._call(claim, model, prompt, ends_at, progress, key)
            except GatewayError as error:
                failure = error
            finally:
                if self._admission is not None and call_id is not None:
                    self._admission.end(call_id)
            pause = self._pause_after(failure, claim, ends_at, progress, key)
            await self._wait(pause, key)
            if self._breaker.shutting_down:
                raise PlaceGivenUp(failure.code, failure.detail, 0.0)

    def shutdown(self) -> None:
        """Pauses end now, and their chats go back to the queue."""
        self._breaker.shutdown()
        self._wake_pauses()

    async def _begin(self, claim: ChatClaim, ends_at: float) -> uuid.UUID | None:
        """Wait until the limits let a call begin, for a moment in place. Raises PlaceGivenUp where it takes longer."""
        until = min(ends_at, self._clock() + IN_PLACE_SECONDS)
        while self._admission is not None:
            begun = await self._admission.begin(claim.chat_id)
            if isinstance(begun, uuid.UUID):
                return begun
            if self._clock() + begun > until or self._breaker.shutting_down:
                raise PlaceGivenUp(None, None, begun)
            await asyncio.sleep(begun)
        return None

    async def _call(
        self, claim: ChatClaim, model: Resolution, prompt: str, ends_at: float, progress: Progress, key: CallKey
    ) -> str:
        progress.tries += 1
        progress.call_began = self._clock()
        seconds = max(0.0, ends_at - progress.call_began)
        cut_short = seconds < self._patience.call_seconds
        try:
            answer = await self._gateway.complete(
                llm_id=model.matcha_llm_id,
                prompt=prompt,
                deadline_seconds=min(seconds, self._patience.call_seconds),
                request_id=claim.request_id,
            )
        except GatewayError as error:
            # Where the chat's deadline came sooner than the call's time was up, that says nothing of the gateway.
            if not (cut_short and error.code == "timeout" and error.http_status is None):
                self._record(error, key)
            raise
        self._record(None, key)
        return answer

    def _pause_after(
        self, failure: GatewayError, claim: ChatClaim, ends_at: float, progress: Progress, key: CallKey
    ) -> float:
        """Seconds to wait in place before the next try. Raises GatewayError or PlaceGivenUp when there is none here."""
        if progress.real_cause is None or failure.code != "timeout":
            progress.real_cause = failure
        if progress.first_failure_at is None:
            progress.first_failure_at = progress.call_began
        tries = claim.tries + progress.tries
        seconds_left = ends_at - self._clock()
        blocked = failure.trips_circuit and self._breaker.blocks(key) is not None
        pause: float | None = PARK_SECONDS
        if not blocked:
            pause = pause_before_next(
                failure,
                tries,
                seconds_left=seconds_left,
                base_seconds=self._patience.retry_base_seconds,
                jitter=self._jitter(),
            )
        # A model that answers others is not down: who fails there all the same spends attempts.
        answers_others = self._breaker.answered_since(key.model, progress.first_failure_at)
        counted = failure.trips_circuit and answers_others and tries >= TRIES_PER_ATTEMPT * claim.spent
        if counted and claim.is_last:
            pause = None
        _log_failed_try(failure, tries, pause)
        if failure.permanent:
            raise failure
        if pause is None:
            raise retries_exhausted(progress.real_cause, failure, tries, within_seconds=round(claim.seconds_left, 1))
        if failure.code == RATE_LIMITED and failure.retry_after_seconds:
            self._pause_all(failure.retry_after_seconds, key)
            pause, blocked = PARK_SECONDS, True
        if blocked or counted or pause > IN_PLACE_SECONDS:
            raise PlaceGivenUp(progress.real_cause.code, progress.real_cause.detail, pause, counted=counted)
        return pause

    async def _wait(self, seconds: float, key: CallKey) -> None:
        """Pause, but no longer than until a circuit opens that stops this call."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._breaker.blocks(key) is None and not self._breaker.shutting_down:
                    await self._circuits_changed.wait()

    def _record(self, error: GatewayError | None, key: CallKey) -> None:
        self._record_outcome(key.model, error)
        if error is not None and error.code == RATE_LIMITED and self._breaker.is_paused:
            return
        if error is None or not error.trips_circuit:
            closed = self._breaker.record_success(key)
            for scope in closed:
                log.info(
                    "llm_chat.circuit_closed",
                    message="MatchaAI answers again",
                    matcha_llm_id=scope.model,
                    subject=scope.subject,
                )
            if closed:
                self._circuits_closed(closed)
            return
        opened = self._breaker.record_failure(key, error.code, unreachable=error.unreachable)
        if opened is not None:
            log.error(
                "llm_chat.circuit_opened",
                message="MatchaAI is down, chats wait",
                matcha_llm_id=opened.model,
                subject=opened.subject,
                code=error.code,
                detail=error.detail,
            )
            self._wake_pauses()

    def _pause_all(self, seconds: float, key: CallKey) -> None:
        if not self._breaker.is_paused:
            log.warning("llm_chat.paused", message="MatchaAI asked for a pause, chats wait", seconds=round(seconds, 1))
        self._breaker.pause(key, seconds)
        self._wake_pauses()

    def _wake_pauses(self) -> None:
        self._circuits_changed.set()
        self._circuits_changed = asyncio.Event()


def _log_failed_try(error: GatewayError, tries: int, pause: float | None) -> None:
    log.warning(
        "llm_chat.try_failed",
        message="A call to MatchaAI failed",
        code=error.code,
        detail=error.detail,
        tries=tries,
        again_in_seconds=None if pause is None else round(pause, 1),
    )
