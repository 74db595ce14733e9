"""`/metrics`: what PostgreSQL and Redis know, read at scrape time, and how long requests took in all web processes."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from flask import Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared import system_status
from shared.chat import counting, figures
from shared.db import DatabaseFailure
from shared.redis_store import RedisUnavailable
from shared.upstream_health import UpstreamHealth, read_health
from shared.vocabulary import ENDED_RUNS, FALLBACK_REASONS, GATEWAY_ERROR_CODES
from worker.doctor.disks import folders, noted_state, room
from worker.runtime import Runtime
from worker.web.access_log import Answered
from worker.web.auth import Authenticator
from worker.web.problems import Problem
from worker.web.routing import READERS, PlainRequest, Route

log = structlog.get_logger(__name__)

MAX_LABEL_SETS = 400
"""More than there are routes with their statuses; what is beyond counts together. FILE_BYTES has room for them."""
KINDS_OF_WORKERS = ("refresh", "chat", "beat")
SCRAPE_SECONDS = 5
Samples = Mapping[Any, float]
"""Values by their labels, which are tuples of texts."""
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

    def observe(self, answered: Answered) -> None:
        """Note one request."""
        method = answered.method
        labels = (method if method in _METHODS else system_status.OTHER, answered.route, answered.status)
        child = self._children.get(labels)
        if child is None:
            if len(self._children) >= MAX_LABEL_SETS:
                labels = (system_status.OTHER, system_status.OTHER, 0)
            child = self._children[labels] = self._seconds.labels(*labels)
        child.observe(answered.seconds)


@dataclass(frozen=True)
class MetricsRoutes:
    """The handler of `/metrics`, with what it works with."""

    runtime: Runtime
    authenticator: Authenticator
    times: RequestTimes

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
            _Families(self._disks()),
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
        except DatabaseFailure as error:
            log.warning("llm_metrics.without_database", error=str(error))
            yield up("postgresql", False)
            return
        yield up("postgresql", True)
        yield from of_catalogue(catalogue, stale_after=self.runtime.cadence.stale_after)
        yield from of_chats(chats, keys)
        yield from of_upstream(health)

    def _redis(self) -> Iterator[Metric]:
        try:
            self.runtime.store.check_writes()  # a full Redis answers, and no worker can say there that it is alive
            alive = self.runtime.store.alive()
        except RedisUnavailable:
            yield up("redis", False)
            return
        yield up("redis", True)
        yield of_workers(alive)

    def _disks(self) -> Iterator[Metric]:
        settings = self.runtime.settings
        try:
            figures = room(folders(settings, os.environ, noted_state(settings.llm_refresh_home)))
        except OSError as error:
            log.warning("llm_metrics.without_disks", error=error.strerror)
            return
        yield from of_disks(figures)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return ()  # they are registered for one scrape: no names to guard


def up(server: str, answered: bool) -> Metric:
    """Whether one of our servers answered this scrape."""
    return _gauge(f"{server}_up", "Whether it answered this scrape", int(answered))


def of_sharing(shared: bool) -> Metric:
    """Whether figures of requests are those of all web processes."""
    says = (
        "1: figures of requests are of all web processes; 0: there was no room on the disk, they are of the one asked"
    )
    return _gauge("web_metrics_shared", says, int(shared))


def of_disks(figures: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    """The room on the disks of this machine. `figures`: folder -> free and all bytes."""
    free = {(folder,): numbers[0] for folder, numbers in figures.items()}
    size = {(folder,): numbers[1] for folder, numbers in figures.items()}
    yield _gauge("disk_free_bytes", "Bytes that are free on the disk of a folder that is written to", free, ("folder",))
    yield _gauge("disk_size_bytes", "Bytes of the disk of a folder that is written to", size, ("folder",))


def of_catalogue(catalogue: system_status.CatalogueFigures, *, stale_after: timedelta) -> Iterator[Metric]:
    """The families of the catalogue. `stale_after`: the age at which it is stale."""
    yield _counter("sync_runs", "Attempts at a sync that ended", ("status", "trigger"), catalogue.runs)
    last = {(status,): int(status == catalogue.last_run) for status in ENDED_RUNS}
    yield _gauge("last_run", "1 for the status of the run that ended last", last, ("status",))
    yield _gauge("failed_in_a_row", "Attempts that failed since the last good sync", catalogue.failed_in_a_row)
    yield _gauge("catalogue_age_seconds", "Seconds since the last good sync", catalogue.age_seconds)
    yield _gauge(
        "catalogue_age_allowed_seconds",
        "The age at which the listing is stale: it follows REFRESH_CRON",
        stale_after.total_seconds(),
    )
    yield _gauge("undecided_holds", "1 while a held list waits to be applied or dismissed", catalogue.undecided_holds)
    yield _gauge("models", "Model rows", catalogue.models, ("state", "provider"))
    changes = {(kind,): number for kind, number in catalogue.changes.items()}
    yield _counter("model_changes", "Lines of the ledger", ("kind",), changes)
    yield _counter(
        "default_promotions", "Defaults that a sync put in the place of a lost one", (), {(): catalogue.promotions}
    )
    yield _gauge("notices_waiting", "Notices not delivered yet", catalogue.notices_waiting)


def of_chats(usage_figures: figures.Figures, keys: set[str]) -> Iterator[Metric]:
    """The families of chats. `keys`: those that may stand in a label."""
    outcomes: dict[tuple[str, str], int] = {}
    for (key, outcome), number in usage_figures.outcomes.items():
        labels = (key if key in keys else system_status.OTHER, outcome)
        outcomes[labels] = outcomes.get(labels, 0) + number
    yield _counter("chats", "Chats that ended", ("model", "outcome"), outcomes)
    yield _counter(
        "chat_fallbacks",
        "Ended chats that another model than the asked one had",
        ("reason", "requested"),
        _fallbacks(usage_figures),
    )
    yield _gauge(
        "chats_open",
        "Chats that have not ended",
        {(status,): n for status, n in usage_figures.open.items()},
        ("status",),
    )
    yield _gauge(
        "chat_oldest_queued_seconds",
        "How long the oldest queued chat has waited, of those that do not wait for MatchaAI",
        usage_figures.oldest_queued_seconds,
    )
    yield _gauge(
        "chats_waiting",
        "Queued chats that wait for something but their turn",
        {("upstream",): usage_figures.waiting_for_upstream},
        ("reason",),
    )
    yield _gauge(
        "chats_past_deadline",
        f"Open chats more than {figures.OVERDUE_SECONDS:g} s past their deadline",
        usage_figures.past_deadline,
    )
    yield _upstream(usage_figures)


def of_upstream(health: UpstreamHealth) -> Iterator[Metric]:
    """The families of MatchaAI's health, by what calls experience. While it has never answered, no moment says so."""
    yield _gauge(
        "upstream_up",
        "0 while the last calls of MatchaAI failed or a circuit is open in any process",
        int(health.is_up),
    )
    moment = health.last_success_at
    yield _gauge(
        "upstream_last_success_timestamp_seconds",
        "When MatchaAI last answered a call",
        {} if moment is None else moment.timestamp(),
    )
    codes = {(code,): health.failures.get(code, 0) for code in GATEWAY_ERROR_CODES}
    yield _counter("upstream_failures", "Calls of MatchaAI that failed or were refused", ("code",), codes)


