"""Writes down what calls to the gateway experience: at most twice a second, and nothing for each chat."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog

from shared.background import AsyncBackgroundLoop
from shared.chat.circuit_breaker import CircuitBreaker
from shared.db import Database, DatabaseFailure
from shared.gateway.client import GatewayClient, UpstreamList
from shared.gateway.errors import GatewayError
from shared.gateway.health import LIST_TARGET, CallTallies
from shared.upstream_health import ALL_TARGETS, CircuitReport, report_calls, report_circuits
from worker.chat.database_threads import DatabaseThreads

log = structlog.get_logger(__name__)

REPORT_SECONDS = 2.0
"""How often successes are written, while there are any, and open circuits repeated."""
AT_MOST_EVERY_SECONDS = 0.5


class UpstreamReporter:
    """Reports for one chat process. Its methods belong to the event loop where it is started, but for `report`."""

    def __init__(
        self,
        database: Database,
        breaker: CircuitBreaker,
        threads: DatabaseThreads,
        process: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`process` names this process among all: no two have the same at the same time."""
        self._database = database
        self._breaker = breaker
        self._threads = threads
        self._process = process
        self._clock = clock
        self._tallies = CallTallies()
        self._reported: tuple[CircuitReport, ...] = ()
        self._urgent = asyncio.Event()
        self._loop = AsyncBackgroundLoop(
            "upstream-reporter",
            self._report_next,
            event="llm_chat.health_not_written",
            message="What calls of MatchaAI experienced is not written",
        )

    def record(self, model: int, error: GatewayError | None) -> None:
        """Note how a completion ended."""
        self._tallies.record(str(model), error, self._clock())
        if error is not None:
            self._urgent.set()

    def notify(self) -> None:
        """A circuit has opened or closed."""
        self._urgent.set()

    def start(self) -> None:
        """Report until `stop`."""
        self._loop.start()

    async def stop(self) -> None:
        """Begin no more reports; one under way goes on in its thread."""
        await self._loop.stop()

    async def _report_next(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS):
                await self._urgent.wait()
        self._urgent.clear()
        await self._threads.run(self.report, _reports_of(self._breaker))
        await asyncio.sleep(AT_MOST_EVERY_SECONDS)

    def report(self, circuits: Sequence[CircuitReport] = ()) -> None:
        """Write what is new. What PostgreSQL does not take is written with the next report."""
        tallies = self._tallies.take()
        if not tallies and not circuits and not self._reported:
            return
        try:
            with self._database.transaction(timeout_seconds=5) as connection:
                if tallies:
                    report_calls(connection, tallies, self._clock())
                if circuits or self._reported:
                    report_circuits(connection, self._process, circuits)
        except DatabaseFailure as error:
            self._tallies.put_back(tallies)
            log.warning("llm_chat.health_not_written", message="PostgreSQL is away", error=str(error))
        else:
            self._reported = tuple(circuits)


def _reports_of(breaker: CircuitBreaker) -> list[CircuitReport]:
    """The open circuits without their callers: of several callers' ones for the same model, the oldest.

    A gateway that asks for a pause is not down.
    """
    reports: dict[tuple[str, bool], CircuitReport] = {}
    for circuit in (each for each in breaker.open_circuits if not each.is_pause):
        scope = circuit.scope
        target = ALL_TARGETS if scope.model is None else str(scope.model)
        report = CircuitReport(target, scope.subject is not None, breaker.now() - circuit.opened_at, circuit.code)
        earlier = reports.get((target, report.one_caller))
        if earlier is None or earlier.opened_seconds_ago < report.opened_seconds_ago:
            reports[target, report.one_caller] = report
    return list(reports.values())


class ReportingGateway(GatewayClient):
    """A client whose list calls are reported, each at once: they are few."""

    def __init__(self, database: Database, *, base_url: str, api_key: str) -> None:
        super().__init__(base_url=base_url, api_key=api_key)
        self._database = database

    async def list_models(self, *, deadline_seconds: float, request_id: str | None = None) -> UpstreamList:
        """As `GatewayClient.list_models`."""
        try:
            listing = await super().list_models(deadline_seconds=deadline_seconds, request_id=request_id)
        except GatewayError as error:
            await asyncio.to_thread(self._report, error)
            raise
        await asyncio.to_thread(self._report, None)
        return listing

    def _report(self, error: GatewayError | None) -> None:
        tallies, now = CallTallies(), time.monotonic()
        tallies.record(LIST_TARGET, error, now)
        try:
            with self._database.transaction(timeout_seconds=3) as connection:
                report_calls(connection, tallies.take(), now)
        except DatabaseFailure as problem:  # the refresh goes on: whether it can be written is its own matter
            log.warning("llm_refresh.health_not_written", message="PostgreSQL is away", error=str(problem))
