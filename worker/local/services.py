"""Start and stop the local servers. What calls this may end in any way, by SIGKILL too: nothing is left behind."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from shared.environment import STATE_FILE
from worker.local.database_roles import APP, OWNER, DatabaseLogin, address, bootstrap_roles
from worker.local.errors import LocalServicesError
from worker.local.home import hold_home, is_held, open_home, passwords, read_json, write_private
from worker.local.postgres import SUPERUSER
from worker.local.supervisor import StartRequest

DATABASE = "llm_refresh"
_EXPORTED = ("DATABASE_URL", "MIGRATE_DATABASE_URL", "REDIS_URL")
_STOP_SECONDS = 40.0


class LocalServices:
    """Running servers, and the guard of process groups that comes with them. Made by start_services."""

    def __init__(
        self,
        supervisor: subprocess.Popen[bytes],
        login_passwords: dict[str, str],
        locks: contextlib.ExitStack,
    ) -> None:
        self._supervisor = supervisor
        self._ports: dict[str, int] = {}
        self._passwords = login_passwords
        self._locks = locks
        self._orders = _given(supervisor.stdin)
        self.news: IO[bytes] = _given(supervisor.stdout)
        """What the supervisor says, a JSON object a line; it ends when the supervisor does."""

    @property
    def database_url(self) -> str:
        """For the application's login, as `postgresql://`."""
        return address(self._ports["postgres"], DatabaseLogin(APP, self._passwords["app"]), DATABASE)

    @property
    def migrate_database_url(self) -> str:
        """For the owner's login."""
        return address(self._ports["postgres"], DatabaseLogin(OWNER, self._passwords["owner"]), DATABASE)

    @property
    def superuser_url(self) -> str:
        """For the superuser, in the database `postgres`. For tests."""
        return address(self._ports["postgres"], DatabaseLogin(SUPERUSER, self._passwords["postgres"]), "postgres")

    @property
    def redis_url(self) -> str:
        """Database 0, with its password."""
        return f"redis://:{self._passwords['valkey']}@127.0.0.1:{self._ports['valkey']}/0"

    def begin(self, request: StartRequest, say: Callable[[str], None]) -> None:
        """Give the first order and wait until the servers answer. Raises LocalServicesError."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, and so do its news
            self._orders.write(request.as_line())
        for line in self.news:
            match json.loads(line):
                case {"say": str(text)}:
                    say(text)
                case {"failed": str(text)}:
                    raise LocalServicesError(text)
                case {"ready": dict(ports)}:
                    self._ports = ports
                    return
        raise LocalServicesError("the supervisor of the local servers ended while it started them")

    def guard(self, group: int) -> None:
        """Have a process group killed should this process end without having said `forget`."""
        self._order({"guard": group})

    def forget(self, group: int) -> None:
        """The group has ended: its number may become another's."""
        self._order({"forget": group})

    def stop(self) -> None:
        """Stop the servers, and wait until they have ended. May be called again."""
        self._order({"stop": True})
        with contextlib.suppress(OSError):
            self._orders.close()
        try:
            self._supervisor.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()  # its children follow it
            self._supervisor.wait()
        self.news.close()
        self._locks.close()

    def _order(self, order: dict[str, object]) -> None:
        with contextlib.suppress(OSError, ValueError):  # the supervisor has ended; its news end too
            self._orders.write(json.dumps(order).encode() + b"\n")


def start_services(
    home: Path,
    *,
    postgres: bool,
    valkey: bool,
    durable: bool = True,
    say: Callable[[str], None],
    postgres_bin: Path | None = None,
    valkey_server: Path | None = None,
) -> LocalServices:
    """Start a PostgreSQL and a Valkey (or one, or none but the guard), kept with passwords and ports in `home`.

    `say` is given one line for each thing worth knowing. `durable=False` is for data that may be lost. An explicit
    `postgres_bin` (a folder) and `valkey_server` (a program) win over those that would be found.

    Raises LocalServicesError: the home is in use or not writable, no programs, a server that does not start.
    """
    home = open_home(home)
    with contextlib.ExitStack() as starting:
        starting.enter_context(hold_home(home))
        login_passwords = passwords(home)
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "worker.local.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=Path(__file__).resolve().parents[2],  # where the package `shared` is
            start_new_session=True,
        )
        request = StartRequest(
            home=str(home),
            postgres=postgres,
            valkey=valkey,
            durable=durable,
            state_file=str(home / STATE_FILE),
            postgres_bin=str(postgres_bin) if postgres_bin is not None else None,
            valkey_server=str(valkey_server) if valkey_server is not None else None,
        )
        services = LocalServices(supervisor, login_passwords, starting.pop_all())
        starting.callback(services.stop)
        services.begin(request, say)
        if postgres:
            owner, app = DatabaseLogin(OWNER, login_passwords["owner"]), DatabaseLogin(APP, login_passwords["app"])
            bootstrap_roles(services.superuser_url, DATABASE, owner=owner, app=app)
        starting.pop_all()
        return services


def write_state(home: Path, state: Mapping[str, str]) -> None:
    """Leave settings, by their names in upper case, for commands that are given no database. Mode 0600.

    The supervisor removes it when the servers stop, however that comes.
    """
    write_private(home / STATE_FILE, state)


def local_env_lines(home: Path) -> list[str]:
    """`export NAME=value` for the addresses of the servers of the `make up` that runs in this home.

    Values hold nothing a shell would change. Raises LocalServicesError when none runs.
    """
    state = read_json(home / STATE_FILE)
    if not state or not is_held(home):
        raise LocalServicesError(f"no local servers run in {home}: start them with `make up`")
    return [f"export {name}={state[name]}" for name in _EXPORTED if name in state]


def _given(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - asked for with PIPE
    return stream
