"""Connections to PostgreSQL whose every wait ends on our side, whatever the server does.

`statement_timeout` is the server's, and a stopped server does not keep it. Its kernel still acknowledges what is sent,
so TCP's own time-outs never run out either. psycopg waits in Python for the socket, in threads and under gevent, and
takes a limit for each such wait.
"""

from __future__ import annotations

import math
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

from shared.silence import Silence

RV = TypeVar("RV")
ALWAYS_TRIED = 2
"""A server and its stand-by: one that is silent does not take the other's turn."""
PREPARE_AFTER = 2
"""So often a connection sends a statement as it is; from then on PostgreSQL keeps it parsed and planned."""
_OWN_ORDER = ("hostaddr", "service", "load_balance_hosts")
"""Who names one of these gets psycopg's own order of attempts, each bounded by itself."""


class BoundedConnection(psycopg.Connection[Any]):
    """Cuts itself off from a server that does not answer within `limit_seconds`; it is closed then."""

    limit_seconds: float = 5.0
    """How long each exchange may take. Whoever takes the connection from its pool sets it."""
    silence: Silence | None = None
    _has_received: bool = False

    @contextmanager
    def whole_transaction(self) -> Iterator[psycopg.Pipeline]:
        """A transaction whose statements are sent together with its begin and its commit: results come after it.

        psycopg's own begin and commit each wait for the server, within a pipeline too. Where the server falls silent,
        what was sent may be carried out after this side has given up; a `sync` of the pipeline waits for it before.
        """
        self.autocommit = True
        try:
            with self.pipeline() as pipeline:
                self.execute("BEGIN")
                yield pipeline
                self.execute("COMMIT")
        except BaseException:
            if not self.closed:
                self.rollback()
            raise
        finally:
            if not self.closed:
                self.autocommit = False

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """As psycopg's. Raises OperationalError when the server has not answered in time."""
        limit = self.limit_seconds if timeout is None else min(timeout, self.limit_seconds)
        self._has_received = False
        started = time.monotonic()
        try:
            result: RV = super().wait(self._sending_at_once(gen), interval, limit)
        except psycopg.OperationalError:
            if time.monotonic() - started >= limit:
                self._cut(started)
            raise
        except BaseException as error:
            if not isinstance(error, Exception):  # a greenlet that is ended: nobody waits for the answer any more
                self.close()
            raise
        if self._has_received and self.silence is not None:
            self.silence.record_answer()
        return result

    def _sending_at_once(self, gen: PQGen[RV]) -> PQGen[RV]:
        """psycopg's steps, without a look at the socket before each command of a pipeline.

        Each look is a system call, under gevent a switch to its hub. While libpq holds nothing back, the socket takes
        more.
        """
        try:
            wanted = next(gen)
            while True:
                if wanted == Wait.RW and self.pgconn.flush() == 0:
                    wanted = gen.send(Ready.W)
                    continue
                ready = (yield wanted) or Ready.NONE  # psycopg goes on with None after Ctrl-C
                self._has_received |= bool(ready & Ready.R)
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result

    def _cut(self, started: float) -> None:
        # libpq says good-bye when it closes; nobody is there to take it.
        with suppress(OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as peer:
            peer.shutdown(socket.SHUT_RDWR)
        self.close()
        if self.silence is not None:
            self.silence.record_no_answer(started)


@dataclass(frozen=True, slots=True)
class _Place:
    host: str | None
    address: str | None
    port: str | None

    @property
    def params(self) -> dict[str, str]:
        fields = {"host": self.host, "hostaddr": self.address, "port": self.port}
        return {name: value for name, value in fields.items() if value}


def connect(
    params: dict[str, Any], *, within_seconds: float, silence: Silence, prepares: bool = False
) -> BoundedConnection:
    """Connect to the first address that takes us, looking up names included, within about that time.

    `params` are psycopg's. The addresses share the time, but psycopg gives each two seconds at least, and the first
    two are tried in any case. `prepares`: statements are prepared, unless a pooler stands in between. Raises
    psycopg.OperationalError.
    """
    started = time.monotonic()
    ends_at = started + within_seconds
    failure: psycopg.Error | None = None
    try:
        places = list(_places(params, ends_at))
        for number, place in enumerate(places):
            seconds = ends_at - time.monotonic()
            if seconds <= 0 and number >= ALWAYS_TRIED:
                break
            share = math.ceil(max(0.0, seconds) / (len(places) - number))
            try:
                connection = BoundedConnection.connect(**{**params, **place.params, "connect_timeout": max(1, share)})
            except psycopg.OperationalError as error:
                failure = error
                continue
            connection.silence = silence
            connection.limit_seconds = max(1.0, ends_at - time.monotonic())
            silence.record_answer()
            connection.prepare_threshold = PREPARE_AFTER if prepares and _is_direct(connection) else None
            return connection
    except TimeoutError:
        failure = psycopg.OperationalError("the server's name was not resolved in time")
    if time.monotonic() >= ends_at:
        silence.record_no_answer(started)
    raise failure or psycopg.errors.ConnectionTimeout("connection timeout expired")


def _is_direct(connection: BoundedConnection) -> bool:
    """Whether the process that the server named when it took us is the one that executes our statements.

    A pooler names a process of its own, and may give each transaction to another server, which knows none of the
    statements that were prepared before.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.rollback()
    return row is not None and row[0] == connection.info.backend_pid


def _places(params: dict[str, Any], ends_at: float) -> Iterator[_Place]:
    hosts, ports = str(params.get("host") or "").split(","), str(params.get("port") or "").split(",")
    if any(params.get(name) for name in _OWN_ORDER) or params.get("target_session_attrs") == "prefer-standby":
        yield _Place(None, None, None)
        return
    unknown: socket.gaierror | None = None
    has_place = False
    for number, host in enumerate(hosts):
        port = ports[number] if number < len(ports) else ports[-1]
        try:
            addresses = look_up(host, ends_at - time.monotonic()) if _is_name(host) else [None]
        except socket.gaierror as error:
            unknown = error
            continue
        for address in addresses:
            has_place = True
            yield _Place(host, address, port)
    if not has_place and unknown is not None:
        raise psycopg.OperationalError(f"the server's name is not known: {unknown.strerror}")


def look_up(host: str, within_seconds: float) -> list[str]:
    """The addresses of a host. Raises socket.gaierror, and TimeoutError: the C library's resolver knows no limit."""
    answers: queue.SimpleQueue[list[str] | socket.gaierror] = queue.SimpleQueue()

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(each[4][0]) for each in infos)))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, socket.gaierror) else socket.gaierror(0, str(error)))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, within_seconds))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, socket.gaierror):
        raise answer
    return answer


def _is_name(host: str) -> bool:
    """Whether a host of psycopg's is a name to look up: no address, no folder of a socket."""
    if not host or host.startswith(("/", "@")):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
