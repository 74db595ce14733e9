"""Sends events to endpoints: many at once, so that one that hangs holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from ssl import SSLContext
from typing import Any, Final

import aiohttp
import sqlalchemy as sa
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.certificates import ssl_context
from shared.connections import look_up
from shared.db import Database, DatabaseFailure
from shared.notices.news import DisabledEndpoint
from shared.notices.post import PostOutcome, post_signed
from shared.webhooks import deliveries, endpoints
from shared.webhooks.deliveries import DueDelivery
from shared.webhooks.destinations import guarded_socket

log = structlog.get_logger(__name__)

DEADLINE_SECONDS: Final = 15.0
"""For one attempt, however slowly the endpoint answers."""
MAX_IN_FLIGHT: Final = 48
"""So many deliveries are under way at once, in one process."""
MAX_PER_ENDPOINT: Final = 4
"""And so many of them to one endpoint."""
MAX_PROBES: Final = 16
"""Beside them, so many to endpoints that fail: those take no places from others."""
POLL_SECONDS: Final = 1.0
"""How often it looks for what is due while deliveries are under way."""
TURN_PAUSE_SECONDS: Final = 0.02
RECORDERS: Final = 2
"""So many results are written at once: the connections are the process's."""
LOOK_UP_SECONDS: Final = 5.0

RecordDisabled = Callable[[sa.Connection, DisabledEndpoint], None]


def record_nobody(connection: sa.Connection, endpoint: DisabledEndpoint) -> None:
    """Nobody gets notices: none is written."""


