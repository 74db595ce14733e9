"""Two callers who always have questions waiting, one more than the other, and the shares that they get."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Final

import httpx
import psycopg

from tests.chaos.cluster import Cluster
from tests.chaos.driver import Driver
from tests.chaos.places import PlacesProbe, PlacesSample

FLOODS: Final[Mapping[str, int]] = {"erin": 60, "frank": 20}
"""How many questions of each are queued. Unequal: in the order of age one would get three times as much."""
ENOUGH: Final = 5
"""A flood that has fewer waiting is none at the moment: its share would say nothing."""
STARTS: Final = 40
"""So many chats of both are looked at."""
FAIREST_SHARE, UNFAIREST_SHARE = 0.45, 0.55
FAIR_SECONDS: Final = 10.0
_STALE_SECONDS: Final = 1.5


class Floods:
    """The threads of both, from `start` to `stop`. What they ask is judged like any other question."""

    def __init__(self, cluster: Cluster, driver: Driver, probe: PlacesProbe) -> None:
        self._cluster = cluster
        self._driver = driver
        self._probe = probe
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(place, *flood), name=f"chaos-flood-{flood[0]}", daemon=True)
            for place, flood in enumerate(FLOODS.items())
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def seconds_to_fair(self) -> float | None:
        """How long it takes until both get about the same; None when it takes longer than FAIR_SECONDS.

        Counts the chats that began from now on, and only while both had enough that waited.
        """
        began = time.time()
        while time.time() - began < FAIR_SECONDS:
            time.sleep(0.2)
            since = max(began, self._not_flooding_at())
            with contextlib.suppress(psycopg.Error):
                share = self._share(since)
                if share is not None and FAIREST_SHARE <= share <= UNFAIREST_SHARE:
                    return time.time() - began
        return None

    def _share(self, since: float) -> float | None:
        """What the first of both has of the latest STARTS chats that began since then; None while there are fewer."""
        rows = self._cluster.query(
            "SELECT subject FROM llm_chats WHERE subject = ANY(%s) AND started_at > to_timestamp(%s)"
            f" ORDER BY started_at DESC, id LIMIT {STARTS}",
            list(FLOODS),
            since,
        )
        if len(rows) < STARTS:
            return None
        return sum(subject == next(iter(FLOODS)) for (subject,) in rows) / len(rows)

    def _not_flooding_at(self) -> float:
        """When one of both had too little waiting for the last time."""
        for sample in reversed(self._probe.samples):
            if any(sample.waits_for_turn(flood) < ENOUGH for flood in FLOODS):
                return sample.at
        return 0.0

    def _ask(self, place: int, flood: str, waiting: int) -> None:
        seen: PlacesSample | None = None
        for web in range(place, 1_000_000):
            with contextlib.suppress(httpx.HTTPError), self._cluster.client(flood, web=web, timeout=12) as client:
                while not self._over.wait(0.1):
                    sample = self._probe.latest()
                    if sample is None or sample is seen or time.time() - sample.at > _STALE_SECONDS:
                        continue  # nobody can say how many wait: more would be without end
                    seen = sample
                    for _ in range(waiting - sample.queued(flood)):
                        if self._driver.put(client, self._driver.new_question(flood)) is None:
                            break
                return
            if self._over.wait(0.5):
                return
