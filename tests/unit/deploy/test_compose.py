"""docker-compose.yml, read as data: no container engine is needed to see that it keeps its promises."""

import re
import shlex
from typing import Any

import pytest
import yaml

from shared.settings import NAMES
from shared.task_names import CHAT_QUEUE, DEFAULT_QUEUE, REFRESH_QUEUE
from tests.support.tools import ROOT, run_tool, tool
from worker.local.processes import parse_procfile

OURS = ("migrate", "web", "worker", "chat", "beat", "flower")
RUNNING = OURS[1:]
DRAIN_SECONDS = {"chat": 35, "worker": 35, "web": 35}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def with_defaults(text: str, **given: str) -> str:
    """The text as Compose or a shell puts variables into it."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda matches: given.get(matches[1], matches[2] or ""), text)


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_it_keeps_to_the_published_schema() -> None:
    run_tool(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml")


def test_its_commands_are_those_of_the_procfile(compose: dict[str, Any]) -> None:
    procfile = parse_procfile((ROOT / "Procfile").read_text())
    assert set(procfile) == set(RUNNING)
    for name, command in procfile.items():
        # Flower listens inside its container; only a port of this machine's loopback leads there.
        expected = with_defaults(command, FLOWER_ADDRESS="0.0.0.0")
        assert shlex.split(with_defaults(compose["services"][name]["command"])) == shlex.split(expected)


def test_each_queue_is_consumed_in_both(compose: dict[str, Any]) -> None:
    procfile = parse_procfile((ROOT / "Procfile").read_text())
    for commands in (procfile, {name: compose["services"][name]["command"] for name in RUNNING}):
        matches = [re.search(r"-Q (\S+)", command) for command in commands.values()]
        consumed = sorted(queue for each in matches if each for queue in each[1].split(","))
        assert consumed == sorted((CHAT_QUEUE, DEFAULT_QUEUE, REFRESH_QUEUE))


def test_migrate_runs_once_and_before_the_rest(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in RUNNING:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services[name]["depends_on"]["valkey"] == {"condition": "service_healthy"}


def test_whatever_keeps_running_is_watched_and_restarted(compose: dict[str, Any]) -> None:
    for name in ("postgres", "valkey", *RUNNING):
        service = compose["services"][name]
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
        limits = service["deploy"]["resources"]["limits"]
        assert limits["cpus"], name
        assert limits["memory"], name


def test_nobody_is_stopped_before_the_drain_is_over(compose: dict[str, Any]) -> None:
    for name, drain in DRAIN_SECONDS.items():
        assert seconds(compose["services"][name]["stop_grace_period"]) > drain
    assert all("stop_grace_period" in compose["services"][name] for name in ("postgres", "valkey", *RUNNING))


def test_containers_own_nothing_and_write_nothing(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(mount.startswith("/tmp") for mount in service["tmpfs"]), name
        assert name in OURS or service["user"] == "999:999", name
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)


def test_no_secret_has_a_value_here(compose: dict[str, Any]) -> None:
    secrets = {name.upper() for name in compose["secrets"]} | {"POSTGRES_PASSWORD"}
    for name, service in compose["services"].items():
        environment = service.get("environment", {})
        assert not secrets & set(environment), name
        mounted = {
            str(value).removeprefix("/run/secrets/") for key, value in environment.items() if key.endswith("_FILE")
        }
        assert mounted <= set(service["secrets"]), name
    assert all(value == {"file": f"./secrets/{name}"} for name, value in compose["secrets"].items())


def test_every_secret_is_made_by_the_script_and_kept_by_it(compose: dict[str, Any], tmp_path: Any) -> None:
    folder = tmp_path / "secrets"
    run_tool(ROOT / "deploy" / "make-secrets.sh", folder)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert set(first) == set(compose["secrets"])
    assert {name for name, value in first.items() if not value} == {"matchaai_api_key", "notify_urls"}
    values = [value for value in first.values() if value]
    assert len(set(values)) == len(values)
    assert folder.stat().st_mode & 0o077 == 0
    run_tool(ROOT / "deploy" / "make-secrets.sh", folder)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first


def test_only_what_is_published_can_be_reached_and_only_from_this_machine(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            assert with_defaults(port).startswith("127.0.0.1:"), name
    assert compose["services"]["postgres"]["networks"] == compose["services"]["valkey"]["networks"] == ["inside"]
    assert compose["networks"]["inside"] == {"internal": True}


def test_compose_sets_known_variables_only_and_every_setting_reaches_a_service(compose: dict[str, Any]) -> None:
    given = set()
    for name in OURS:
        given |= {key.removesuffix("_FILE") for key in compose["services"][name]["environment"]}
    assert given <= NAMES
    local_only = {"LLM_REFRESH_HOME", "STAND_IN_URL", "STAND_IN_API_KEY"}
    assert NAMES - given - local_only == {"FLOWER_PORT"}  # the one in the container stays 5555


def test_an_image_is_built_of_what_git_holds_and_of_nothing_else() -> None:
    kept = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert sorted(kept) == sorted(name for line in copied for name in line.split())


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert run_tool(tool("hadolint"), ROOT / "Dockerfile") == ""
