"""SIGTERM while servers are stopped (SIGSTOP) and calls hang: each process leaves within its grace."""

from __future__ import annotations

import signal

import pytest

from harness.chatting import System
from harness.processes import BEAT, free_port
from tests.fault.conftest import Report, StartSystem
from tests.fault.test_chat_servers import postgres_pid
from tests.fault.test_silent_servers import redis_pid
from tests.support.stopping import stopped, with_children

GRACE_SECONDS = {"chat": 45, "refresh": 45, "beat": 15, "flower": 15, "web": 40}
FLOWER = ("celery", "-A", "worker.main", "flower", "--address=127.0.0.1")


def pids(system: System, servers: tuple[str, ...]) -> list[int]:
    targets = [redis_pid(system)] if "redis" in servers else []
    return [*targets, *with_children(postgres_pid(system))] if "postgresql" in servers else targets


@pytest.mark.parametrize("silent", [("redis",), ("postgresql",), ("redis", "postgresql")], ids="+".join)
def test_each_process_leaves_in_time_while_servers_are_silent(
    start_system: StartSystem, report: Report, silent: tuple[str, ...]
) -> None:
    system = start_system(delay=300, CHAT_LEASE_SECONDS="10")
    processes = {
        "refresh": system.start_refresh_worker(),
        "chat": system.start_chat_worker(),
        "beat": system.start(BEAT),
        "flower": system.start((*FLOWER, f"--port={free_port()}"), FLOWER_PASSWORD="a-word-for-tests"),
        "web": system.web.process,
    }
    system.ask_many(20)
    system.wait_for_calls(20)
    system.gateway.behave(completions={"delay": 0.1})

    with stopped(pids(system, silent)):
        for process in processes.values():
            process.signal(signal.SIGTERM)
        for name, seconds in GRACE_SECONDS.items():
            assert processes[name].wait(seconds) in (0, -signal.SIGTERM), name
        for name, process in processes.items():
            assert "Traceback" not in process.output, name
    system.start_refresh_worker()
    system.start_chat_worker()
    system.wait_until_ended(seconds=60)
    report(**system.check(succeeded=20))


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_other_ways_to_end_a_chat_worker_show_no_traceback(
    start_system: StartSystem, report: Report, number: signal.Signals
) -> None:
    system = start_system(delay=300, CHAT_LEASE_SECONDS="10")
    worker = system.start_chat_worker()
    system.ask_many(3)
    system.wait_for_calls(3)
    system.gateway.behave(completions={"delay": 0.1})

    worker.signal(number)
    worker.wait(GRACE_SECONDS["chat"])
    assert "Traceback" not in worker.output
    system.start_refresh_worker()
    system.start_chat_worker()
    system.wait_until_ended(seconds=60)
    report(**system.check(succeeded=3))
