"""The services of docker-compose.yml run by hand: their very commands, environments, secrets and health checks."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from harness import plain_http
from harness.servers import Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.support.receiver import Receiver, receiver
from tests.support.tools import ROOT, run_tool
from worker.local.binaries import find_postgres, find_valkey
from worker.local.ports import free_port

BIN = Path(sys.executable).parent
DATABASE = "composed"


@dataclass
class Stack:
    """Services as Compose would start them, in a folder of their own."""

    folder: Path
    services: Mapping[str, Any]
    variables: dict[str, str]
    programs: str
    started: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text()

    def environment(self, name: str) -> dict[str, str]:
        """What Compose gives the service, with its files where they are here, and the ports of here."""
        values = {key: self._filled(str(value)) for key, value in self.services[name].get("environment", {}).items()}
        moved = {key: value.replace("/run/secrets", str(self.folder / "secrets")) for key, value in values.items()}
        return {
            **moved,
            "PATH": self.programs,
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **{key: self.variables[key] for key in ("PORT", "FLOWER_PORT", "VALKEY_PORT")},
        }

    def command(self, name: str) -> list[str]:
        command_line = self.services[name]["command"]
        words = shlex.split(self._filled(command_line)) if isinstance(command_line, str) else list(command_line)
        port = f"--port={self.variables['FLOWER_PORT']}"
        moved = [word.replace("/etc/llm-refresh/", f"{ROOT}/deploy/valkey/") for word in words]
        return [{"--port=5555": port, "--address=0.0.0.0": "--address=127.0.0.1"}.get(word, word) for word in moved]

    def start(self, name: str) -> None:
        # An empty folder, which has to stay empty: in a container nothing can be written there.
        with self.log(name).open("wb") as log:
            self.started[name] = subprocess.Popen(
                self.command(name),
                cwd=self.folder / "root",
                env=self.environment(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, name: str, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the service's environment: its own one when none is given."""
        return subprocess.run(
            list(command) or self.command(name),
            cwd=self.folder / "root",
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def says_it_is_ready(self) -> bool:
        try:
            answer = plain_http.get(f"http://127.0.0.1:{self.variables['PORT']}/readyz")
        except httpx.TransportError:
            return False
        workers = answer.json()["parts"]["workers"]
        return all(workers.get(kind) for kind in ("refresh", "chat", "beat"))

    def is_healthy(self, name: str) -> bool:
        assert self.started[name].poll() is None, self.log(name).read_text(errors="replace")[-2000:]
        check = [
            word.replace("/etc/llm-refresh/", f"{ROOT}/deploy/valkey/")
            for word in self.services[name]["healthcheck"]["test"][1:]
        ]
        return self.run(name, *check).returncode == 0

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stop(self) -> None:
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait(10)

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda match: self.variables.get(match[1], match[2] or ""), text)


@contextlib.contextmanager
def prepared(folder: Path, servers: Servers, gateway: RunningStandIn, notice_receiver: Receiver) -> Iterator[Stack]:
    """Secrets as the script makes them, moved to this machine's ports; the database as roles.sh makes it."""
    for name in ("root", "tmp", "bin"):
        (folder / name).mkdir()
    run_tool(ROOT / "deploy" / "make-secrets.sh", folder / "secrets")
    superuser = servers.services.superuser_url
    port = superuser.rpartition("@")[2].partition("/")[0].rpartition(":")[2]
    valkey_port = str(free_port())
    for name in ("database_url", "migrate_database_url", "redis_url"):
        file = folder / "secrets" / name
        moved = file.read_text().replace("@postgres:5432/llm_refresh", f"@127.0.0.1:{port}/{DATABASE}")
        # Logins are the server's: those of the other tests keep theirs.
        moved = moved.replace("llm_refresh_app:", "composed_app:").replace("llm_refresh_owner:", "composed_owner:")
        file.write_text(moved.replace("@valkey:6379", f"@127.0.0.1:{valkey_port}"))
    (folder / "secrets" / "matchaai_api_key").write_text(gateway.api_key)
    (folder / "bin" / "valkey-server").symlink_to(find_valkey())
    client = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if client is not None:
        (folder / "bin" / "valkey-cli").symlink_to(client)
    postgres = find_postgres().folder
    variables = {
        "NOTIFY_WEBHOOK_URL": notice_receiver.url,
        "MATCHAAI_BASE_URL": gateway.url,
        "MATCHAAI_MISSION_ID": "7",
        "CHAT_CONCURRENCY": "20",
        "PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
        "VALKEY_PORT": valkey_port,
    }
    programs = os.pathsep.join(map(str, (folder / "bin", BIN, postgres, "/usr/local/bin", "/usr/bin", "/bin")))
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    stack = Stack(folder, services, variables, programs)
    password = superuser.split("://")[1].split("@")[0].partition(":")[2]
    account = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGPASSWORD": password}
    secrets = {
        "DATABASE_URL_FILE": folder / "secrets/database_url",
        "MIGRATE_DATABASE_URL_FILE": folder / "secrets/migrate_database_url",
    }
    for _ in range(2):  # the second time it has nothing to do
        made = subprocess.run(
            [ROOT / "deploy" / "postgres" / "roles.sh"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": programs, **account, **{name: str(file) for name, file in secrets.items()}},
        )
        assert made.returncode == 0, made.stderr
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def notice_receiver() -> Iterator[Receiver]:
    """What NOTIFY_WEBHOOK_URL leads to."""
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    servers: Servers, gateway: RunningStandIn, notice_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """All services of Compose but PostgreSQL, started in its order: Valkey, migrate, the rest."""
    with prepared(tmp_path_factory.mktemp("compose"), servers, gateway, notice_receiver) as made:
        (made.folder / "valkey").mkdir()
        made.services["valkey"]["environment"]["VALKEY_DATA"] = str(made.folder / "valkey")
        made.start("valkey")
        migrated = made.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        for name in ("web", "worker", "chat", "beat", "flower"):
            made.start(name)
        # Asked by health checks alone, the processes would have to share the processor with those from the beginning.
        wait_for(made.says_it_is_ready, seconds=60)
        for name in ("web", "worker", "chat", "beat", "flower"):
            wait_for(lambda name=name: made.is_healthy(name), seconds=60)
        yield made
