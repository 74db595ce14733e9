"""`/metrics`: what PostgreSQL and Redis know, read at scrape time, and how long requests took in all web processes."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared import system_status
from shared.chat import figures
from shared.chat.wait_figures import wait_figures
from shared.db import DatabaseFailure
from shared.redis_store import RedisUnavailable
from shared.upstream_health import read_health
from worker.runtime import Runtime
from worker.web.access_log import HttpExchange
from worker.web.auth import Authenticator
from worker.web.disk_room import DiskRoom
from worker.web.metric_families import (
    of_catalogue,
    of_chats,
    of_disks,
    of_dispatch,
    of_sharing,
    of_upstream,
    of_waits,
    of_workers,
    up,
)
from worker.web.problems import Problem
from worker.web.routing import READERS, PlainRequest, Route

log = structlog.get_logger(__name__)

MAX_LABEL_SETS = 400
"""More than there are routes with their statuses; what is beyond counts together. FILE_BYTES has room for them."""
SCRAPE_SECONDS = 5
_METHODS = frozenset(("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"))
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25)


class RequestTimes:
    """How long requests took, until the head of the answer; for all processes that share a folder, else for this one.

    Labels are bounded: the route's template and not the path, known methods.
    """

    def __init__(self, folder: str | None) -> None:
        """`folder` is what metrics_files.FOLDER held when prometheus_client was loaded."""
        self._folder = folder
        self._own = CollectorRegistry()
        self._seconds = Histogram(
            "llm_refresh_http_request_seconds",
            "Seconds until the head of the answer, by route",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._own,
        )
        self._children: dict[tuple[str, str, int], Any] = {}  # labels() looks each up anew: half of an observation

    @property
    def shared(self) -> bool:
        """Whether the requests of all processes are added up."""
        return self._folder is not None

    def collector(self) -> Collector:
        """What has been timed, in all processes."""
        return self._own if self._folder is None else MultiProcessCollector(None, path=self._folder)

    def observe(self, exchange: HttpExchange) -> None:
        """Note one request."""
        method = exchange.method
        labels = (method if method in _METHODS else system_status.OTHER, exchange.route, exchange.status)
        child = self._children.get(labels)
        if child is None:
            if len(self._children) >= MAX_LABEL_SETS:
                labels = (system_status.OTHER, system_status.OTHER, 0)
            child = self._children[labels] = self._seconds.labels(*labels)
        child.observe(exchange.seconds)


@dataclass(frozen=True)
class MetricsRoutes:
    """The handler of `/metrics`, with what it works with."""

    runtime: Runtime
    authenticator: Authenticator
    times: RequestTimes
    disks: DiskRoom

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/metrics",
                self.metrics,
                "Figures for Prometheus; operator, service_role, or their own token",
                roles=None,
                returns={200: None},
                media_type="text/plain",
            ),
        ]

    def metrics(self, call: PlainRequest) -> Response:
        self._authorize_scrape(request.headers.get("Authorization"))
        registry = CollectorRegistry()
        for collector in (
            _Families(self._database()),
            _Families(self._redis()),
            _Families([of_sharing(self.times.shared)]),
            _Families(of_disks(self.disks.figures())),
            self.times.collector(),
        ):
            registry.register(collector)
        response = Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _authorize_scrape(self, authorization: str | None) -> None:
        token = self.runtime.settings.metrics_token
        token_bytes = (authorization or "").partition(" ")[2].strip().encode()
        if token is not None and hmac.compare_digest(token_bytes, token.get_secret_value().encode()):
            return
        g.caller = self.authenticator.caller(authorization)
        if g.caller.role not in READERS:
            raise Problem(
                403, "forbidden", "metrics take the role operator or service_role, or the token that was set for them"
            )

    def _database(self) -> Iterator[Metric]:
        """While PostgreSQL is away its figures are absent, and one says why: a scrape never fails for it."""
        try:
            with self.runtime.database.transaction(timeout_seconds=SCRAPE_SECONDS) as connection:
                catalogue, chats = system_status.of_catalogue(connection), figures.figures(connection)
                keys = system_status.known_keys(connection, sorted({key for key, _ in chats.outcomes}))
                health = read_health(connection)
                waits = wait_figures(connection)
        except DatabaseFailure as error:
            log.warning("llm_metrics.without_database", error=str(error))
            yield up("postgresql", False)
            return
        yield up("postgresql", True)
        yield from of_catalogue(catalogue, stale_after=self.runtime.cadence.stale_after)
        yield from of_chats(chats, keys)
        yield from of_waits(waits)
        yield from of_upstream(health)

    def _redis(self) -> Iterator[Metric]:
        try:
            self.runtime.store.check_writes()  # a full Redis answers, and no worker can say there that it is alive
            alive = self.runtime.store.alive()
            failed_turns = self.runtime.store.failed_dispatch_turns()
        except RedisUnavailable:
            yield up("redis", False)
            return
        yield up("redis", True)
        yield of_workers(alive)
        yield of_dispatch(failed_turns)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return ()  # they are registered for one scrape: no names to guard
