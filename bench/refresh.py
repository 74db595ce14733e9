"""A refresh of 27, 1,000 and 10,000 models, against COPY plus INSERT … ON CONFLICT written by hand."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from bench.figures import Aim, Figure
from bench.models import InHand, entries, with_changes
from bench.place import Place, alone
from bench.processes import cpu_of_one, peak_megabytes
from harness.stand_in import RunningStandIn
from shared.catalogue.facts import names, spelling
from shared.catalogue.facts.describer import ModelDescriber
from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.facts.providers import provider_of, provider_of_words
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.parse import parse_entries
from shared.catalogue.sync.plan import Policy, plan_sync
from shared.catalogue.sync.refresh import Refresher
from shared.catalogue.sync.rows import ModelRow
from shared.catalogue.sync.sources import Sources
from shared.clock import new_id
from shared.db import SYSTEM, Caller, Database
from shared.gateway.client import GatewayClient

POLICY = Policy(default_key="claude-3-7-sonnet")
NEW, UNCHANGED = Aim(2.0), Aim(0.7)
MAX_MEGABYTES = Aim(150)

COLUMNS = (
    "matcha_llm_id, model_name, model_key, provider, capabilities, is_active, is_default, display_order,"
    " missed_syncs, last_missed_at, overrides, provenance, last_synced_at"
)
_UPDATED = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ") if name != "matcha_llm_id")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that passed, and seconds of CPU that this process and PostgreSQL's for the connection took."""

    wall: float
    cpu: float


class _Meter:
    """Measures what is done between two readings with one connection."""

    def __init__(self, backend_pid: int) -> None:
        self._backend_pid = backend_pid
        self._began = self._now()

    def read(self) -> Spent:
        now = self._now()
        return Spent(now.wall - self._began.wall, now.cpu - self._began.cpu)

    def _now(self) -> Spent:
        return Spent(time.perf_counter(), time.process_time() + cpu_of_one(self._backend_pid))


class _MeteredDatabase(Database):
    """Remembers what the last transaction took, from before it began until it was committed."""

    def __init__(self, url: str) -> None:
        super().__init__(url, application_name="bench", pool_size=1)
        self.last: Spent | None = None
        with self.engine.connect() as connection:
            self._backend_pid: int = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

    @contextmanager
    def transaction(self, caller: Caller | None = SYSTEM, *, timeout_seconds: float = 15) -> Iterator[Connection]:
        meter = _Meter(self._backend_pid)
        with super().transaction(caller, timeout_seconds=timeout_seconds) as connection:
            yield connection
        self.last = meter.read()


class Catalogue:
    """A refresher on a database, with a list in hand; a context manager."""

    def __init__(self, url: str, sources: Sources | None = None) -> None:
        self.database = _MeteredDatabase(url.replace("postgresql://", "postgresql+psycopg://", 1))
        self.in_hand = InHand()
        describer = ModelDescriber(load_mapping())
        self.refresher = Refresher(
            database=self.database,
            sources=sources or self.in_hand,
            describe=describer.load,
            policy=POLICY,
            ids=new_id,
            rules=lambda: describer.digest(POLICY),
        )

    def refresh(self, listed: Sequence[object] | None = None) -> tuple[Spent, float]:
        """Refresh from this list, or from the other source.

        Returns what the transaction took that plans and applies, and the seconds of the whole run.
        """
        if listed is not None:
            self.in_hand.hold(listed)
        run_id, _, _ = self.refresher.queue.request(RefreshOptions(), trigger="cli", actor="bench")
        began = time.perf_counter()
        outcome = self.refresher.perform(run_id)
        took = time.perf_counter() - began
        assert outcome.status == "succeeded", outcome
        assert self.database.last is not None
        return self.database.last, took

    def preview(self, listed: Sequence[object]) -> None:
        """Plan from this list, and write nothing."""
        self.in_hand.hold(listed)
        self.refresher.preview(RefreshOptions())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.dispose()


def by_hand(connection: psycopg.Connection[Any], rows: Sequence[ModelRow]) -> Spent:
    """Write these rows as one would who has nothing else to do."""
    meter = _Meter(connection.info.backend_pid)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE incoming (LIKE llm_models INCLUDING DEFAULTS) ON COMMIT DROP")
        with cursor.copy(f"COPY incoming ({COLUMNS}) FROM STDIN") as copy:
            now = datetime.now(UTC)
            for row in rows:
                copy.write_row(
                    (
                        row.matcha_llm_id,
                        row.model_name,
                        row.model_key,
                        row.provider,
                        Jsonb(row.capabilities),
                        row.is_active,
                        row.is_default,
                        row.display_order,
                        row.missed_syncs,
                        row.last_missed_at,
                        Jsonb(row.overrides),
                        Jsonb(row.provenance),
                        now,
                    )
                )
        cursor.execute(
            f"INSERT INTO llm_models ({COLUMNS}) SELECT {COLUMNS} FROM incoming"
            f" ON CONFLICT (matcha_llm_id) DO UPDATE SET {_UPDATED}".encode()
        )
    return meter.read()


