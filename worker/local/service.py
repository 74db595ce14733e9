"""One server as the supervisor sees it: launched, asked whether it answers, relaunched, stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from worker.local.errors import LocalServicesError
from worker.local.ports import free_port, is_free

Tick = Callable[[float], None]
"""Sleeps so many seconds. Raises when the parent is gone, so that no wait outlives it."""

_LAUNCHES = 5
_START_SECONDS = 60.0


class Service(ABC):
    """A server in a folder, listening on 127.0.0.1."""

    title: str

    def __init__(self, port: int | None, log: Path) -> None:
        self.port = free_port(port)
        self._log = log
        self._log.unlink(missing_ok=True)  # the log of this run
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = 0.0
        self._launched_at = 0.0

    @abstractmethod
    def prepare(self, tick: Tick) -> None:
        """Make what the first launch needs. Raises LocalServicesError."""

    @abstractmethod
    def _launch(self, log: int) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether our process, and no other that may sit on the port, takes work."""

    @abstractmethod
    def _stop_signals(self, seconds: float) -> list[tuple[signal.Signals, float]]:
        """What to send, and how long to wait after each; SIGKILL comes after the last."""

    def launch(self) -> None:
        self._launched_at = time.monotonic()
        with self._log.open("ab") as log:
            self._process = self._launch(log.fileno())

    def wait_until_ready(self, tick: Tick) -> None:
        """Wait for the first answer; a port that somebody took in between is changed for another one."""
        end = time.monotonic() + _START_SECONDS
        launches = 1
        while not self.answers():
            if self._exit_code() is not None:
                if launches == _LAUNCHES or is_free(self.port):
                    raise LocalServicesError(f"{self.title} did not start: {self.last_words()}")
                self.port = free_port()
                launches += 1
                self.launch()
            if time.monotonic() > end:
                raise LocalServicesError(f"{self.title} does not answer after {_START_SECONDS:.0f} s; see {self._log}")
            tick(0.02)

    def relaunch_if_ended(self) -> str | None:
        """Launch again, after a pause that grows while it keeps dying. Returns what to tell, once for each end."""
        code = self._exit_code()
        now = time.monotonic()
        if code is None:
            return None
        if self._process is not None:
            steady = now - self._launched_at > 30
            self._pause = 1.0 if steady else min(max(self._pause * 2, 1.0), 10.0)
            self._launched_at = now
            self._process = None
            return f"{self.title} ended ({code}); starting it again in {self._pause:.0f} s"
        if now - self._launched_at >= self._pause:
            self.launch()
        return None

    def begin_stop(self, seconds: float) -> None:
        """Send the first signal."""
        if self._exit_code() is None and self._process is not None:
            self._process.send_signal(self._stop_signals(seconds)[0][0])

    def end_stop(self, seconds: float) -> None:
        """Wait for the end, within about so many seconds, with stronger signals on the way."""
        if self._process is None:
            return
        first, *others = self._stop_signals(seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(first[1])
        for stronger, patience in (*others, (signal.SIGKILL, 5.0)):
            if self._process.poll() is None:
                self._process.send_signal(stronger)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return " / ".join(line.strip() for line in lines[-3:]) or "it said nothing"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def _exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else 0


def end_orphan(pid_file: Path, mark: str, with_signal: signal.Signals, tick: Tick) -> None:
    """End the server of an earlier run that outlived its supervisor: the pid in the file, if it really is that one.

    On Linux the kernel has seen to it, and at most we wait for it here; elsewhere nobody has.
    """
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return
    end = time.monotonic() + 10
    while mark in _command_line(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, with_signal if time.monotonic() < end else signal.SIGKILL)
        tick(0.1)


def _command_line(pid: int) -> str:
    if sys.platform.startswith("linux"):
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    result = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603
    return result.stdout
