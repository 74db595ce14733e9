"""The chats of one process: an event loop thread that calls the gateway, and Celery's threads that wait for it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from shared.chat import dispatch
from shared.chat.batch_writer import BatchWriter
from shared.chat.calls import CallLimits, Gateway, ModelCalls
from shared.chat.chat_writes import ChatWrites
from shared.chat.circuit_breaker import CircuitBreaker
from shared.chat.claims import ChatClaim
from shared.chat.complete import Completer
from shared.chat.dispatch import dispatch_limits_of
from shared.chat.lifecycle import Finish, Release, SwitchModel
from shared.chat.notifier import ChatNotifier
from shared.chat.waiting import ParkedChat
from shared.clock import new_id
from shared.db import Database, DatabaseFailure
from shared.gateway.answer_memory import AnswerMemory
from shared.settings import Settings
from worker.chat.admission import CallAdmission
from worker.chat.database_threads import DatabaseThreads
from worker.chat.default_models import DefaultModels
from worker.chat.heartbeat import Heartbeat
from worker.chat.probes import CircuitProbes, blocked_scopes
from worker.chat.result_log import log_result
from worker.upkeep.upstream_reporter import UpstreamReporter

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 30.0
"""How long calls may go on after SIGTERM; what is left then goes back to the queue."""
CLOSE_SECONDS = 5.0
SWITCH_SECONDS = 5.0
"""So long is it tried to write that another model is asked; then the chat goes back to the queue."""


class ClosableGateway(Gateway, Protocol):
    """The gateway's client."""

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class _RunningChat:
    claim: ChatClaim
    call: asyncio.Task[Finish | Release]
    releasing: bool = False


