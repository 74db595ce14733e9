"""`make up`: everything on this machine, in steps that are seen, until Ctrl-C.

Exit codes: 0 stopped after it was ready; 130 stopped before; 1 a step failed; 2 a setting is wrong or a port is taken.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from shared.settings import NAMES, SettingsError, misnamed
from worker.local import FIRST_HELD
from worker.local.errors import LocalServicesError
from worker.local.home import passwords
from worker.local.ports import free_port
from worker.local.processes import Output, Processes, ProcfileError, shell_command
from worker.local.services import LocalServices, start_services, write_state
from worker.local.up_plan import UpPlan, make_plan

STAND_IN = "stand-in"
_STAND_IN_PATH = "/rest/api/v1"
# A chat worker lets its calls finish for 30 s; a refresh ends within 15 s; web lets its readers go.
_GRACE_SECONDS = {"chat": 35.0, "worker": 35.0, "web": 35.0}
# Not for commands in another terminal: which home they mean led them to the state, and their logs are their own. All
# else they must know to mean the same system: who gets notices of a refresh, when a list is stale, what is held.
_NOT_IN_STATE = frozenset(("LLM_REFRESH_HOME", "LOG_FORMAT", "LOG_LEVEL"))
# Celery's command line reads these, and each would take its place before what the application says.
_CELERYS_OWN = ("APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE")
_STOPPED, _FAILED, _WRONG, _INTERRUPTED = 0, 1, 2, 130


def up(environ: Mapping[str, str], cwd: Path, stream: BinaryIO | None = None) -> int:
    """Start what is described in `cwd` (its `.env`, its Procfile), run it until a signal, and stop it.

    Returns the exit code. Lines go to `stream`, standard output when None.
    """
    try:
        plan = make_plan(environ, cwd)
    except (SettingsError, ProcfileError) as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG
    output = Output(stream or sys.stdout.buffer, width=max(map(len, (*plan.commands, STAND_IN, "migrate"))))
    _say_environment(plan, environ, cwd, output)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        services = start_services(
            plan.home,
            postgres=plan.own_postgres,
            valkey=plan.own_valkey,
            say=output.say,
            postgres_bin=_path(environ.get("LLM_REFRESH_POSTGRES_BIN")),
            valkey_server=_path(environ.get("LLM_REFRESH_VALKEY_SERVER")),
        )
    except LocalServicesError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    try:
        variables = plan.variables | _addresses(plan, services)
        write_state(plan.home, {name: variables[name] for name in sorted(NAMES - _NOT_IN_STATE) if name in variables})
        return asyncio.run(_Run(plan, variables, services, environ, cwd, output).until_stopped())
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        services.stop()
        output.say("stopped")


class _Run:
    """From running servers to a signal."""

    def __init__(
        self,
        plan: UpPlan,
        variables: Mapping[str, str],
        services: LocalServices,
        environ: Mapping[str, str],
        cwd: Path,
        output: Output,
    ) -> None:
        self._plan = plan
        self._variables = variables
        self._services = services
        self._environ = environ
        self._cwd = cwd
        self._output = output
        self._exit_code = _INTERRUPTED

    async def until_stopped(self) -> int:
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._output.on_closed = self._stop.set
        self._processes = Processes(
            environ=_process_environment(self._environ, self._variables),
            cwd=self._cwd,
            output=self._output,
            guard=self._services,
            grace_seconds=_GRACE_SECONDS,
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)
        news = loop.create_task(self._pass_news_on())
        bringing = loop.create_task(self._bring_up())
        stopping = loop.create_task(self._stop.wait())
        await asyncio.wait([bringing, stopping], return_when=asyncio.FIRST_COMPLETED)
        # The gateway's stand-in last: calls that are being finished need it.
        await self._processes.stop(name for name in self._processes.names if name != STAND_IN)
        await self._processes.close()
        await bringing
        for task in (news, stopping):
            task.cancel()
        return self._exit_code

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._processes.kill()
        else:
            self._output.say("stopping; once more to stop at once")
            self._stop.set()

    async def _bring_up(self) -> None:
        for step in ("schema", "seed"):
            name = "migrate" if step == "schema" else step
            if await self._step(name, "migrate", "--step", step) != 0:
                if not self._stop.is_set():
                    self._exit_code = _FAILED
                return
        code = await self._step("first refresh", "refresh", "--first")
        if code != 0 and not self._stop.is_set():
            how = "held, it waits for a decision" if code == FIRST_HELD else "failed"
            self._output.say(f"first refresh: {how}, see above; going on with the list as it is")
        if self._stop.is_set():
            return
        started_at = time.monotonic()
        for name, command in self._plan.commands.items():
            self._processes.keep_running(name, shell_command(command))
        if self._plan.own_stand_in:
            port = urlsplit(self._variables["STAND_IN_URL"]).port
            # Silent: its own `ready:` line would be taken for ours.
            silent = ["/bin/sh", "-c", 'exec "$@" >/dev/null', STAND_IN]
            stand_in = [*silent, sys.executable, "-m", "worker.cli", "sandbox", "--port", str(port)]
            self._processes.keep_running(STAND_IN, stand_in)
        started = [*self._plan.commands, *([STAND_IN] if self._plan.own_stand_in else [])]
        self._output.say(f"processes: starting {', '.join(started)}")
        if await self._ready():
            self._say_ready(time.monotonic() - started_at)
            self._exit_code = _STOPPED
            await self._stop.wait()

    async def _step(self, name: str, *arguments: str) -> int:
        if self._stop.is_set():
            return _INTERRUPTED
        started_at = time.monotonic()
        code = await self._processes.run(name.rsplit(maxsplit=1)[-1], [sys.executable, "-m", "worker.cli", *arguments])
        how = "done" if code == 0 else f"ended with exit code {code}"
        self._output.say(f"{name}: {how} ({time.monotonic() - started_at:.1f} s)")
        return code

    async def _ready(self) -> bool:
        """Wait until web answers and both workers consume, or until we are to stop."""
        last_report = time.monotonic()
        while not self._stop.is_set():
            missing = await missing_parts(self._plan.settings.port)
            if not missing:
                return True
            if time.monotonic() - last_report > 15:
                last_report = time.monotonic()
                self._output.say(f"processes: still waiting for {', '.join(missing)}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.2)
        return False

    def _say_ready(self, seconds: float) -> None:
        web = f"http://127.0.0.1:{self._plan.settings.port}"
        flower = f"http://127.0.0.1:{self._plan.settings.flower_port}"
        user, password = self._variables["FLOWER_USER"], self._variables["FLOWER_PASSWORD"]
        for line in (
            f"processes: all answer ({seconds:.1f} s)",
            f"API:    {web}/api/llms",
            f"page:   {web}/",
            f"/ops:   {web}/ops",
            f"Flower: {flower}/ (user {user}, password {password})",
            f"ready: {web}",
        ):
            self._output.say(line)

    async def _pass_news_on(self) -> None:
        stream = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), self._services.news)
        try:
            async for line in stream:
                self._output.say(str(json.loads(line).get("say", "")))
        finally:
            transport.close()
        if not self._stop.is_set():
            self._output.say("the supervisor of the local servers has ended, and they with it: stopping")
            self._exit_code = _FAILED
            self._stop.set()


async def missing_parts(port: int) -> list[str]:
    """What `/readyz` does not yet show: `web`, or what web says of its parts and of the two kinds of workers."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(f"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        parts = json.loads(body)["parts"]
        workers = parts.get("workers") or {}
        missing = [f"{kind} worker" for kind in ("refresh", "chat") if not workers.get(kind)]
        return missing or ([] if head.split()[1:2] == [b"200"] else ["web"])
    except (OSError, TimeoutError, ValueError, LookupError, TypeError, AttributeError):
        return ["web"]  # not yet, or somebody else's answer


