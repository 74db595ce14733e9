"""`make up` as its user sees it: a small project with its own Procfile and commands, real servers, real signals."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.servers import Servers
from harness.waiting import live_processes, wait_for
from shared.environment import STATE_FILE
from tests.integration.local.conftest import ROOT, copy_home
from worker.local import FIRST_HELD
from worker.local.ports import free_port

RUN = "import os, sys, pathlib; from worker.local.up import up; sys.exit(up(os.environ, pathlib.Path(sys.argv[1])))"

COMMANDS = """
import os, sys, time
print(*sys.argv[1:], "on", os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
if "sandbox" in sys.argv or os.environ.get("HANG") in sys.argv:
    time.sleep(1000)
sys.exit(int(os.environ.get("CODE", "1")) if os.environ.get("FAIL") in sys.argv else 0)
"""

WEB = """
import http.server, json, os

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"parts": {"workers": {"refresh": 1, "chat": 1}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ready).serve_forever()
"""

PROCFILE = """
# two of them have children
web: python web.py
worker: sleep ${NAP:-1000}
chat: sh -c 'sleep 1001 & wait'
"""


class RunningUp:
    """A running `make up`, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def says(self, pattern: str) -> "re.Match[str]":
        """Wait for a line that matches from its beginning."""

        def found() -> "re.Match[str] | None":
            matches = (re.match(pattern, line) for line in list(self.lines))
            first = next((match for match in matches if match), None)
            if first is None and self.process.poll() is not None and not self._reader.is_alive():
                raise AssertionError(f"it ended with {self.process.returncode}, without {pattern!r}: {self.lines}")
            return first

        match = wait_for(found, seconds=40)
        assert match is not None
        return match

    def ends(self) -> int:
        code = self.process.wait(40)
        self._reader.join(10)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


Up = Callable[..., RunningUp]


@pytest.fixture
def project(folder: Path) -> Path:
    (folder / "worker").mkdir()
    (folder / "worker" / "__init__.py").touch()
    (folder / "worker" / "cli.py").write_text(COMMANDS)
    (folder / "web.py").write_text(WEB)
    (folder / "Procfile").write_text(PROCFILE)
    return folder


@pytest.fixture
def not_the_first(project: Path, made_home: Path) -> None:
    """The project has been up before: its PostgreSQL is made."""
    copy_home(made_home, project / ".local")


@pytest.fixture
def up(project: Path) -> Iterator[Up]:
    started: list[RunningUp] = []
    ports = {"PORT": str(free_port()), "FLOWER_PORT": str(free_port())}

    def start(**environ: str) -> RunningUp:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(project)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**clean(os.environ), "MARK": str(project), **ports, **environ},
            start_new_session=True,
        )
        started.append(RunningUp(process))
        return started[-1]

    yield start
    for running in started:
        running.close()


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Without what a developer's shell may hold."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: environ[name] for name in kept if name in environ}