def _fallbacks(usage_figures: figures.Figures) -> dict[tuple[str, str], int]:
    """(reason, what was asked for) -> chats. Chats that ended before it was counted what they asked for are others."""
    numbers = dict(usage_figures.requested)
    for reason in FALLBACK_REASONS:
        counted = sum(number for (why, _), number in numbers.items() if why == reason)
        rest = max(0, usage_figures.fallbacks.get(reason, 0) - counted)
        numbers[reason, system_status.OTHER] = numbers.get((reason, system_status.OTHER), 0) + rest
    return numbers


def _upstream(usage_figures: figures.Figures) -> Metric:
    family = HistogramMetricFamily("llm_refresh_upstream_seconds", "Seconds that answers of MatchaAI took")
    total, buckets = 0, []
    for bound, number in zip((*counting.BUCKETS_MS, None), usage_figures.buckets, strict=True):
        total += number
        buckets.append(("+Inf" if bound is None else str(bound / 1000), float(total)))
    family.add_metric([], buckets, usage_figures.latency_ms / 1000)
    return family


def of_workers(alive: Mapping[str, int]) -> Metric:
    """Who has said within seconds that it is there. A kind that is missing is a zero, not a gap."""
    counts = {(kind,): alive.get(kind, 0) for kind in KINDS_OF_WORKERS}
    return _gauge("workers_alive", "Processes that say they are alive, by queue; beat beside them", counts, ("queue",))


def _gauge(name: str, says: str, values: float | Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(f"llm_refresh_{name}", says, labels=labels)
    for key, value in values.items() if isinstance(values, Mapping) else [((), values)]:
        family.add_metric(key, value)
    return family


def _counter(name: str, says: str, labels: tuple[str, ...], values: Samples) -> Metric:
    family = CounterMetricFamily(f"llm_refresh_{name}", says, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
