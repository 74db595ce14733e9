"""The `llm-refresh` command: started as users do, or forked from a process that has loaded everything already.

Loading takes a second of CPU, most commands a twentieth of that, and the tests run hundreds of them. Loaded is also
what a process reads once: the public data, the nights of the default schedule. The fork gets words, variables, folder
and streams of its own before the command begins, and ends as the program does, but for taking apart what is loaded.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).parent / "llm-refresh"
SECONDS = 60.0
_REQUEST_BYTES = 65536

# Our modules read no variable when they are loaded, so it is as good to set them afterwards. Standard input is the
# socket of requests: at its end, whatever became of the tests, this process ends too.
_LOADED = f"""
import array, atexit, gc, json, os, signal, socket, sys
from importlib import import_module

exit_codes = []

@atexit.register  # before all others: called after them
def leave():
    if exit_codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_codes[0])  # taking apart all that is loaded would cost more than most commands

from worker.cli import COMMANDS, main

def next_command():
    requests = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        data, ancillary, _, _ = requests.recvmsg({_REQUEST_BYTES}, socket.CMSG_SPACE(16))
        if not data:
            os._exit(0)
        *streams, answer = array.array("i", ancillary[0][2])
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            command = os.fork()
            if command == 0:
                break
            for stream in streams:
                os.close(stream)
            os.write(answer, f"{{command}} ".encode())
            os.write(answer, str(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])).encode())
            os._exit(0)
        for stream in (*streams, answer):
            os.close(stream)
    requests.close()
    os.close(answer)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return json.loads(data)

for place in COMMANDS.values():
    import_module("worker.commands." + place.partition(":")[0])
for late in ("migrations.run", "importlib.readers", "rich._emoji_codes", "rich.status", "worker.web.token_claims"):
    import_module(late)
from shared.catalogue.facts.models_dev import model_data
from shared.settings import Settings
from worker.runtime import cadence_of_settings
model_data()
cadence_of_settings(Settings(llm_refresh_env="local", database_url="postgresql://a:b@c/d", redis_url="redis://e"))
gc.freeze()  # or each fork would look through all that is loaded, and copy it
given = next_command()
os.environ.clear()
os.environ.update(given["variables"])
os.chdir(given["folder"])
sys.argv = [given["program"], *given["words"]]
try:
    main()
except SystemExit as ending:
    if ending.code is None or isinstance(ending.code, int):
        exit_codes.append(ending.code or 0)
    raise
"""


class LoadedCommands:
    """The process that has loaded everything."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def run(
        self, words: tuple[str, ...], variables: Mapping[str, str], folder: Path, stdin: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises TimeoutError after SECONDS, and ends it."""
        with ExitStack() as ending:
            streams: list[IO[str]] = [
                ending.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)
            ]
            streams[0].write(stdin)
            streams[0].seek(0)
            ours, theirs = socket.socketpair()
            ending.enter_context(ours)
            with theirs:
                request = {"program": str(PROGRAM), "words": words, "variables": dict(variables), "folder": str(folder)}
                given = array.array("i", [*(stream.fileno() for stream in streams), theirs.fileno()])
                self._requests.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
            code = _end_of(ours)
            for stream in streams[1:]:
                stream.seek(0)
            return subprocess.CompletedProcess([str(PROGRAM), *words], code, streams[1].read(), streams[2].read())


def _end_of(answer: socket.socket) -> int:
    """Wait for the exit code of a command. Raises TimeoutError."""
    answer.settimeout(SECONDS)
    output = b""
    try:
        while part := answer.recv(64):
            output += part
    except TimeoutError:
        os.kill(int(output.split()[0]), signal.SIGKILL)
        raise
    return int(output.split()[1])


@contextmanager
def loaded_commands() -> Iterator[LoadedCommands]:
    """Start the process that loads everything; it ends with the block, or with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _LOADED],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                env=kept_variables(),
            )
        try:
            yield LoadedCommands(ours)
        finally:
            ours.close()
            process.wait(20)


def kept_variables() -> dict[str, str]:
    """What a command needs of the environment that the tests run in."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}


class Commands:
    """Commands with these variables, in this folder. Without `loaded` each is the program itself."""

    def __init__(self, variables: dict[str, str], folder: Path, loaded: LoadedCommands | None = None) -> None:
        self.variables = variables
        self.folder = folder
        self.loaded = loaded

    def __call__(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        variables = {**kept_variables(), **self.variables, **more}
        if self.loaded is not None:
            return self.loaded.run(words, variables, self.folder, stdin)
        return subprocess.run(
            [PROGRAM, *words],
            env=variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            input=stdin,
        )

    def start(self, *words: str, stdin: str) -> subprocess.Popen[str]:
        """The program in the background, its standard input given."""
        process = subprocess.Popen(
            [PROGRAM, *words],
            env={**kept_variables(), **self.variables},
            cwd=self.folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None  # communicate() would flush it
        return process