def test_the_steps_are_seen_in_order_and_end_in_ready(up: Up, project: Path) -> None:
    running = up()
    address = running.says(r"ready: (http://127\.0\.0\.1:\d+)$")[1]
    begun = [re.split(r"[:|]", line)[0].strip() for line in running.lines]
    steps = ["environment", "PostgreSQL", "Valkey", "migrate", "seed", "first refresh", "processes"]
    assert [word for word in dict.fromkeys(begun) if word in steps] == steps
    assert f"API:    {address}/api/llms" in running.lines
    assert running.says(r"page:   (\S+)$")[1] == f"{address}/"
    assert running.says(r"Flower: http://127\.0\.0\.1:\d+/ \(user operator, password [0-9a-f]{40}\)")
    assert sum("ready: " in line for line in running.lines) == 1
    labels = [line.split()[0] for line in running.lines if line.startswith(("page:", "/ops:", "Flower:", "ready:"))]
    assert labels == ["page:", "/ops:", "Flower:", "ready:"]
    running.process.send_signal(signal.SIGINT)
    assert running.ends() == 0


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_cleanly(up: Up, project: Path, number: signal.Signals) -> None:
    running = up()
    running.says("ready: ")
    state = project / ".local" / STATE_FILE
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    running.process.send_signal(number)
    assert running.ends() == 0
    assert live_processes(project) == []
    assert not state.exists()


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.parametrize("killed", ["process group", "process"])
def test_a_kill_9_leaves_no_process_behind_within_five_seconds(up: Up, project: Path, killed: str) -> None:
    running = up()
    running.says("ready: ")
    wait_for(lambda: any("sleep 1001" in process for process in live_processes(project)))
    assert len(live_processes(project)) >= 10
    if killed == "process group":
        os.killpg(running.process.pid, signal.SIGKILL)
    else:
        running.process.kill()
    running.process.wait()
    wait_for(lambda: live_processes(project) == [], seconds=5)


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.fault
def test_a_process_that_dies_is_started_again_after_a_growing_pause(up: Up, project: Path) -> None:
    with (project / "Procfile").open("a") as procfile:
        procfile.write("brief: false\n")
    running = up()
    running.says("brief ended with 1; starting it again in 1 s")
    running.says("brief ended with 1; starting it again in 2 s")
    running.says("brief ended with 1; starting it again in 4 s")
    worker = next(process for process in live_processes(project) if process.endswith("sleep 1000 "))
    os.kill(int(worker.split(":")[0]), signal.SIGKILL)
    running.says("worker was ended by SIGKILL; starting it again in 1 s")
    wait_for(lambda: any(process.endswith("sleep 1000 ") for process in live_processes(project)))


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.fault
def test_what_a_dead_process_leaves_in_its_group_is_ended_before_it_starts_again(up: Up, project: Path) -> None:
    def pids(command: str) -> set[int]:
        return {int(line.split(":")[0]) for line in live_processes(project) if line.endswith(f": {command} ")}

    running = up()
    running.says("ready: ")
    child = wait_for(lambda: pids("sleep 1001"))
    (shell,) = pids("sh -c sleep 1001 & wait")
    os.kill(shell, signal.SIGKILL)
    running.says("chat was ended by SIGKILL")
    wait_for(lambda: pids("sleep 1001") - child)
    assert not pids("sleep 1001") & child


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.fault
def test_a_second_signal_ends_what_does_not_listen_to_the_first(up: Up, project: Path) -> None:
    with (project / "Procfile").open("a") as procfile:
        procfile.write("""deaf: sh -c 'trap "" TERM; echo deaf; while :; do sleep 1; done'\n""")
    running = up()
    running.says("ready: ")
    running.says(r"deaf +\| deaf")
    running.process.send_signal(signal.SIGINT)
    running.says("stopping; once more to stop at once")
    running.process.send_signal(signal.SIGINT)
    assert running.ends() == 0
    assert live_processes(project) == []


def test_given_servers_are_used_and_none_is_started(up: Up, project: Path, servers: Servers) -> None:
    with servers.empty_database() as database:
        redis_url = servers.redis_url()
        running = up(DATABASE_URL=database.url, MIGRATE_DATABASE_URL=database.owner_url, REDIS_URL=redis_url)
        running.says("ready: ")
        running.says("PostgreSQL: yours, 127.0.0.1/test_")
        assert running.says(r"migrate  \| migrate --step schema on (\S+) (\S+)").groups() == (database.url, redis_url)
        assert not any("postgres -D" in process or "valkey" in process for process in live_processes(project))
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 0
        assert not (project / ".local" / "postgres").exists()


