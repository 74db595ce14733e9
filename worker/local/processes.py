"""The processes of a Procfile: started, their output shown line by line, restarted, stopped.

Each has a session of its own, so that a Ctrl-C in the terminal reaches us first, and so that its whole process group
can be ended. On Linux the kernel ends each when we end; the guard, who is told of every group, does so everywhere.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from worker.local.parent_death import die_with_parent

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""Who has run so long begins again with the first pause."""

_LONGEST_LINE = 65_536


class ProcfileError(Exception):
    """A line of the Procfile is no `name: command`. The text names it."""


class ProcessGuard(Protocol):
    """Who ends a process group when we cannot (see LocalServices)."""

    def guard(self, group: int) -> None: ...

    def forget(self, group: int) -> None: ...


def parse_procfile(text: str) -> dict[str, str]:
    """Commands by the names of their processes, in the file's order. Raises ProcfileError."""
    commands: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(\S.*)", line.rstrip())
        if match is None or match[1] in commands:
            raise ProcfileError(f"Procfile, line {number}: expected a new `name: command`")
        commands[match[1]] = match[2]
    return commands


def shell_command(command: str) -> list[str]:
    """The command as a shell reads it (`${NAME:-default}`), without a shell that stays beside it."""
    return ["/bin/sh", "-c", f"exec {command}"]


class Output:
    """Lines of several processes on one stream, each with the name of who wrote it, flushed one by one."""

    def __init__(self, stream: BinaryIO, width: int) -> None:
        self._stream: BinaryIO | None = stream
        self._width = width
        self.on_closed: Callable[[], object] = lambda: None
        """Called once, when nobody reads the stream any more."""

    def line(self, name: str, text: bytes) -> None:
        self._write(f"{name:<{self._width}} | ".encode() + text + b"\n")

    def say(self, text: str) -> None:
        """A line of our own."""
        self._write(text.encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError:  # whoever read it has gone: there is nobody left to tell
            self._stream = None
            self.on_closed()


@dataclass
class _RunningProcess:
    """One process, and the wishes about it."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    kill: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    grace_seconds: float = 10.0


class Processes:
    """Runs processes in the running event loop, whose thread has to be the main one. Call `close` at the end."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        cwd: Path,
        output: Output,
        guard: ProcessGuard,
        grace_seconds: Mapping[str, float] | None = None,
    ) -> None:
        """`grace_seconds`: how long each may take to end after SIGTERM, by name; 10 for others."""
        self._environ = dict(environ)
        self._cwd = cwd
        self._output = output
        self._guard = guard
        self._grace = grace_seconds or {}
        self._running: dict[str, _RunningProcess] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._child_ended: set[asyncio.Event] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._wake)

    @property
    def names(self) -> list[str]:
        """Of all that were started, whether they still run or not."""
        return list(self._running)

    async def run(self, name: str, command: Sequence[str]) -> int:
        """Run once, to its end. Returns its exit code (negative: the signal that ended it)."""
        return await self._run(name, command, self._new(name))

    def keep_running(self, name: str, command: Sequence[str]) -> None:
        """Start, and start again whenever it ends, with a pause that grows while it keeps ending."""
        task = self._loop.create_task(self._keep_running(name, command, self._new(name)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, names: Iterable[str] | None = None) -> None:
        """Ask these (or all) to end, and wait; who takes longer than its grace is killed."""
        chosen = [self._running[name] for name in (self.names if names is None else names)]
        for running in chosen:
            running.stop.set()
        for running in chosen:
            await running.ended.wait()

    def kill(self) -> None:
        """End all of them now, also those that are being stopped."""
        for running in self._running.values():
            running.stop.set()
            running.kill.set()

    async def close(self) -> None:
        """Stop what still runs. Raises what went wrong in keeping a process running."""
        await self.stop()
        await asyncio.gather(*self._tasks)
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def _new(self, name: str) -> _RunningProcess:
        running = _RunningProcess(grace_seconds=self._grace.get(name, 10.0))
        self._running[name] = running
        return running

    async def _keep_running(self, name: str, command: Sequence[str], running: _RunningProcess) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = self._loop.time()
            code = await self._run(name, command, running)
            if running.stop.is_set():
                return
            running.ended.clear()
            if self._loop.time() - started >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._output.say(f"{name} {_how_it_ended(code)}; starting it again in {pause:.0f} s")
            if await _happens(running.stop, within=pause):
                running.ended.set()
                return
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run(self, name: str, command: Sequence[str], running: _RunningProcess) -> int:
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", buffering=0) as lines:
            try:
                process = subprocess.Popen(  # noqa: S603, ASYNC220 - the commands of the Procfile; a fork is short
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=writer,
                    stderr=writer,
                    cwd=self._cwd,
                    env=self._environ,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - this process has one thread
                )
            except OSError as error:
                self._output.line(name, f"cannot be started: {error.strerror} ({command[0]})".encode())
                running.ended.set()
                return 127
            finally:
                os.close(writer)
            self._guard.guard(process.pid)
            output_task = self._loop.create_task(self._show(name, lines))
            code = await self._wait_for_end(process, running)
            # Its children too: a gunicorn worker that outlived its master would keep the port.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            self._guard.forget(process.pid)
            await asyncio.wait([output_task], timeout=1.0)  # longer only if someone left the group and kept the pipe
            output_task.cancel()
            running.ended.set()
            return code

    async def _wait_for_end(self, process: "subprocess.Popen[bytes]", running: _RunningProcess) -> int:
        exited = asyncio.Event()
        self._child_ended.add(exited)
        watching = self._loop.create_task(self._watch(process, exited))
        try:
            stopping = self._loop.create_task(running.stop.wait())
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not watching.done():
                process.terminate()
                killing = self._loop.create_task(running.kill.wait())
                await asyncio.wait(
                    [watching, killing], timeout=running.grace_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                killing.cancel()
            if not watching.done():
                process.kill()
            return await watching
        finally:
            self._child_ended.discard(exited)

    async def _watch(self, process: "subprocess.Popen[bytes]", child_ended: asyncio.Event) -> int:
        while (code := process.poll()) is None:
            await child_ended.wait()
            child_ended.clear()
        return code

    def _wake(self) -> None:
        for event in self._child_ended:
            event.set()

    async def _show(self, name: str, lines: BinaryIO) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), lines)
        try:
            rest = b""
            while chunk := await stream.read(_LONGEST_LINE):
                *complete, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    complete, rest = [*complete, rest], b""
                for line in complete:
                    self._output.line(name, line.rstrip(b"\r"))
            if rest:
                self._output.line(name, rest)
        finally:
            transport.close()


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


async def _happens(event: asyncio.Event, within: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within)
    return event.is_set()
