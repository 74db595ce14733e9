"""With LOG_FORMAT=json each line of each process is one JSON object, and says who asked for what."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import plain_http
from harness.chatting import CHAT
from harness.processes import BEAT, REFRESH, Process, Web, free_port, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from shared.roles import Role
from tests.integration.web.conftest import FIVE, SECRET
from tests.integration.web.test_auth import token

PASSWORD = 'a "quoted" \\ password'
FLOWER = ("celery", "-A", "worker.main", "flower", "--address=127.0.0.1")


@dataclass
class Logged:
    """Running processes that write JSON, and where."""

    web: Web
    folder: Path

    def lines(self, process: str = "web") -> list[dict[str, Any]]:
        """The lines that the process has written, each an object. A line under way is left out."""
        path = self.web.process.log if process == "web" else self.folder / f"{process}.log"
        text = path.read_text()
        return [dict(json.loads(line)) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]

    def of_request(self, request_id: str, event: str = "llm_web.request") -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line["event"] == event and line.get("request_id") == request_id]

        return wait_for(found)[0]


@pytest.fixture(scope="module")
def logged(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("logged")
    with (
        RunningStandIn(models=FIVE) as gateway,
        servers.database() as database,
        catalogue_harness(database.url, gateway) as catalogue,
    ):
        catalogue.seed()
        variables = local_variables(
            database.url,
            servers.redis_url(),
            JWT_SECRET=SECRET,
            MATCHAAI_BASE_URL=gateway.url,
            MATCHAAI_API_KEY=gateway.api_key,
            MATCHAAI_MISSION_ID="1",
            WEB_CONCURRENCY="1",
            LOG_LEVEL="debug",
            FLOWER_PASSWORD=PASSWORD,
            FLOWER_PORT=str(free_port()),
        )
        chat = tuple(word.format(name="chat", concurrency=10) for word in CHAT)
        with (
            web(variables, folder) as shim,
            Process(REFRESH, variables, folder / "refresh.log"),
            Process(chat, variables, folder / "chat.log"),
            Process(BEAT, variables, folder / "beat.log"),
            Process((*FLOWER, f"--port={variables['FLOWER_PORT']}"), variables, folder / "flower.log"),
        ):
            wait_for(lambda: {"refresh", "chat"} <= shim.workers().keys(), seconds=60)
            wait_for(lambda: "beat: Starting" in (folder / "beat.log").read_text(), seconds=60)
            address = f"http://127.0.0.1:{variables['FLOWER_PORT']}"
            wait_for(lambda: reachable(address), seconds=60)
            yield Logged(shim, folder)
        # What they say while they stop counts as well.
        for process in ("web", "refresh", "chat", "beat", "flower"):
            for line in Logged(shim, folder).lines(process):
                assert {"event", "level", "timestamp", "process"} <= line.keys()


def reachable(address: str) -> bool:
    try:
        return plain_http.get(address, auth=("operator", PASSWORD)).status_code == 200
    except httpx.TransportError:
        return False


def bearer(role: Role, subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(role=role, sub=subject)}"}


def test_every_line_of_every_process_is_an_object(logged: Logged) -> None:
    logged.web.post("/api/llms/refresh", headers=bearer("service_role", "ops"))
    for process in ("web", "refresh", "chat", "beat", "flower"):
        for line in logged.lines(process):
            assert {"event", "level", "timestamp", "process"} <= line.keys()
        assert logged.lines(process) or process == "flower"
    log_text = "".join(path.read_text() for path in logged.folder.glob("*.log"))
    for secret in (SECRET, PASSWORD, json.dumps(PASSWORD)[1:-1]):
        assert secret not in log_text


def test_a_request_is_a_line_with_who_asked_and_how_it_ended(logged: Logged) -> None:
    headers = bearer("service_role", "ops") | {"X-Request-ID": "one-run"}
    logged.web.get("/api/llms/runs/01a214bb-04ec-77fc-8d0e-ab9d58df2318", headers=headers)
    line = logged.of_request("one-run")
    shown = (line["method"], line["route"], line["status"], line["subject"], line["role"])
    assert shown == ("GET", "/api/llms/runs/{run_id}", 404, "ops", "service_role")
    assert line["ms"] >= 0


def test_both_ways_to_the_listing_write_the_same_line(logged: Logged) -> None:
    authorization = bearer("authenticated", "anna")
    logged.web.get("/api/llms", headers=authorization | {"X-Request-ID": "by-flask"})
    logged.web.get("/api/llms", headers=authorization | {"X-Request-ID": "before-flask"})
    lines = [logged.of_request(request_id) for request_id in ("by-flask", "before-flask")]
    own = ("ms", "request_id", "timestamp")
    kept = [{name: value for name, value in line.items() if name not in own} for line in lines]
    assert kept[0] == kept[1]
    assert (kept[0]["route"], kept[0]["status"], kept[0]["subject"]) == ("/api/llms", 200, "anna")
    logged.web.get("/healthz", headers={"X-Request-ID": "liveness"})
    logged.web.get("/readyz", headers={"X-Request-ID": "readiness"})
    logged.of_request("readiness")
    assert "/healthz" not in [line.get("route") for line in logged.lines()]


@pytest.mark.parametrize(
    ("path", "make_headers", "status", "reason"),
    [
        ("/api/llms", dict, 401, "send a token"),
        ("/api/llms", lambda: {"Authorization": "Bearer nonsense"}, 401, "not valid"),
        ("/api/llms/runs", lambda: bearer("authenticated", "anna"), 403, "authenticated"),
        ("/metrics", lambda: bearer("authenticated", "anna"), 403, "service_role"),
    ],
)
def test_a_refusal_is_a_warning_with_its_reason(
    logged: Logged, path: str, make_headers: Callable[[], dict[str, str]], status: int, reason: str
) -> None:
    headers = make_headers()  # now: a token of the collection's time may have expired
    request_id = f"refused-{status}-{abs(hash((path, reason)))}"
    assert logged.web.get(path, headers=headers | {"X-Request-ID": request_id}).status_code == status
    line = logged.of_request(request_id, "llm_web.refused")
    assert (line["level"], line["status"], reason in line["reason"]) == ("warning", status, True)
    assert logged.of_request(request_id)["status"] == status


def test_reading_anothers_chat_is_a_line(logged: Logged) -> None:
    anna, operator = bearer("authenticated", "anna"), bearer("service_role", "ops")
    chat = logged.web.post("/api/chasen/chat", json={"question": "Why?"}, headers=anna).json()["id"]
    logged.web.get(f"/api/chats/{chat}", headers=anna)
    logged.web.get(f"/api/chats/{chat}", headers=operator | {"X-Request-ID": "curious"})
    line = logged.of_request("curious", "llm_chat.read_by_another")
    assert (line["chat_id"], line["owner"], line["subject"]) == (chat, "anna", "ops")
    assert len([line for line in logged.lines() if line["event"] == "llm_chat.read_by_another"]) == 1