class ChatProcess:
    """Carries out chats until it is drained. One for each process; belongs to its own threads."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        notifier: ChatNotifier,
        make_gateway: Callable[[], ClosableGateway],
        *,
        drain_seconds: float = DRAIN_SECONDS,
        on_probed: Callable[[Finish], None] = lambda end: None,
        place_freed: Callable[[int], None] = lambda taken: None,
        process_id: uuid.UUID | None = None,
    ) -> None:
        """`on_probed` is told, in a thread of its own, of each chat that a probe has ended: no task ends with it.
        `place_freed` is called when the process is done with a chat, with how many it had; it must not block.
        `process_id`: by which it announces its places.
        """
        self._on_probed = on_probed
        self._place_freed = place_freed
        self._database = database
        self._gateway = make_gateway()
        self._lease_seconds = settings.chat_lease_seconds
        self._drain_seconds = drain_seconds
        self._loop = asyncio.new_event_loop()
        self._breaker = CircuitBreaker(changed=self._circuits_changed)
        self._threads = DatabaseThreads()
        self._probes = CircuitProbes(self._breaker, database, self._threads, self._probe)
        own_name = f"{socket.gethostname()}:{os.getpid()}"
        self._reporter = UpstreamReporter(database, self._breaker, self._threads, own_name)
        self._admission = CallAdmission(
            database, self._threads, dispatch_limits_of(settings), process_id or new_id(), new_id
        )
        self._calls = ModelCalls(
            self._gateway,
            self._breaker,
            CallLimits(settings.matchaai_timeout_seconds, settings.chat_retry_base_seconds),
            circuits_closed=self._probes.wake,
            record=self._reporter.record,
            admission=self._admission if self._admission.is_needed else None,
        )
        defaults = DefaultModels(database, preferred_key=settings.matchaai_default_model)
        self._completer = Completer(
            self._calls, default_instead=defaults.default_instead, switch_model=self._switch_model
        )
        writes = ChatWrites(
            database,
            lease_seconds=self._lease_seconds,
            max_attempts=settings.chat_max_attempts,
            notify=notifier.notify,
            default_key=settings.matchaai_default_model,
            blocked_scopes=lambda: blocked_scopes(self._breaker),
        )
        self._writer = BatchWriter(writes, self._loop)
        self._room = AnswerMemory()
        self._claimed_ids: set[uuid.UUID] = set()
        self._running: dict[uuid.UUID, _RunningChat] = {}
        self._draining = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chat-loop", daemon=True)
        self._heartbeat = Heartbeat(
            database,
            lease_seconds=self._lease_seconds,
            attempts=lambda: {chat_id: running.claim.attempt for chat_id, running in self._running.copy().items()},
            claimed_ids=self._claimed_ids.copy,
            on_ended=self._on_ended,
        )

    def start(self) -> None:
        """Start the loop, the writer and the heartbeat."""
        self._writer.start()
        self._thread.start()
        self._heartbeat.start()

    def run(self, chat_id: uuid.UUID) -> Finish | None:
        """Do what is left to do for a chat, if anything; returns when it is done here. For threads that may wait.

        Returns how this process ended the chat, without the answer; None where it did not.
        """
        return asyncio.run_coroutine_threadsafe(self._take(chat_id), self._loop).result()

    @property
    def running(self) -> int:
        """How many chats it has in hand."""
        return len(self._claimed_ids)

    def _circuits_changed(self) -> None:
        self._probes.notify()
        self._reporter.notify()

    @property
    def overdue_seconds(self) -> float:
        """As `Heartbeat.overdue_seconds`."""
        return self._heartbeat.overdue_seconds

    def drain(self) -> None:
        """Claim nothing more; after a while give back what is not done. Safe in a signal handler."""
        self._loop.call_soon_threadsafe(self._drain)

    def release_running(self) -> None:
        """Claim nothing more, and give back at once what is not done. Safe in a signal handler."""
        self._loop.call_soon_threadsafe(self._drain)
        self._loop.call_soon_threadsafe(self._release_running)

    def close(self) -> None:
        """Give back what is left, write what has been ordered, close the connections to the gateway."""
        if self._stopped.is_set():
            return
        self.release_running()
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._claimed_ids and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stopped.set()
        self._heartbeat.stop(within_seconds=2)  # else its connection would outlive the pool
        self._writer.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._reporter.report()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._probes.start)
        self._loop.call_soon(self._reporter.start)
        self._loop.call_soon(self._admission.start)
        self._loop.run_forever()
        self._loop.run_until_complete(self._probes.stop())
        self._loop.run_until_complete(self._reporter.stop())
        self._loop.run_until_complete(self._admission.stop())
        self._loop.run_until_complete(self._threads.finish(within_seconds=3))
        self._loop.run_until_complete(self._gateway.aclose())
        self._loop.close()

    async def _take(self, chat_id: uuid.UUID) -> Finish | None:
        if chat_id in self._claimed_ids:
            return None  # its message came twice
        self._claimed_ids.add(chat_id)
        try:
            with structlog.contextvars.bound_contextvars(chat_id=str(chat_id)):
                if self._draining:
                    await asyncio.to_thread(self._requeue, chat_id)
                    return None
                claim = await self._writer.claim(chat_id)
                if isinstance(claim, ParkedChat):
                    self._breaker.request_probe()
                elif claim is not None:
                    return await self._attempt(claim)
                return None
        finally:
            taken = len(self._claimed_ids)
            self._claimed_ids.discard(chat_id)
            self._place_freed(taken)

    async def _probe(self, chat_id: uuid.UUID) -> bool:
        """Make one call for a chat whose circuit is open; False where it is not to be had. It needs no place."""
        if self._draining or chat_id in self._claimed_ids:
            return False
        self._claimed_ids.add(chat_id)
        try:
            with structlog.contextvars.bound_contextvars(chat_id=str(chat_id)):
                claim = await self._writer.claim_probe(chat_id)
                if claim is None:
                    return False
                end = await self._attempt(claim)
                if end is not None:
                    await asyncio.to_thread(self._on_probed, end)
                return True
        finally:
            self._claimed_ids.discard(chat_id)

    async def _attempt(self, claim: ChatClaim) -> Finish | None:
        """Make one attempt, and write how it ended; returns the end of the chat, where it is one and ours."""
        with self._room.share():
            return await self._attempt_within_memory(claim)

    async def _attempt_within_memory(self, claim: ChatClaim) -> Finish | None:
        if claim.request_id is not None:
            structlog.contextvars.bind_contextvars(request_id=claim.request_id)
        call = self._loop.create_task(self._completer.attempt(claim))
        running = self._running[claim.chat_id] = _RunningChat(claim, call)
        try:
            await asyncio.wait([call])
            end = self._end_of(running)
            if end is None:
                log.info("llm_chat.call_closed", message="The chat has ended, call closed")
                return None
            written = await self._writer.write(end, retry_seconds=claim.seconds_left + self._lease_seconds)
        finally:
            del self._running[claim.chat_id]
        if not written:
            log.warning("llm_chat.fenced", message="It had ended, or is another's, nothing written")
        elif isinstance(end, Finish):
            log_result(end)
            return replace(end, answer=None)  # it is stored, and its room is given back
        elif end.code is not None:
            self._breaker.request_probe()
        return None

    def _end_of(self, running: _RunningChat) -> Finish | Release | None:
        """What to write of an attempt; None where it is not ours to write."""
        claim, call = running.claim, running.call
        if not call.cancelled():
            return call.result()
        return Release(claim.chat_id, claim.attempt) if running.releasing else None

    async def _switch_model(self, switch: SwitchModel) -> bool:
        return await self._writer.write(switch, retry_seconds=SWITCH_SECONDS)

    def _requeue(self, chat_id: uuid.UUID) -> None:
        try:
            with self._database.transaction() as connection:
                dispatch.take_back(connection, [chat_id], seconds=0)
        except DatabaseFailure as error:
            log.warning("llm_chat.not_written", message="PostgreSQL is away", error=str(error))

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        log.info("llm_chat.draining", message="Finishing calls", calls=len(self._running))
        self._calls.shutdown()
        self._loop.call_later(self._drain_seconds, self._release_running)

    def _release_running(self) -> None:
        if self._running:
            log.warning("llm_chat.given_back", message="Calls given back to the queue", calls=len(self._running))
        self._writer.limit_retries(3.0)
        for running in self._running.values():
            running.releasing = True
            running.call.cancel()

    def _on_ended(self, ended: dict[uuid.UUID, int]) -> None:
        self._loop.call_soon_threadsafe(self._close_ended, ended)

    def _close_ended(self, ended: dict[uuid.UUID, int]) -> None:
        for chat_id, attempt in ended.items():
            running = self._running.get(chat_id)
            if running is not None and running.claim.attempt == attempt:
                running.call.cancel()
