"""A second host: a network namespace whose only way to the servers is a link that can be cut.

Two namespaces and the link between them are made here; the servers stay on the loopback of the first one, and are
reached through Unix sockets. Linux, root and the program `ip` are needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness.processes import BIN, ROOT

_NEAR, _FAR = "10.231.7.1", "10.231.7.2"  # within the two namespaces alone
_PASSED_ON: Final = ("DATABASE_URL", "REDIS_URL", "MATCHAAI_BASE_URL")
_START_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class SecondHost:
    """A running second host. `variables`: the addresses of the servers as they are seen from there."""

    namespace: str
    variables: Mapping[str, str]
    _link: subprocess.Popen[str]

    def command(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command, as it is run on this host."""
        return (_ip(), "netns", "exec", self.namespace, str(BIN / command[0]), *command[1:])

    def order(self, line: str) -> None:
        """Tell the link: `cut`, `heal`, or `bad LOSS SECONDS`."""
        assert self._link.stdin is not None
        self._link.stdin.write(line + "\n")
        self._link.stdin.flush()


def _ip() -> str:
    return shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "ip"


def _run_ip(*arguments: str) -> None:
    subprocess.run([_ip(), *arguments], check=True, capture_output=True, text=True)


def _start(*command: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise OSError(f"{command} ended with {process.wait(_START_SECONDS)}")
    return process


def _stop(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.close()
    process.terminate()
    process.wait(_START_SECONDS)


@contextlib.contextmanager
def second_host(addresses: Mapping[str, str], folder: Path, say: Callable[[str], None]) -> Iterator[SecondHost | None]:
    """A second host from which these addresses are reached, or None with the reason said, where it cannot be made."""
    near, far = f"llmr-{os.getpid()}-near", f"llmr-{os.getpid()}-far"
    with contextlib.ExitStack() as ending:
        try:
            for namespace in (near, far):
                _run_ip("netns", "add", namespace)
                ending.callback(_run_ip, "netns", "del", namespace)
                _run_ip("-n", namespace, "link", "set", "lo", "up")
            link = _start(sys.executable, "-m", "tests.chaos.link", near, far)
            ending.callback(_stop, link)
            for namespace, address in ((near, _NEAR), (far, _FAR)):
                _run_ip("-n", namespace, "address", "add", f"{address}/30", "dev", "link0")
                _run_ip("-n", namespace, "link", "set", "link0", "up")
            variables = _pass_on(addresses, folder, near, ending)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            say(f"skipped: a second host: no network namespaces here ({reason})")
            ending.close()
            yield None
            return
        yield SecondHost(far, variables, link)


def _pass_on(addresses: Mapping[str, str], folder: Path, near: str, ending: contextlib.ExitStack) -> dict[str, str]:
    variables, outer, inner = {}, [], []
    for number, name in enumerate(_PASSED_ON):
        parts = urlsplit(addresses[name])
        socket = folder / f"relay-{number}"
        outer.append(f"unix:{socket}=tcp:127.0.0.1:{parts.port}")
        inner.append(f"tcp:{_NEAR}:{parts.port}=unix:{socket}")
        variables[name] = addresses[name].replace(f"127.0.0.1:{parts.port}", f"{_NEAR}:{parts.port}")
    relay = (sys.executable, "-m", "tests.chaos.relay")
    ending.callback(_stop, _start(*relay, *outer))
    ending.callback(_stop, _start(_ip(), "netns", "exec", near, *relay, *inner))
    return variables
