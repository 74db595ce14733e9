"""The process that owns the local servers: `python -m worker.local.supervisor`, its orders on standard input.

First line: a Request. Then, one JSON object a line: `{"guard": PGID}`, `{"forget": PGID}`, `{"stop": true}`. It answers
one JSON object a line: `{"say": TEXT}`, `{"ready": {"postgres": PORT, "valkey": PORT}}` or `{"failed": TEXT}`.

When its standard input ends, whoever gave the orders is gone, perhaps by SIGKILL with its whole process group: it kills
the process groups it guards, stops the servers and ends. It has a session of its own, so that no signal sent to that
group reaches it. It starts no thread: the kernel's promise to end children is tied to the thread that made them.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from worker.local.account import Account, postgres_account
from worker.local.binaries import PostgresBinaries, copy_wheel, find_postgres, find_valkey
from worker.local.errors import LocalServicesError
from worker.local.home import SERVICES_FILE, hold_services, passwords, read_json, write_private
from worker.local.postgres import Postgres
from worker.local.service import Service
from worker.local.valkey import Valkey

_CLEAN_STOP_SECONDS = 20.0
_HURRIED_STOP_SECONDS = 2.5  # parent gone: everything has to be away within five seconds


@dataclass(frozen=True)
class StartRequest:
    """What to run. `state_file` is removed at the end: what it says is no longer so."""

    home: str
    postgres: bool
    valkey: bool
    durable: bool
    state_file: str
    postgres_bin: str | None = None
    valkey_server: str | None = None

    def as_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_order(cls, order: dict[str, Any]) -> Self:
        return cls(**order)


class Stopped(Exception):
    """We were told to stop, or whoever could tell us is gone."""


class Orders:
    """Lines of standard input, and SIGTERM."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""
        self._groups: set[int] = set()
        self._terminated = False
        self.hurry = True
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def request(self) -> StartRequest:
        while b"\n" not in self._unread:
            self._read(1.0)
        line, self._unread = self._unread.split(b"\n", 1)
        return StartRequest.from_order(json.loads(line))

    def tick(self, seconds: float) -> None:
        """Wait so long, obeying what comes in. Raises Stopped."""
        self._read(seconds)
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            match json.loads(line):
                case {"guard": int(group)}:
                    self._groups.add(group)
                case {"forget": int(group)}:
                    self._groups.discard(group)
                case {"stop": True}:
                    self.hurry = False
                    raise Stopped

    def _read(self, seconds: float) -> None:
        if select.select([self._descriptor], [], [], seconds)[0]:
            chunk = os.read(self._descriptor, 65_536)
            if not chunk:
                raise Stopped
            self._unread += chunk
        if self._terminated:
            raise Stopped

    def kill_guarded(self) -> None:
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


def main() -> int:
    os.umask(0o077)
    # Nobody may be reading any more: an answer that finds no room or no reader is dropped.
    os.set_blocking(sys.stdout.fileno(), False)
    orders = Orders(sys.stdin.fileno())
    request: StartRequest | None = None
    services: list[Service] = []
    try:
        request = orders.request()
        with hold_services(Path(request.home)):
            try:
                services = _build(request)
                _start(request, services, orders)
                _watch(services, orders)
            finally:
                orders.kill_guarded()
                Path(request.state_file).unlink(missing_ok=True)
                _stop(services, _HURRIED_STOP_SECONDS if orders.hurry else _CLEAN_STOP_SECONDS)
    except Stopped:
        pass
    except (LocalServicesError, OSError) as error:
        _answer(failed=str(error))
        return 1
    return 0


def _build(request: StartRequest) -> list[Service]:
    home = Path(request.home)
    state = read_json(home / SERVICES_FILE)
    words = passwords(home)
    services: list[Service] = []
    if request.postgres:
        binaries = find_postgres(Path(request.postgres_bin) if request.postgres_bin else None)
        data, binaries, account = _place(home, Path(state["data"]) if "data" in state else None, binaries)
        state["data"] = str(data)
        write_private(home / SERVICES_FILE, state)
        services.append(
            Postgres(
                binaries=binaries,
                data=data,
                port=_port(state.get("postgres")),
                log=home / "postgres.log",
                password=words["postgres"],
                account=account,
                durable=request.durable,
            )
        )
    if request.valkey:
        services.append(
            Valkey(
                program=find_valkey(Path(request.valkey_server) if request.valkey_server else None),
                folder=home / "valkey",
                port=_port(state.get("valkey")),
                log=home / "valkey.log",
                password=words["valkey"],
                durable=request.durable,
            )
        )
    return services


def _port(text: str | None) -> int | None:
    return int(text) if text else None


def _place(
    home: Path, data_folder: Path | None, binaries: PostgresBinaries
) -> tuple[Path, PostgresBinaries, Account | None]:
    """Where the data goes, which programs to run, and as whom: all of it within that user's reach."""
    data = data_folder or home / "postgres"
    account = postgres_account(data)
    if account is None:
        return data, binaries, None
    if home.stat().st_mode & 0o011 != 0o011:
        home.chmod(home.stat().st_mode & 0o777 | 0o011)
    if not account.can_enter(data.parent):
        if data.exists():
            raise LocalServicesError(
                f"PostgreSQL runs as the user {account.name}, who can no longer reach its data in {data}: "
                f"let others pass through the folders above it (chmod o+x), or set DATABASE_URL"
            )
        data = _open_folder(account) / "postgres"
    if data.parent != home:
        _answer(
            say=f"PostgreSQL: its data is in {data}, because the user {account.name}, who runs it, cannot reach {home}"
        )
    if not account.succeeds([str(binaries.postgres), "--version"]):
        binaries = copy_wheel(binaries, data.parent / "programs")
        if not account.succeeds([str(binaries.postgres), "--version"]):
            raise LocalServicesError(f"the user {account.name} cannot run {binaries.postgres}: set DATABASE_URL")
    return data, binaries, account


def _open_folder(account: Account) -> Path:
    """A new folder of ours that this user can reach."""
    for parent in (Path("/var/lib/llm-refresh"), Path(tempfile.gettempdir())):
        folder = parent / f"llm-refresh-{secrets.token_hex(6)}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True)
            for path in (folder, parent):
                if path.name.startswith("llm-refresh"):
                    path.chmod(0o711)
            if account.can_enter(folder):
                return folder
            folder.rmdir()
    raise LocalServicesError(f"no folder was found that the user {account.name} can reach: set DATABASE_URL")


def _start(request: StartRequest, services: list[Service], orders: Orders) -> None:
    started = time.monotonic()
    # Both are made and launched first, and waited for together.
    for service in services:
        service.prepare(orders.tick)
        service.launch()
    for service in services:
        service.wait_until_ready(orders.tick)
        _answer(say=f"{service.title}: answers on 127.0.0.1:{service.port} ({time.monotonic() - started:.1f} s)")
    ports = {type(service).__name__.lower(): service.port for service in services}
    file = Path(request.home) / SERVICES_FILE
    write_private(file, read_json(file) | {name: str(port) for name, port in ports.items()})
    _answer(ready=ports)


def _watch(services: list[Service], orders: Orders) -> None:
    while True:
        orders.tick(0.25)
        for service in services:
            if news := service.relaunch_if_ended():
                _answer(say=news)


def _stop(services: list[Service], seconds: float) -> None:
    for service in services:
        service.begin_stop(seconds)
    for service in services:
        service.end_stop(seconds)


def _answer(**answer: object) -> None:
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
