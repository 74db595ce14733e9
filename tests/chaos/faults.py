"""The faults: what each does to a running cluster, and how it is undone."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx
import psycopg
import redis

from harness import plain_http
from harness.waiting import wait_for
from tests.chaos.cluster import LEASE_SECONDS, Cluster
from tests.chaos.plan import FaultKind, PlannedFault

Undo = Callable[[], None]
MAXIMUM_ANSWER_CHARS: Final = 1_900_000
"""Quotation marks: twice as many bytes in JSON, just below what the client reads of an answer."""
DEAD_MODEL: Final = 25
"""The model of the mapping that fails alone."""
_SESSIONS: Final = ("web", "chat1", "chat2", "refresh")
"""The connections' names: `application_name` is "llm-refresh " and one of these."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault does.

    `begin` starts it on the target that `number` chooses, and returns what undoes it. `repeats` bounds the completions
    that are asked for again: this many for each chat that is open while it lasts.

    0: no call is lost with what is lost here. 1: a call may be made once more, where the process that made it is gone
    or no longer heard. A gateway that refuses is asked 8 times at most: after 0.5 s, then after twice as long each
    time, or after the second of its Retry-After. One that holds its calls to the time-out, which is longer than the
    fault, is asked once more by each, and once more by those that met it between two tries.
    """

    kind: FaultKind
    begin: Callable[[Cluster, int], Undo]
    repeats: float
    unavailable: Callable[[Cluster], str | None] = lambda _: None

    @property
    def stops_writes(self) -> bool:
        """Whether nobody can write to PostgreSQL while it lasts."""
        return self.kind.name.startswith("postgresql ")


class FaultFailed(Exception):
    """The fault itself could not be made or undone: the run says nothing about it."""


def start(fault: Fault, planned: PlannedFault, cluster: Cluster) -> Undo:
    """Begin a fault. Raises FaultFailed."""
    try:
        return fault.begin(cluster, planned.number)
    except (OSError, psycopg.Error, redis.RedisError, httpx.HTTPError) as error:
        raise FaultFailed(f"{planned.kind}: {type(error).__name__}: {error}") from error


def _nothing() -> None:
    """The fault is over as soon as it has begun."""


def _stop(pids: Sequence[int]) -> Undo:
    """Stop these processes; undone, they go on. One that has ended meanwhile is left out."""

    def send(number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    send(signal.SIGSTOP)
    return lambda: send(signal.SIGCONT)


def _pick(cluster: Cluster, kind: str, number: int) -> str:
    names = cluster.names(kind)
    return names[number % len(names)]


def _signalled(kind: str, first: int, then: int | None = None) -> Callable[[Cluster, int], Undo]:
    """Send a signal to a process of this kind and its children; `then`: to the same process when it is over."""

    def begin(cluster: Cluster, number: int) -> Undo:
        process = cluster.processes[_pick(cluster, kind, number)]
        if then is None and first != signal.SIGKILL:
            process.signal(first)  # a request to stop goes to the main process alone, as init systems send it
        else:
            cluster.signal_tree(process, first)
        return _nothing if then is None else lambda: cluster.signal_tree(process, then)

    return begin


# Redis


def _redis_flushed(cluster: Cluster, _: int) -> Undo:
    with cluster.redis() as client:
        client.flushall()
    return _nothing


def _redis_clients_killed(cluster: Cluster, _: int) -> Undo:
    with cluster.redis() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    return _nothing


def _redis_pid(cluster: Cluster) -> int:
    with cluster.redis() as client:
        return int(client.info("server")["process_id"])


def _redis_stopped(cluster: Cluster, _: int) -> Undo:
    return _stop([_redis_pid(cluster)])


def _redis_killed(cluster: Cluster, _: int) -> Undo:
    os.kill(_redis_pid(cluster), signal.SIGKILL)  # its supervisor starts it again, empty
    return _nothing


def _redis_full(cluster: Cluster, _: int) -> Undo:
    with cluster.redis() as client:
        client.config_set("maxmemory", "1mb")  # with noeviction: every write is refused, as on a full disk

    def undo() -> None:
        with cluster.redis() as client:
            client.config_set("maxmemory", "0")

    return undo


# PostgreSQL


def _postmaster(cluster: Cluster) -> int:
    return int(cluster.query("SELECT pg_read_file('postmaster.pid')")[0][0].split()[0])


def _postgresql_restarted(cluster: Cluster, _: int) -> Undo:
    os.kill(_postmaster(cluster), signal.SIGQUIT)  # what `pg_ctl restart -m immediate` sends; it is started again
    return _nothing


def _postgresql_stopped(cluster: Cluster, _: int) -> Undo:
    pids = [_postmaster(cluster), *(pid for (pid,) in cluster.query("SELECT pid FROM pg_stat_activity"))]
    return _stop(pids)


def _postgresql_reads_only(cluster: Cluster, _: int) -> Undo:
    cluster.query("ALTER SYSTEM SET default_transaction_read_only = on")
    cluster.query("SELECT pg_reload_conf()")

    def undo() -> None:
        cluster.query("ALTER SYSTEM RESET default_transaction_read_only")
        cluster.query("SELECT pg_reload_conf()")

    return undo


def _outside(cluster: Cluster) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(cluster.servers.services.superuser_url, autocommit=True, connect_timeout=5)


def _terminated(cluster: Cluster, connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (cluster.database.name,)
    )


def _postgresql_away(cluster: Cluster, _: int) -> Undo:
    name = cluster.database.name

    def undo() -> None:
        with _outside(cluster) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    with _outside(cluster) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        _terminated(cluster, server)
    return undo


def _postgresql_sessions_cut(cluster: Cluster, _: int) -> Undo:
    with _outside(cluster) as server:
        _terminated(cluster, server)
    return _nothing


_BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


def _backends_frozen(cluster: Cluster, number: int) -> Undo:
    """Every backend of one process's connections."""
    name = _SESSIONS[number % len(_SESSIONS)]
    pids = [pid for (pid,) in cluster.query(_BACKENDS, f"llm-refresh {name}")]
    return _stop(pids)


