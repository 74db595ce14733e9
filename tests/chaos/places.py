"""Whether more chats have places than there are: PostgreSQL is asked all the time, the samples are judged later."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

SAMPLE_SECONDS: Final = 0.2

# The test's own count, not the product's: chats that a worker has in hand, and those whose message is on its way. And
# the places that chat processes have announced, and how many chats of each caller are queued. Probes of circuits take
# no place: their chats waited for the gateway, and were claimed without a dispatch.
_SAMPLE: Final = """
WITH in_hand AS MATERIALIZED (
  SELECT status = 'running' AND waiting_since IS NOT NULL AND dispatched_at = created_at AS is_probe FROM llm_chats
  WHERE status = 'running' AND lease_until > now() OR status = 'queued' AND dispatched_at IS NOT NULL)
SELECT extract(epoch FROM now())::float8,
  (SELECT count(*) FROM in_hand WHERE NOT is_probe), (SELECT count(*) FROM in_hand WHERE is_probe),
  (SELECT coalesce(sum(places), 0)::int FROM llm_chat_processes WHERE lease_until > now()),
  (SELECT coalesce(jsonb_object_agg(subject, numbers), '{}') FROM (
     SELECT subject, jsonb_build_object('queued', count(*),
       'turn', count(*) FILTER (WHERE dispatched_at IS NULL AND waiting_for IS NULL)) AS numbers FROM llm_chats
     WHERE status = 'queued' GROUP BY subject) AS waiting)
"""


@dataclass(frozen=True, slots=True)
class PlacesSample:
    """What was there at a time, in seconds since the epoch.

    `taken`: chats that run or are dispatched, without `probes`. `waiting`: by caller, how many chats are `queued`, and
    how many of them wait for their `turn`.
    """

    at: float
    taken: int
    probes: int
    places: int
    waiting: Mapping[str, Mapping[str, int]]

    def waits_for_turn(self, subject: str) -> int:
        return self.waiting.get(subject, {}).get("turn", 0)

    def queued(self, subject: str) -> int:
        return self.waiting.get(subject, {}).get("queued", 0)

    @property
    def most(self) -> int:
        """So many may be taken: the places and the reserve, which is one and a tenth of them."""
        return self.places + 1 + self.places // 10 if self.places else 0


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """From a time to a time, in seconds since the epoch."""

    begin: float
    end: float


def excesses(samples: Sequence[PlacesSample], *, memory: float, outages: Sequence[TimeSpan] = ()) -> list[PlacesSample]:
    """Samples with more chats in places than there were places and reserve at any time in the `memory` seconds before.

    Places that go leave chats that had them: those of a killed process until its leases end, those of a process that
    was told to stop until its calls have ended. In an outage of PostgreSQL nobody can say that its places are still
    there, so its time does not count.
    """
    found = []
    first = 0
    for number, sample in enumerate(samples):
        while _between(samples[first].at, sample.at, outages) > memory:
            first += 1
        if sample.taken > max(each.most for each in samples[first : number + 1]):
            found.append(sample)
    return found


def _between(begin: float, end: float, outages: Sequence[TimeSpan]) -> float:
    return end - begin - sum(max(0.0, min(end, each.end) - max(begin, each.begin)) for each in outages)


class PlacesProbe:
    """Samples in a thread, from `start` to `stop`; goes on by itself where PostgreSQL was away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-places", daemon=True)
        self.samples: list[PlacesSample] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def latest(self) -> PlacesSample | None:
        """The last sample, of whatever age."""
        return self.samples[-1] if self.samples else None

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=2,
                    options="-c statement_timeout=5s -c default_transaction_read_only=on",
                ) as connection,
            ):
                while not self._over.wait(SAMPLE_SECONDS):
                    row = connection.execute(_SAMPLE.encode()).fetchone()
                    if row is not None:
                        self.samples.append(PlacesSample(*row))