@pytest.mark.usefixtures("not_the_first")
def test_settings_come_from_the_env_file_and_the_environment_wins(up: Up, project: Path) -> None:
    (project / "secret").write_text("from-a-file")
    (project / ".env").write_text(f"FLOWER_USER=someone\nFLOWER_PASSWORD_FILE={project / 'secret'}\nLOG_LEVEL=debug\n")
    with (project / "Procfile").open("a") as procfile:
        procfile.write(
            "show: sh -c 'echo $FLOWER_USER:$FLOWER_PASSWORD $LOG_LEVEL $LLM_REFRESH_ENV $FLOWER_ADDRESS; sleep 1000'\n"
        )
    running = up(LOG_LEVEL="warning", LLM_REFRESH_ENV="production")
    running.says(r"show +\| someone:from-a-file warning local 127\.0\.0\.1$")
    running.says(r"ready: ")
    running.says(r"Flower: .*\(user someone, password from-a-file\)")
    assert "from-a-file" not in "".join(live_processes(project))


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"REFRESH_CRON": "at night"}, "REFRESH_CRON"),
        ({"PORT": "0"}, "PORT"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"MIGRATE_DATABASE_URL": "postgresql://a:b@127.0.0.1/c"}, "DATABASE_URL"),
        ({"FLOWER_PASSWORD": "aé"}, "FLOWER_PASSWORD"),
        ({"FLOWER_USER": "a:b", "FLOWER_PASSWORD": "c"}, "FLOWER_USER"),
        ({"PORT": "4001", "FLOWER_PORT": "4001"}, "FLOWER_PORT"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_one_line_and_nothing_is_started(
    up: Up, project: Path, environ: dict[str, str], named: str
) -> None:
    running = up(**environ)
    assert running.ends() == 2
    (line,) = running.lines
    assert named in line
    assert not (project / ".local" / "postgres").exists()


@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT"])
def test_a_port_that_is_taken_is_named_before_anything_is_started(up: Up, project: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = up(**{name: str(port)})
        assert running.ends() == 2
    assert running.lines == [f"{name}: port {port} is taken by another program: stop it, or set {name}"]
    assert not (project / ".local" / "postgres").exists()


@pytest.mark.usefixtures("not_the_first")
def test_a_second_one_in_the_same_home_says_who_runs_the_first(up: Up, project: Path) -> None:
    first = up()
    first.says("ready: ")
    second = up(PORT=str(free_port()), FLOWER_PORT=str(free_port()))
    assert second.ends() == 2
    (line,) = second.lines
    assert f"in use by another process (pid {first.process.pid})" in line
    assert first.process.poll() is None


@pytest.mark.usefixtures("not_the_first")
def test_a_failed_migration_ends_it(up: Up, project: Path) -> None:
    running = up(FAIL="schema")
    assert running.ends() == 1
    assert any(line.startswith("migrate: ended with exit code 1") for line in running.lines)
    assert live_processes(project) == []


@pytest.mark.usefixtures("not_the_first")
def test_a_failed_first_refresh_only_warns(up: Up, project: Path) -> None:
    running = up(FAIL="--first")
    running.says("first refresh: failed, see above; going on")
    running.says("ready: ")


@pytest.mark.usefixtures("not_the_first")
def test_a_held_first_list_is_no_failure(up: Up, project: Path) -> None:
    running = up(FAIL="--first", CODE=str(FIRST_HELD))
    running.says("first refresh: held, it waits for a decision, see above; going on")
    running.says("ready: ")


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.fault
def test_ctrl_c_in_the_middle_of_a_step_stops_everything(up: Up, project: Path) -> None:
    running = up(HANG="--first")
    running.says(r"refresh +\| refresh --first")
    running.process.send_signal(signal.SIGINT)
    assert running.ends() == 130
    assert live_processes(project) == []


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.fault
def test_when_nobody_reads_its_output_any_more_it_stops(up: Up, project: Path) -> None:
    with (project / "Procfile").open("a") as procfile:
        procfile.write("chatty: sh -c 'while :; do echo hello; sleep 0.1; done'\n")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(project)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**clean(os.environ), "MARK": str(project), "PORT": str(free_port()), "FLOWER_PORT": str(free_port())},
        start_new_session=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        for line in process.stdout:
            if line.startswith(b"ready: "):
                break
        process.stdout.close()
        process.wait(40)
    assert live_processes(project) == []


@pytest.mark.usefixtures("not_the_first")
@pytest.mark.fault
def test_the_end_of_the_supervisor_is_told_and_stops_the_rest(up: Up, project: Path) -> None:
    running = up()
    running.says("ready: ")
    supervisor = next(process for process in live_processes(project) if "worker.local.supervisor" in process)
    os.kill(int(supervisor.split(":")[0]), signal.SIGKILL)
    running.says("the supervisor of the local servers has ended")
    assert running.ends() == 1
    wait_for(lambda: live_processes(project) == [])