def _backend_frozen_for_ever(cluster: Cluster, number: int) -> Undo:
    """One backend that holds no lock, until the run ends: nobody can take the locks of a frozen backend away."""
    name = _SESSIONS[number % len(_SESSIONS)]
    idle = f"{_BACKENDS} AND backend_xid IS NULL AND backend_xmin IS NULL"

    def frozen() -> int | None:
        for (pid,) in cluster.query(idle, f"llm-refresh {name}"):
            os.kill(pid, signal.SIGSTOP)
            if (pid,) in cluster.query(idle, f"llm-refresh {name}"):
                return int(pid)
            os.kill(pid, signal.SIGCONT)  # it has begun something in between
        return None

    pid = wait_for(frozen, seconds=10)
    cluster.frozen.append(pid)
    return _nothing


# The gateway


def _gateway(behaviour: Mapping[str, object], *, lists: bool = True) -> Callable[[Cluster, int], Undo]:
    def begin(cluster: Cluster, _: int) -> Undo:
        cluster.gateway.behave(completions=behaviour, llms=behaviour if lists else None)
        return cluster.gateway.behave

    return begin


def _gateway_stopped(cluster: Cluster, _: int) -> Undo:
    return _stop([cluster.gateway.process.pid])


def _one_model_down(cluster: Cluster, _: int) -> Undo:
    cluster.gateway.behave(by_llm_id={DEAD_MODEL: {"status": 500}})
    return cluster.gateway.behave


# What else a process stands on


def _key_set_silent(cluster: Cluster, _: int) -> Undo:
    """The key set takes connections and answers none, while tokens of unknown keys ask for it all the time."""
    cluster.keys.be_silent()
    over = threading.Event()

    def knock() -> None:
        with plain_http.Client(base_url=cluster.web_urls[0], timeout=5) as client:
            while not over.wait(0.1):
                with contextlib.suppress(httpx.TransportError):
                    client.get("/api/llms", headers={"Authorization": f"Bearer {cluster.keys.foreign_token()}"})

    for _each in range(4):
        threading.Thread(target=knock, daemon=True).start()

    def undo() -> None:
        over.set()
        cluster.keys.speak()

    return undo


def _home_full(cluster: Cluster, _: int) -> Undo:
    assert cluster.home_disk is not None
    filler = cluster.home_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(65536))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
    return filler.unlink


def _link(order: str) -> Callable[[Cluster, int], Undo]:
    """Give the link to the second host this order."""

    def begin(cluster: Cluster, _: int) -> Undo:
        host = cluster.host
        assert host is not None
        host.order(order)
        return lambda: host.order("heal")

    return begin


