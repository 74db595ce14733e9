"""`python -m tests.mutants [NAME ...]`: all mutants, or those whose names are given. Exit 1 where one survives."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from tests.mutants.all import MUTANTS
from tests.mutants.mutant import Mutant, MutantError
from tests.mutants.scratch import ROOT, Scratch, scratch_copy


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mutant, or how several begin")
    parser.add_argument("--list", action="store_true", help="name them, and run nothing")
    parser.add_argument("--verbose", action="store_true", help="what pytest says of each")
    arguments = parser.parse_args()
    mutants = _chosen(arguments.names)
    if not mutants:
        print("no mutant has such a name; --list names them", file=sys.stderr)
        return 2
    if arguments.list:
        print(*(f"{mutant.name:40}{mutant.file}" for mutant in mutants), sep="\n")
        return 0
    try:
        texts = [mutant.applied(ROOT) for mutant in mutants]
    except MutantError as error:
        print(error, file=sys.stderr)
        return 1
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copy goes too, and the tests under way end
    with scratch_copy() as scratch:
        if not _tests_pass(scratch, mutants):
            return 1
        survivors = [
            mutant for mutant, text in zip(mutants, texts, strict=True) if not _dies(scratch, mutant, text, arguments)
        ]
    print(f"\n{len(mutants)} mechanisms taken away, {len(survivors)} not missed, {time.monotonic() - began:.0f} s")
    for mutant in survivors:
        print(f"survived: {mutant.name} ({mutant.file})")
    return 1 if survivors else 0


def _chosen(names: Sequence[str]) -> list[Mutant]:
    return [mutant for mutant in MUTANTS if not names or mutant.name.startswith(tuple(names))]


def _tests_pass(scratch: Scratch, mutants: Sequence[Mutant]) -> bool:
    """Whether all their tests pass while nothing is missing: else their failures would say nothing."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    outcome = scratch.run(tests)
    print(f"with all mechanisms: {'passed' if outcome.passed else 'FAILED'} ({outcome.seconds:.0f} s)\n", flush=True)
    if not outcome.passed:
        print(outcome.output)
    return outcome.passed


def _dies(scratch: Scratch, mutant: Mutant, text: str, arguments: argparse.Namespace) -> bool:
    """Whether each of its tests fails without the mechanism."""
    with scratch.changed(mutant.file, text):
        outcome = scratch.run(mutant.tests)
    if arguments.verbose:
        print(outcome.output)
    for test in mutant.tests:
        red = [failed for failed in outcome.failed if failed == test or failed.startswith(f"{test}[")]
        verdict = "red" if red else "STILL GREEN"
        print(f"{mutant.name:40}{verdict:13}{test.removeprefix('tests/')} ({outcome.seconds:.0f} s)", flush=True)
        if not red:
            if not arguments.verbose:
                print(outcome.output[-3000:])
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
