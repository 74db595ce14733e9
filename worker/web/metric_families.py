"""The families of `/metrics`: their names, what they say, and their labels, made of figures that somebody has read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from shared import system_status
from shared.chat import counting, figures
from shared.chat.wait_figures import WaitFigures
from shared.redis_store import KINDS_OF_WORKERS
from shared.upstream_health import UpstreamHealth
from shared.vocabulary import ENDED_RUNS, FALLBACK_REASONS, GATEWAY_ERROR_CODES

Samples = Mapping[Any, float]
"""Values by their labels, which are tuples of texts."""


def up(server: str, responds: bool) -> Metric:
    """Whether one of our servers answered this scrape."""
    return _gauge(f"{server}_up", "Whether it answered this scrape", int(responds))


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
        "How long the oldest queued chat has waited, without those that wait for MatchaAI and lines of batches",
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


def of_waits(waits: WaitFigures) -> Iterator[Metric]:
    """The families of waiting, by class. No label names a caller."""
    family = HistogramMetricFamily(
        "llm_refresh_chat_wait_seconds", "Seconds that ended chats had waited for their first turn", labels=("class",)
    )
    for chat_class, numbers in waits.buckets.items():
        family.add_metric([chat_class], _cumulative(numbers), waits.wait_ms[chat_class] / 1000)
    yield family
    yield _gauge(
        "chat_longest_wait_seconds",
        "How long the oldest chat has waited that waits for its turn",
        {(chat_class,): seconds for chat_class, seconds in waits.longest_seconds.items()},
        ("class",),
    )
    yield _gauge(
        "chat_places",
        "Calls that the living chat processes can make at once, and chats that have such a place",
        {("all",): waits.places, ("taken",): waits.places_taken},
        ("state",),
    )
    yield _gauge("callers_waiting", "Callers with a chat that waits for its turn", waits.callers_waiting)


def of_upstream(health: UpstreamHealth) -> Iterator[Metric]:
    """The families of MatchaAI's health, by what calls experience. While it has never answered, no moment says so."""
    yield _gauge(
        "upstream_up",
        "0 while the last calls of MatchaAI failed or a circuit is open in any process",
        int(health.is_up),
    )
    yield _gauge(
        "upstream_key_refused",
        "1 while MatchaAI is down or degraded, and the last failure was that it refused the key",
        int(health.refuses_key),
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
    family.add_metric([], _cumulative(usage_figures.buckets), usage_figures.latency_ms / 1000)
    return family


def _cumulative(buckets: Sequence[int]) -> list[tuple[str, float]]:
    """Numbers by BUCKETS_MS, as Prometheus has them: each bound with all that is below."""
    bounds = ["+Inf" if bound is None else str(bound / 1000) for bound in (*counting.BUCKETS_MS, None)]
    return list(zip(bounds, map(float, accumulate(buckets)), strict=True))


def of_dispatch(failed_turns: int) -> Metric:
    """How often chat processes could not give free places to the chats that wait."""
    says = "Turns of the dispatchers of chat processes that failed"
    return _counter("dispatch_turns_failed", says, (), {(): failed_turns})


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
