"""Questions to Apprise, which runs in a process of its own for each: it may be ended at the deadline wherever it hangs,
its many modules stay out of ours, and what it logs (addresses, and the tokens in them) goes nowhere.

Nothing heavy is imported here: `make up` asks before anything else is loaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.settings import Settings, SettingsError

DEADLINE_SECONDS: Final = 30.0
"""For a batch, the start of the process included."""


def check_receivers(settings: Settings, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Ask Apprise whether it understands each address: a second, and nothing is sent. Raises SettingsError."""
    urls = [url.get_secret_value() for url in settings.notify_urls]
    if urls and (errors := check(urls, deadline_seconds=deadline_seconds)):
        raise SettingsError(f"NOTIFY_URLS: {'; '.join(errors)}")


def check(urls: Sequence[str], *, deadline_seconds: float = DEADLINE_SECONDS) -> list[str]:
    """A line for each address that Apprise does not understand, by its place; it repeats nothing of the address."""
    lines, _ = ask({"check": list(urls)}, deadline_seconds)
    if len(lines) != len(urls):
        return ["Apprise could not be asked whether it understands the addresses"]
    return [
        f"address {number} is none that Apprise understands"
        for number, line in enumerate(lines, start=1)
        if line["error"] is not None
    ]


def ask(request: Mapping[str, Any], deadline_seconds: float) -> tuple[list[dict[str, Any]], bool]:
    """The lines that Apprise's process answers, and whether it ended in time. No address stands in its arguments."""
    try:
        process = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "shared.notices.apprise_process", str(int(deadline_seconds) + 1)],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=deadline_seconds,
            check=False,
        )
        output, in_time = process.stdout, True
    except subprocess.TimeoutExpired as late:
        output, in_time = late.stdout or b"", False
    *whole, _ = output.split(b"\n")
    return [json.loads(line) for line in whole], in_time