def rows_of(listed: Sequence[object]) -> list[ModelRow]:
    """The rows that a refresh makes of a list on an empty table."""
    describe = ModelDescriber(load_mapping()).load()
    return list(plan_sync([], parse_entries(listed), describe, POLICY, datetime.now(UTC)).written.values())


def run(place: Place) -> Iterator[Figure]:
    """Ours is the transaction that reads, plans, guards, applies, writes the ledger and closes the run; the fetch and
    the claim lie before it. The other form gets its rows ready made, writes no ledger, and does so as superuser, whom
    no policy holds up. Both ways are shown, by the clock and by CPU, which others on the machine disturb less."""
    for number in (27, 1_000) if place.quick else (27, 1_000, 10_000):
        yield from _of_size(place, number, repetitions=place.choose(9 if number < 10_000 else 5, 2))
    yield from _whole(place)


def _of_size(place: Place, number: int, repetitions: int) -> Iterator[Figure]:
    listed = entries(number)
    changed = with_changes(listed)
    nights: tuple[_Night, ...] = (
        _Night("new", listed, rows_of(listed), NEW),
        _Night("unchanged", listed, rows_of(listed), UNCHANGED),
        _Night("unchanged, in another order", listed[::-1], rows_of(listed[::-1]), UNCHANGED),
        _Night("1 % changed", changed, rows_of(changed), None),
    )
    for repetition in range(repetitions):
        place.say(f"refresh of {number:,}, repetition {repetition + 1} of {repetitions}")
        with (
            place.servers.database() as database,
            place.servers.database() as beside,
            Catalogue(database.url) as catalogue,
            psycopg.connect(beside.superuser_url, autocommit=True) as connection,
        ):
            catalogue.preview([])  # connected, as the other is, and with all that is loaded once a process
            for cache in (spelling.ordered_words, names.words, names.bare_words, provider_of, provider_of_words):
                cache.cache_clear()  # the names are new as well
            for night in nights:
                spent, whole = catalogue.refresh(night.listed)
                night.ours.append(spent)
                night.wholes.append(whole)
                night.other.append(by_hand(connection, night.rows))
    for night in nights:
        yield from night.figures(f"{number:,} models, {night.what}")


@dataclass
class _Night:
    what: str
    listed: Sequence[object]
    rows: Sequence[ModelRow]
    aim: Aim | None
    ours: list[Spent] = field(default_factory=list)
    other: list[Spent] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)

    def figures(self, name: str) -> Iterator[Figure]:
        for how, unit, seconds in (("", "ms", _wall), (": CPU", "ms", _cpu)):
            ours, other = ([seconds(spent) * 1000 for spent in each] for each in (self.ours, self.other))
            yield Figure("refresh", f"{name}{how}", unit, tuple(ours), tuple(other), self.aim)
        yield Figure("refresh", f"{name}: whole run but its fetch", "ms", tuple(each * 1000 for each in self.wholes))


def _wall(spent: Spent) -> float:
    return spent.wall


def _cpu(spent: Spent) -> float:
    return spent.cpu


def _whole(place: Place) -> Iterator[Figure]:
    number = place.choose(10_000, 1_000)
    took, peaks = defaultdict[str, list[float]](list), list[float]()
    with RunningStandIn(models=entries(number)) as gateway:
        for _ in range(place.choose(3, 1)):
            with place.servers.database() as database:
                result = alone("bench.refresh:whole", url=database.url, gateway=gateway.url, key=gateway.api_key)
            peaks.append(result["peak_megabytes"])
            for what in ("new", "unchanged"):
                took[what].append(result[what] * 1000)
    for what, values in took.items():
        yield Figure("refresh", f"{number:,} models, {what}, with the fetch from a stand-in", "ms", tuple(values))
    yield Figure("refresh", f"{number:,} models: the process's peak memory", "MB", tuple(peaks), aim=MAX_MEGABYTES)


def whole(url: str, gateway: str, key: str) -> dict[str, float]:
    """Two refreshes with their fetches, for an interpreter of its own: how long they took, and its peak memory."""
    sources = Sources(load_mapping(), lambda: GatewayClient(base_url=gateway, api_key=key))
    with Catalogue(url, sources) as catalogue:
        return {
            "new": catalogue.refresh()[1],
            "unchanged": catalogue.refresh()[1],
            "peak_megabytes": peak_megabytes(),
        }