def _addresses(plan: UpPlan, services: LocalServices) -> dict[str, str]:
    """The variables that come from what was started."""
    stored = passwords(plan.home)
    settings = plan.settings
    addresses = {
        "PORT": str(settings.port),
        "FLOWER_PORT": str(settings.flower_port),
        "FLOWER_USER": settings.flower_user,
        "FLOWER_PASSWORD": settings.flower_password.get_secret_value()
        if settings.flower_password
        else stored["flower"],
    }
    if plan.own_postgres:
        addresses |= {"DATABASE_URL": services.database_url, "MIGRATE_DATABASE_URL": services.migrate_database_url}
    if plan.own_valkey:
        addresses["REDIS_URL"] = services.redis_url
    if plan.own_stand_in:
        addresses |= {
            "STAND_IN_URL": f"http://127.0.0.1:{free_port()}{_STAND_IN_PATH}",
            "STAND_IN_API_KEY": stored["stand_in"],
        }
    return addresses


def _process_environment(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Ours, with every setting by its own name (none from a file again), and the environment's programs first."""
    excluded = {*(f"{name}_FILE" for name in NAMES), *_CELERYS_OWN}
    inherited = {name: value for name, value in environ.items() if name not in excluded}
    programs = str(Path(sys.executable).parent)
    return {
        **inherited,
        **variables,
        "PATH": os.pathsep.join((programs, environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        "FLOWER_ADDRESS": "127.0.0.1",
    }


def _say_environment(plan: UpPlan, environ: Mapping[str, str], cwd: Path, output: Output) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    output.say(f"environment: Python {version}, settings are good, local mode, home {plan.home}")
    if environ.get("LLM_REFRESH_ENV") == "production":
        output.say("environment: LLM_REFRESH_ENV=production is not for `make up`, which always runs in local mode")
    for line in misnamed(environ, cwd / ".env"):
        output.say(f"environment: {line}")
    if plan.own_stand_in:
        output.say("environment: chats go to a stand-in; set MATCHAAI_BASE_URL and MATCHAAI_API_KEY for the real one")
    for name, own in (("PostgreSQL", plan.own_postgres), ("Valkey", plan.own_valkey)):
        if not own:
            address = urlsplit(plan.variables["DATABASE_URL" if name == "PostgreSQL" else "REDIS_URL"])
            output.say(f"{name}: yours, {address.hostname or 'as its address says'}{address.path}")


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
