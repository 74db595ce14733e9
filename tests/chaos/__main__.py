"""Faults on real processes while callers ask, then the promises are checked. Exit 0 when all of them held."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.servers import running_servers
from tests.chaos import faults
from tests.chaos.call_log import CallLog
from tests.chaos.checks import CHATS, ChatRow, FaultSpan, Verdict, charge, judge, repeated_calls
from tests.chaos.cluster import DEADLINE_SECONDS, LEASE_SECONDS, Cluster, running_cluster
from tests.chaos.driver import Driver, wait_until_ended
from tests.chaos.faults import FAULTS, Fault, FaultFailed, Undo
from tests.chaos.floods import FAIR_SECONDS, Floods
from tests.chaos.places import PlacesProbe, TimeSpan, excesses
from tests.chaos.plan import PlannedFault, make_plan

COMPLETION_SECONDS = 1.5
"""So that calls are under way whenever a fault begins."""
PATIENCE_SECONDS = 60.0
"""How long the way back to normal may take after a fault."""
LATE_SECONDS = 5.0
"""A fault that would end later than this after the run's time is left out: one that took long must not prolong it."""
SPARE_SECONDS = 300.0
"""So much longer than its faults a run may take, set-up included."""
PLACES_SECONDS = LEASE_SECONDS + 2
"""How long chats may keep places that have gone: a lease, and a heartbeat's pause."""
HOME_DISK_MIB = 64


@dataclass(slots=True)
class Happened:
    """A fault that happened: what it met and left.

    `calls_before` and `calls_after`: the completions that had come when it began, and when all was normal again.
    `time_before` and `time_over`: when it began and was undone, in seconds since the epoch.
    """

    planned: PlannedFault
    calls_before: int
    calls_after: int = 0
    time_before: float = 0
    time_over: float = 0
    open_chats: int = 0
    to_normal: float | None = None
    to_fair: float | None = None
    repeats: int = 0

    @property
    def span(self) -> FaultSpan:
        """Where it is among the completions, and how many repeated ones it may cost."""
        bound = FAULTS[self.planned.kind].repeats * (self.open_chats + 1)
        return FaultSpan(self.calls_before, self.calls_after, bound)


