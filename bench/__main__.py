"""`python -m bench [line ...] [--quick] [--json]`: measure, and print what came out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console

from bench import chats, dispatch, growth, latency, listing, peers, planning, refresh
from bench.figures import Figure, table
from bench.place import Place, place
from shared.logs import configure

LINES: dict[str, Callable[[Place], Iterator[Figure]]] = {
    "listing": listing.run,
    "refresh": refresh.run,
    "planning": planning.run,
    "chats": chats.run,
    "latency": latency.run,
    "growth": growth.run,
    "dispatch": dispatch.run,
}
ON_REQUEST: dict[str, Callable[[Place], Iterator[Figure]]] = {"peers": peers.run}
"""Only where it is named: `make bench-peers` installs what it needs."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "line",
        nargs="*",
        choices=[*LINES, *ON_REQUEST, []],
        help=f"which to measure: {', '.join(LINES)} (all of these), {', '.join(ON_REQUEST)}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: to see that it runs, not to compare")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    began = time.monotonic()
    configure(as_json=True, level="error", process="bench", stream=sys.stderr)

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    figures: list[Figure] = []
    with place(quick=options.quick, say=say) as here:
        for name in options.line or LINES:
            say(f"{name}:")
            figures += (LINES | ON_REQUEST)[name](here)
    if options.json:
        print(json.dumps({"machine": _machine(), "quick": options.quick, "figures": [f.as_json() for f in figures]}))
    else:
        console = Console()
        Console(width=None if console.is_terminal else 160).print(table(figures))


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average": os.getloadavg(),
    }


if __name__ == "__main__":
    main()