class EventSender:
    """Sends what is due. Several processes may: one at a time has a delivery, and it may arrive twice."""

    def __init__(
        self,
        database: Database,
        *,
        local: bool,
        now: Callable[[], datetime],
        record_disabled: RecordDisabled = record_nobody,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """`local`: endpoints may be on loopback. `record_disabled` writes the notice of one that is switched off."""
        self._database = database
        self._local = local
        self._now = now
        self._record_disabled = record_disabled
        self._deadline_seconds = deadline_seconds
        self._lease_seconds = deadline_seconds + 5
        self._busy: Counter[uuid.UUID] = Counter()
        self._probes = 0

    @cached_property
    def _certificates(self) -> SSLContext:
        return ssl_context()

    def send_due(self) -> None:
        """Send what is due, and what becomes due meanwhile, until nothing is. No transaction is open meanwhile.

        Raises DatabaseFailure.
        """
        due = self._take()
        if due:
            asyncio.run(self._send_all(due))

    def disable_failing(self) -> None:
        """Switch off endpoints that failed for three days, end what nobody will send, forget old secrets.

        Raises DatabaseFailure.
        """
        with self._database.transaction() as connection:
            disabled = deliveries.disable_failing(connection)
            for endpoint in disabled:
                self._record_disabled(connection, endpoint)
            endpoints.forget_previous_secrets(connection)
            given_up = deliveries.end_undeliverable(connection, grace_seconds=4 * self._lease_seconds)
        for endpoint in disabled:
            _log_disabled(endpoint)
        if given_up:
            log.error("llm_webhook.given_up", message="Webhook events given up", deliveries=given_up)

    def _take(self) -> list[DueDelivery]:
        with self._database.transaction() as connection:
            return deliveries.take(
                connection,
                limit=MAX_IN_FLIGHT - self._busy.total(),
                probes=MAX_PROBES - self._probes,
                each=MAX_PER_ENDPOINT,
                lease_seconds=self._lease_seconds,
                busy=self._busy,
            )

    async def _send_all(self, due: list[DueDelivery]) -> None:
        freed = asyncio.Event()
        under_way: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_IN_FLIGHT + MAX_PROBES + RECORDERS))
        recorders = asyncio.Semaphore(RECORDERS)

        def ended(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            freed.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("llm_webhook.failed", message="A webhook event was not sent", exc_info=error)

        connector = aiohttp.TCPConnector(
            ssl=self._certificates,
            resolver=_Resolver(),
            socket_factory=guarded_socket(local=self._local),
            use_dns_cache=False,
            force_close=True,
            limit=0,
        )
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            # What ended while it looked may have made room for more than it found.
            while due or under_way or freed.is_set():
                for delivery in due:
                    self._count(delivery, 1)
                    task = asyncio.create_task(self._deliver(session, delivery, recorders))
                    under_way.add(task)
                    task.add_done_callback(ended)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(freed.wait(), POLL_SECONDS)
                await asyncio.sleep(TURN_PAUSE_SECONDS)
                freed.clear()
                due = await self._take_more()

    async def _take_more(self) -> list[DueDelivery]:
        try:
            return await asyncio.to_thread(self._take)
        except DatabaseFailure as error:  # the next turn of the duty says it again, where it stays so
            log.warning("llm_webhook.not_read", message="PostgreSQL is away", error=str(error))
            return []

    async def _deliver(
        self, session: aiohttp.ClientSession, delivery: DueDelivery, recorders: asyncio.Semaphore
    ) -> None:
        try:
            outcome = await self._post(session, delivery)
            async with recorders:
                await asyncio.to_thread(self._record, delivery, outcome)
        except DatabaseFailure as error:  # sent again after its lease, with the same id
            log.warning("llm_webhook.not_recorded", message="PostgreSQL is away", error=str(error))
        finally:
            self._count(delivery, -1)

    async def _post(self, session: aiohttp.ClientSession, delivery: DueDelivery) -> PostOutcome:
        if not self._local and not delivery.url.startswith("https://"):  # registered while the mode was local
            return PostOutcome(None, "nothing was sent: production sends over https alone")
        return await post_signed(
            session,
            delivery.url,
            delivery.body,
            secrets=delivery.secrets,
            message_id=delivery.event_id,
            timestamp=int(self._now().timestamp()),
            deadline_seconds=self._deadline_seconds,
        )

    def _count(self, delivery: DueDelivery, number: int) -> None:
        if delivery.is_probe:
            self._probes += number
        else:
            self._busy[delivery.endpoint_id] += number
            self._busy = +self._busy

    def _record(self, delivery: DueDelivery, outcome: PostOutcome) -> None:
        disabled = None
        with self._database.transaction() as connection:
            if outcome.error is None:
                deliveries.record_delivered(connection, delivery, outcome.status)
                given_up = False
            else:
                given_up, disabled = deliveries.record_failed(connection, delivery, outcome)
            if disabled is not None:
                self._record_disabled(connection, disabled)
        _log_outcome(delivery, outcome, given_up=given_up)
        if disabled is not None:
            _log_disabled(disabled)


class _Resolver(AbstractResolver):
    """Looks names up within a limit: the C library's resolver knows none."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            numbers = await asyncio.to_thread(look_up, host, LOOK_UP_SECONDS)
        except TimeoutError:
            raise OSError("the name was not resolved in time") from None
        return [
            ResolveResult(
                hostname=host,
                host=number,
                port=port,
                family=socket.AF_INET6 if ":" in number else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for number in numbers
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def _log_outcome(delivery: DueDelivery, outcome: PostOutcome, *, given_up: bool) -> None:
    fields: dict[str, Any] = {
        "delivery_id": str(delivery.id),
        "endpoint_id": str(delivery.endpoint_id),
        "type": delivery.type,
        "attempts": delivery.attempts,
        "status": outcome.status,
    }
    if outcome.error is None:
        log.info("llm_webhook.delivered", message="Webhook event delivered", **fields)
    elif given_up:
        log.error("llm_webhook.given_up", message="Webhook event given up", why=outcome.error, **fields)
    else:
        log.warning("llm_webhook.refused", message="Webhook event not delivered yet", why=outcome.error, **fields)


def _log_disabled(endpoint: DisabledEndpoint) -> None:
    log.error(
        "llm_webhook.disabled",
        message="Webhook endpoint switched off",
        endpoint_id=str(endpoint.id),
        subject=endpoint.subject,
        reason=endpoint.reason,
        why=endpoint.last_error,
    )