def _no_host(cluster: Cluster) -> str | None:
    return None if cluster.host is not None else "there is no second host"


def _no_disk(cluster: Cluster) -> str | None:
    return None if cluster.home_disk is not None else "no disk of its own could be mounted here"


FAULTS: Final = {
    fault.kind.name: fault
    for fault in (
        Fault(FaultKind("web killed", 0, 0), _signalled("web", signal.SIGKILL), 0),
        Fault(FaultKind("web stopped", 2, 5), _signalled("web", signal.SIGSTOP, signal.SIGCONT), 0),
        Fault(FaultKind("chat worker killed", 0, 0), _signalled("chat", signal.SIGKILL), 1),
        Fault(FaultKind("chat worker told to stop", 0, 0), _signalled("chat", signal.SIGTERM), 0.2),
        Fault(
            FaultKind("chat worker stopped for a moment", 1, 3), _signalled("chat", signal.SIGSTOP, signal.SIGCONT), 0
        ),
        Fault(
            FaultKind("chat worker stopped past its lease", 2 * LEASE_SECONDS, 3 * LEASE_SECONDS),
            _signalled("chat", signal.SIGSTOP, signal.SIGCONT),
            1,
        ),
        Fault(FaultKind("refresh worker killed", 0, 0), _signalled("refresh", signal.SIGKILL), 0),
        Fault(FaultKind("refresh worker stopped", 3, 8), _signalled("refresh", signal.SIGSTOP, signal.SIGCONT), 0),
        Fault(FaultKind("beat killed", 0, 0), _signalled("beat", signal.SIGKILL), 0),
        Fault(FaultKind("redis flushed", 0, 0), _redis_flushed, 0),
        Fault(FaultKind("redis clients killed", 0, 0), _redis_clients_killed, 0),
        Fault(FaultKind("redis stopped", 3, 8), _redis_stopped, 0),
        Fault(FaultKind("redis killed", 0, 0), _redis_killed, 0),
        Fault(FaultKind("redis full", 3, 8), _redis_full, 0),
        Fault(FaultKind("postgresql restarted at once", 0, 0), _postgresql_restarted, 0),
        Fault(FaultKind("postgresql stopped", 3, 10), _postgresql_stopped, 1),
        Fault(FaultKind("postgresql reads only", 3, 10), _postgresql_reads_only, 0),
        Fault(FaultKind("postgresql away", 3, 10), _postgresql_away, 0),
        Fault(FaultKind("postgresql sessions cut", 0, 0), _postgresql_sessions_cut, 0),
        Fault(FaultKind("backends frozen for two leases", 2 * LEASE_SECONDS, 2 * LEASE_SECONDS), _backends_frozen, 1),
        Fault(FaultKind("one backend frozen for ever", 8, 8), _backend_frozen_for_ever, 1),
        Fault(FaultKind("gateway answers 503", 4, 10), _gateway({"status": 503}), 8),
        Fault(FaultKind("gateway is silent", 4, 10), _gateway({"silent": True}), 2),
        Fault(FaultKind("gateway resets connections", 4, 10), _gateway({"reset": "in_answer"}), 8),
        Fault(FaultKind("gateway drips", 4, 10), _gateway({"drip": "body", "drip_seconds": 0.5}), 2),
        Fault(FaultKind("gateway says 429", 4, 8), _gateway({"status": 429, "retry_after": "1"}), 8),
        Fault(FaultKind("gateway answers a page", 3, 6), _gateway({"html": True, "status": 502}), 8),
        Fault(FaultKind("gateway stopped", 4, 10), _gateway_stopped, 1),
        Fault(FaultKind("one model down", 8, 16), _one_model_down, 8),
        Fault(FaultKind("answers at the maximum", 4, 6), _gateway({"padded": MAXIMUM_ANSWER_CHARS}, lists=False), 0.2),
        Fault(FaultKind("key set silent", 5, 10), _key_set_silent, 0),
        Fault(FaultKind("host cut off", 2 * LEASE_SECONDS, 4 * LEASE_SECONDS), _link("cut"), 1, _no_host),
        Fault(FaultKind("host loses packets", 8, 14), _link("bad 0.1 0.03"), 1, _no_host),
        Fault(FaultKind("home full", 5, 10), _home_full, 0, _no_disk),
    )
}
