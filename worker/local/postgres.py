"""One PostgreSQL in a folder: TCP on 127.0.0.1 only, so that a long folder name does not matter."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from worker.local.account import Account, RunAs
from worker.local.binaries import PostgresBinaries
from worker.local.errors import LocalServicesError
from worker.local.parent_death import die_with_parent
from worker.local.service import Service, Tick, end_orphan

SUPERUSER = "postgres"
_BUILTIN_LOCALES_SINCE = 17
_READY_LINE = 7  # of postmaster.pid, see PostgreSQL's src/include/utils/pidfile.h


class Postgres(Service):
    """`data` is its data folder, made when missing; `durable=False` trades safety for speed (tests)."""

    title = "PostgreSQL"

    def __init__(
        self,
        *,
        binaries: PostgresBinaries,
        data: Path,
        port: int | None,
        log: Path,
        password: str,
        account: Account | None,
        durable: bool,
    ) -> None:
        super().__init__(port, log)
        self._binaries = binaries
        self._data = data
        self._password = password
        self._account = account
        self._durable = durable

    @property
    def _run_as(self) -> RunAs:
        return self._account.run_as if self._account is not None else {}

    def version(self) -> str:
        """Such as `18.6`."""
        result = subprocess.run(  # noqa: S603
            [str(self._binaries.postgres), "--version"], capture_output=True, text=True, check=False, cwd="/"
        )
        match = re.search(r"\d+(\.\d+)?", result.stdout)
        if match is None:
            raise LocalServicesError(f"{self._binaries.postgres} cannot be run: {result.stderr.strip()}")
        return match.group()

    def prepare(self, tick: Tick) -> None:
        if (self._data / "PG_VERSION").exists():
            end_orphan(self._data / "postmaster.pid", str(self._data), signal.SIGINT, tick)
            return
        # Made under another name first: an interrupted initdb leaves nothing that looks like a database.
        new_folder = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", suffix=".password", dir=self._data.parent) as password_file:
            password_file.write(self._password)
            password_file.flush()
            if self._account is not None:
                os.chown(new_folder, self._account.uid, self._account.gid)
                os.chown(password_file.name, self._account.uid, self._account.gid)
            self._initdb(new_folder, Path(password_file.name), tick)
        new_folder.rename(self._data)

    def _initdb(self, folder: Path, password_file: Path, tick: Tick) -> None:
        locale = ["--locale=C"]
        if int(self.version().split(".")[0]) >= _BUILTIN_LOCALES_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [
            *(str(self._binaries.initdb), "-D", str(folder), "-U", SUPERUSER, "-E", "UTF8", *locale),
            *("-A", "scram-sha-256", f"--pwfile={password_file}"),
            *([] if self._durable else ["--no-sync"]),
        ]
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - this process has one thread
                **self._run_as,
            )
        try:
            while process.poll() is None:
                tick(0.02)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise LocalServicesError(f"PostgreSQL's initdb failed: {self.last_words()}")

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        return subprocess.Popen(  # noqa: S603
            [str(self._binaries.postgres), "-D", str(self._data), "-p", str(self.port), *settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            # SIGINT is the fast shutdown
            preexec_fn=die_with_parent(signal.SIGINT),  # noqa: PLW1509 - this process has one thread
            **self._run_as,
        )

    def answers(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # A file left by a crash says ready too, with another pid.
        return len(lines) > _READY_LINE and lines[0] == str(self.pid) and lines[_READY_LINE].strip() == "ready"

    def _stop_signals(self, seconds: float) -> list[tuple[signal.Signals, float]]:
        # Fast shutdown ends the clients' sessions; SIGQUIT ends at once and recovers from the log at the next start.
        return [(signal.SIGINT, seconds), (signal.SIGQUIT, 1.0)]