def main() -> int:
    """Run the suite; returns the exit status."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long faults happen")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same faults at the same times")
    parser.add_argument("--only", action="append", metavar="FAULT", help="this fault alone; may be given again")
    parser.add_argument("--list", action="store_true", help="print the plan, and do nothing")
    given = parser.parse_args()
    unknown = set(given.only or ()) - FAULTS.keys()
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are: {', '.join(FAULTS)}")
    chosen = [fault for name, fault in FAULTS.items() if not given.only or name in given.only]
    plan = make_plan([fault.kind for fault in chosen], seed=given.seed, seconds=given.seconds)
    if given.list:
        for planned in plan:
            print(f"{planned.at:7.1f} s  {planned.kind}, {planned.seconds:g} s")
        return 0
    print(f"chaos: seed {given.seed}, {given.seconds:g} s, {len(plan)} faults of {len(chosen)} kinds", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="llm-refresh-chaos-"))
    try:
        with (
            _small_disk() as home_disk,
            running_servers() as servers,
            running_cluster(servers, folder, delay=COMPLETION_SECONDS, home_disk=home_disk, say=_say) as cluster,
        ):
            broken = _run(cluster, plan, seed=given.seed, seconds=given.seconds)
    except BaseException:
        print(f"chaos: the processes' logs are in {folder}", flush=True)
        raise
    took = time.monotonic() - started
    _say(f"{took:.0f} s, set-up included")
    if took > given.seconds + SPARE_SECONDS:
        broken.append(f"{took:.0f} s are more than {given.seconds:g} + {SPARE_SECONDS:g}")
        print(f"BROKEN: {broken[-1]}")
    print("chaos: " + (f"{len(broken)} broken promises" if broken else "every promise held"), flush=True)
    if broken:
        print(f"chaos: the processes' logs are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _say(text: str) -> None:
    print(f"chaos: {text}", flush=True)


@dataclass(frozen=True, slots=True)
class Run:
    """What goes on during a run."""

    cluster: Cluster
    driver: Driver
    floods: Floods
    probe: PlacesProbe
    log: CallLog

    def calls(self) -> Mapping[str, Any]:
        """What the gateway counts."""
        return self.log.take(self.cluster.gateway.calls())


def _run(cluster: Cluster, plan: tuple[PlannedFault, ...], *, seed: int, seconds: float) -> list[str]:
    driver = Driver(cluster, seed=seed)
    probe = PlacesProbe(cluster.database.superuser_url)
    run = Run(cluster, driver, Floods(cluster, driver, probe), probe, CallLog())
    probe.start()
    run.floods.start()
    driver.start()
    began = time.monotonic()
    happened: list[Happened] = []
    failures: list[str] = []
    for planned in plan:
        fault = FAULTS[planned.kind]
        reason = fault.unavailable(cluster)
        if reason is not None:
            _say(f"skipped: {planned.kind}: {reason}")
            continue
        time.sleep(max(0.0, began + planned.at - time.monotonic()))
        if time.monotonic() - began + planned.seconds > seconds + LATE_SECONDS:
            _say(f"left out, because the faults before took too long: {planned.kind}")
            continue
        try:
            happened.append(_happen(run, fault, planned, began))
        except FaultFailed as failure:
            failures.append(f"the fault could not be made: {failure}")
            _say(failures[-1])
    run.floods.stop()
    driver.stop()
    cluster.thaw()
    try:
        wait_until_ended(cluster, seconds=DEADLINE_SECONDS + LEASE_SECONDS + 30)
    except AssertionError:
        failures.append("chats are open after their deadline + 30 s")
    probe.stop()
    verdict = _judged(cluster, driver)
    verdict.broken += failures
    _count_repeats(run, happened, verdict)
    verdict.broken += [
        f"not normal {PATIENCE_SECONDS:g} s after: {each.planned.kind}" for each in happened if each.to_normal is None
    ]
    verdict.broken += [
        f"two floods have no equal shares {FAIR_SECONDS:g} s after: {each.planned.kind}"
        for each in happened
        if each.to_normal is not None and each.to_fair is None
    ]
    _judge_places(probe, happened, verdict)
    _print_table(happened, verdict, driver)
    most, probes = (max((getattr(sample, name) for sample in probe.samples), default=0) for name in ("taken", "probes"))
    print(f"chats in places: {most} at most, and {probes} probes at most beside them, in {len(probe.samples)} samples")
    print(f"processes started again: {cluster.restarts}")
    for text, number in Counter(verdict.broken).items():
        print(f"BROKEN: {text}" + (f" ({number} times)" if number > 1 else ""))
    return verdict.broken


def _happen(run: Run, fault: Fault, planned: PlannedFault, began: float) -> Happened:
    calls, cluster = run.calls(), run.cluster
    met = Happened(planned, calls["completions"])
    _say(f"{time.monotonic() - began:6.1f} s  {planned.kind}, {planned.seconds:g} s")
    met.time_before = time.time()
    undo = faults.start(fault, planned, cluster)
    time.sleep(planned.seconds)
    _undo(undo, planned)
    met.time_over = time.time()
    run.calls()
    met.open_chats = calls["open"] + run.log.number_since(met.calls_before)
    met.to_normal = run.driver.seconds_to_normal(patience=PATIENCE_SECONDS)
    if met.to_normal is not None:
        met.to_fair = run.floods.seconds_to_fair()
    met.calls_after = run.calls()["completions"]
    return met


def _undo(undo: Undo, planned: PlannedFault) -> None:
    for tries_left in (4, 3, 2, 1, 0):
        try:
            return undo()
        except Exception as error:
            if not tries_left:
                raise FaultFailed(f"{planned.kind} could not be undone: {error}") from error
            time.sleep(0.5)
    return None


def _judged(cluster: Cluster, driver: Driver) -> Verdict:
    rows = [ChatRow(*row) for row in cluster.query(CHATS)]
    sums = cluster.query("SELECT coalesce(sum(request_count), 0), coalesce(sum(successes), 0) FROM llm_usage_stats")
    return judge(driver.notes, rows, {"requests": int(sums[0][0]), "successes": int(sums[0][1])})


def _count_repeats(run: Run, happened: list[Happened], verdict: Verdict) -> None:
    run.calls()
    repeats = repeated_calls(run.log.prompts)
    charges = charge(repeats, [each.span for each in happened])
    for each, paid in zip(happened, charges.by_fault, strict=True):
        each.repeats = paid
        if paid > each.span.bound:
            kind, bound = each.planned.kind, int(each.span.bound)
            verdict.broken.append(f"asked again too often: {paid} (at most {bound}) after {kind}")
    if charges.unexplained:
        verdict.broken.append(f"asked again without a fault: {charges.unexplained}")


def _judge_places(probe: PlacesProbe, happened: list[Happened], verdict: Verdict) -> None:
    outages = [
        TimeSpan(each.time_before, each.time_over) for each in happened if FAULTS[each.planned.kind].stops_writes
    ]
    for sample in excesses(probe.samples, memory=PLACES_SECONDS, outages=outages):
        before = [each.planned.kind for each in happened if each.time_before <= sample.at] or ["no fault"]
        chats = f"{sample.taken} chats beside {sample.probes} probes"
        verdict.broken.append(f"{chats} in {sample.places} places after: {before[-1]}")


def _print_table(happened: list[Happened], verdict: Verdict, driver: Driver) -> None:
    by_kind: dict[str, list[Happened]] = defaultdict(list)
    for each in happened:
        by_kind[each.planned.kind].append(each)
    print(f"\n{'fault':36} {'times':>5} {'open':>5} {'asked again':>11} {'at most':>7} {'to normal':>9} {'to fair':>7}")
    for kind, met in sorted(by_kind.items()):
        normal, fair = (
            _longest(times) for times in zip(*((each.to_normal, each.to_fair) for each in met), strict=True)
        )
        opened, repeats = sum(each.open_chats for each in met), sum(each.repeats for each in met)
        bound = sum(int(each.span.bound) for each in met)
        print(f"{kind:36} {len(met):5} {opened:5} {repeats:11} {bound:7} {normal:>9} {fair:>7}")
    failed = ", ".join(f"{number} {code}" for code, number in sorted(verdict.failed.items())) or "none"
    print(f"\naccepted {verdict.accepted}, answered {verdict.answered}, failed {verdict.failed.total()} ({failed})")
    print(f"lost {verdict.lost}, doubled {verdict.doubled}, wrong answers {verdict.wrong}")
    print("answers of web:")
    for what, counts in sorted(driver.notes.by_request().items()):
        print(f"  {what:8} " + ", ".join(f"{status}: {number}" for status, number in sorted(counts.items())))


def _longest(times: Iterable[float | None]) -> str:
    found = list(times)
    return "never" if None in found else f"{max(time for time in found if time is not None):.1f} s"


@contextlib.contextmanager
def _small_disk() -> Iterator[Path | None]:
    """A disk of its own for the home, small enough to be filled; None where it cannot be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="llm-refresh-disk-"))
    options = f"size={HOME_DISK_MIB}m,mode=0755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
