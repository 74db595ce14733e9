"""One Valkey in a folder: TCP on 127.0.0.1 only, with a password."""

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

from worker.local.parent_death import die_with_parent
from worker.local.ports import LOOPBACK
from worker.local.service import Service, Tick, end_orphan


class Valkey(Service):
    """`folder` keeps its append-only file; `durable=False` keeps nothing (tests)."""

    title = "Valkey"

    def __init__(
        self, *, program: Path, folder: Path, port: int | None, log: Path, password: str, durable: bool
    ) -> None:
        super().__init__(port, log)
        self._program = program
        self._folder = folder
        self._kept_port = port
        self._password = password
        self._durable = durable

    def prepare(self, tick: Tick) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._kept_port is not None:
            # It shows its address in its command line.
            end_orphan(self._folder / "valkey.pid", f"{LOOPBACK}:{self._kept_port}", signal.SIGTERM, tick)

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        folder = str(self._folder).replace("\\", "\\\\").replace('"', '\\"')
        configuration = f"""
            bind {LOOPBACK}
            port {self.port}
            requirepass {self._password}
            dir "{folder}"
            pidfile "{folder}/valkey.pid"
            appendonly {"yes" if self._durable else "no"}
            save ""
            maxmemory-policy noeviction
            databases {16 if self._durable else 4096}
        """
        process = subprocess.Popen(  # noqa: S603
            [str(self._program), "-"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - this process has one thread
        )
        # On standard input, so that the password is in no command line and no file.
        assert process.stdin is not None  # noqa: S101 - asked for above
        with contextlib.suppress(BrokenPipeError), process.stdin as standard_input:
            standard_input.write(configuration.encode())
        return process

    def answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (received := connection.recv(1024)):
                    answer += received
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def _stop_signals(self, seconds: float) -> list[tuple[signal.Signals, float]]:
        return [(signal.SIGTERM, seconds)]
