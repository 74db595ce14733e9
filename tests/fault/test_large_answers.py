"""Answers of the largest size, all at once: stored, within the memory that Compose gives a chat worker."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.waiting import wait_for
from tests.fault.conftest import Report, StartSystem
from tests.fault.test_chat_servers import postgres_pid
from tests.support.stopping import stopped, with_children
from tests.support.tools import ROOT

MIB = 1024 * 1024


def limit_of_chat() -> int:
    """The memory limit of docker-compose.yml, in bytes."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    number = services["chat"]["deploy"]["resources"]["limits"]["memory"]
    return int(number.removesuffix("m")) * MIB


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "padded", "padding"),
    [(450, 3_900_000, "a"), (80, 1_950_000, '"'), (80, 300_000, "😀")],
    ids=["450 of 3.9 MB", "80 of 1.95 million quotes", "80 of emoji"],
)
def test_the_largest_answers_are_all_stored_within_the_memory(
    start_system: StartSystem, report: Report, number: int, padded: int, padding: str
) -> None:
    system = start_system()
    worker = system.start_chat_worker(concurrency=450)
    system.gateway.behave(completions={"delay": 5, "padded": padded, "padding": padding})
    for each in range(number):
        system.ask(f"Question number {each:04}?")
    wait_for(lambda: not system.statuses().keys() & {"queued", "running"}, seconds=500)

    whole = system.query(f"SELECT count(*) FROM llm_chats WHERE length(answer) = {padded} AND attempt = 1")
    assert whole == [(number,)], system.statuses()
    assert peak(worker.pid) < limit_of_chat()
    report(stored=number, peak_mib=peak(worker.pid) // MIB)


@pytest.mark.timeout(600)
def test_large_answers_outlast_a_silent_postgresql_within_the_memory(start_system: StartSystem, report: Report) -> None:
    system = start_system()
    worker = system.start_chat_worker(concurrency=450)
    system.gateway.behave(completions={"delay": 5, "padded": 3_900_000, "padding": "a"})
    for each in range(200):
        system.ask(f"Question number {each:04}?")
    system.wait_for_calls(150)
    with stopped(with_children(postgres_pid(system))):
        wait_for(lambda: worker.output.count("llm_chat.not_written") > 5, seconds=120)
        wait_for(lambda: "llm_chat.no_heartbeat" in worker.output, seconds=60)
    wait_for(lambda: not system.statuses().keys() & {"queued", "running"}, seconds=400)

    whole = system.query("SELECT count(*) FROM llm_chats WHERE length(answer) = 3900000")
    assert whole == [(200,)], system.statuses()
    assert peak(worker.pid) < limit_of_chat()
    report(stored=200, peak_mib=peak(worker.pid) // MIB)
