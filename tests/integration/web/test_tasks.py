"""What a service gets that sends `llm.refresh` by itself: a client of Celery that knows nothing of this project."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from harness.waiting import wait_for
from shared.clock import new_id
from tests.integration.web.conftest import FIVE, Stack

CLIENT = """
import json, sys
from celery import Celery
app = Celery(broker=sys.argv[1], backend=sys.argv[1])
def shown(error):
    return {"name": type(error).__name__, "text": str(error), "arguments": list(error.args)}
for line in sys.stdin:
    task = app.send_task("llm.refresh", kwargs=json.loads(line))
    try:
        out = {"result": task.get(timeout=60)}
    except Exception as error:
        out = {"error": shown(error)}
    kept = task.get(propagate=False)
    out |= {"state": task.state, "id": task.id, "kept": shown(kept) if isinstance(kept, Exception) else kept}
    assert "worker" not in sys.modules and "shared" not in sys.modules
    print(json.dumps(out), flush=True)
"""
Send = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def send(stack: Stack) -> Iterator[Send]:
    """`send(force=…)`: what the service gets for a task with these arguments."""
    command = [sys.executable, "-c", CLIENT, stack.variables["REDIS_URL"]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=stack.folder
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        lines, answers = service.stdin, service.stdout

        def sent(**arguments: Any) -> dict[str, Any]:
            lines.write(f"{json.dumps(arguments)}\n")
            return dict(json.loads(answers.readline()))

        yield sent
    assert service.returncode == 0


def task(stack: Stack, task_id: str) -> dict[str, Any]:
    return dict(stack.web.get(f"/api/tasks/{task_id}").json())


def test_a_good_refresh_is_its_run_status_and_counts(stack: Stack, send: Send) -> None:
    done = send()
    assert (done["state"], done["result"]) == ("SUCCESS", done["kept"])
    assert done["result"].keys() == {"run_id", "status", "counts"}
    assert task(stack, done["id"])["result"] == done["result"]


def test_a_partial_refresh_is_a_success(stack: Stack, send: Send) -> None:
    stack.gateway.set_models([*FIVE, {"id": "none", "name": "Refused"}])
    done = send()
    assert (done["state"], done["result"]["status"], done["result"]["counts"]["failed"]) == ("SUCCESS", "partial", 1)


def test_a_failed_refresh_raises_with_its_run_and_cause(stack: Stack, send: Send) -> None:
    stack.gateway.behave(llms={"status": 401})
    done = send()
    assert (done["state"], done["error"]["name"], done["error"]) == ("FAILURE", "RefreshFailed", done["kept"])
    text, values = done["error"]["arguments"]
    assert values["status"] == "failed"
    assert values["counts"]["added"] == 0
    for part in (values["run_id"], "unauthorised", "What to do: "):
        assert part in text
    assert ".." not in text
    assert stack.gateway.api_key not in json.dumps(done)
    shown = task(stack, done["id"])
    assert shown["result"] == {name: values[name] for name in ("run_id", "status", "counts")}
    assert (shown["status"], shown["error"]["code"]) == ("FAILURE", "unauthorised")


def test_a_held_refresh_raises_with_the_sha256_that_applies_it(stack: Stack, send: Send) -> None:
    send()
    stack.gateway.set_models(FIVE[:1])
    done = send()
    assert (done["state"], done["error"]["name"]) == ("FAILURE", "RefreshHeld")
    text, values = done["error"]["arguments"]
    sha256 = values["held"]["sha256"]
    assert sha256 in text
    assert values["run_id"] in text
    shown = task(stack, done["id"])
    assert (shown["status"], shown["result"]["status"], shown["error"]["code"]) == ("FAILURE", "held", "held")
    stack.gateway.set_models(FIVE)
    assert send()["state"] == "SUCCESS"


def test_a_dry_run_of_a_held_list_is_a_success_and_of_no_list_a_failure(stack: Stack, send: Send) -> None:
    stack.gateway.set_models(FIVE[:1])
    held = send(dry_run=True)
    assert (held["state"], held["result"]["status"]) == ("SUCCESS", "held")
    stack.gateway.behave(llms={"status": 503})
    failed = send(dry_run=True)
    assert (failed["state"], failed["error"]["name"]) == ("FAILURE", "RefreshFailed")
    assert failed["error"]["arguments"][1]["run_id"] is None
    answer = stack.web.post("/api/llms/refresh", json={"dryRun": True})
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unavailable")


def test_a_foreseen_failure_leaves_one_line_in_the_log_and_no_traceback(stack: Stack, send: Send) -> None:
    before = len(stack.worker.output)
    stack.gateway.behave(llms={"status": 401})
    run_id = send()["error"]["arguments"][1]["run_id"]
    new_output = stack.worker.output[before:]
    assert "Traceback" not in new_output
    assert [json.loads(line)["event"] for line in new_output.splitlines() if run_id in line] == ["llm_refresh.failed"]


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [({"nonsense": 1}, "'nonsense'"), ({"dry_run": "x"}, "dry_run: "), ({"source": "elsewhere"}, "source: ")],
)
def test_wrong_arguments_are_a_failure_without_a_traceback(
    stack: Stack, send: Send, arguments: dict[str, Any], detail: str
) -> None:
    before = len(stack.worker.output)
    done = send(**arguments)
    assert (done["state"], done["error"]["name"]) == ("FAILURE", "RefreshFailed")
    text, values = done["error"]["arguments"]
    assert detail in text
    assert (values["run_id"], values["status"], values["error"]["code"]) == (None, "failed", "invalid_arguments")
    lines = wait_for(lambda: lines_about(done["id"], stack.worker.output[before:]))
    assert [(line["event"], line["code"]) for line in lines] == [("llm_task.refused", "invalid_arguments")]
    assert "Traceback" not in stack.worker.output[before:]


@pytest.mark.parametrize("arguments", [["a question sent by mistake"], [5], []])
def test_a_chat_task_with_wrong_arguments_leaves_one_line_that_quotes_nothing(
    stack: Stack, arguments: list[object]
) -> None:
    before = len(stack.worker.output)
    url = stack.variables["REDIS_URL"]
    with Celery(broker=url, backend=url, set_as_current=False) as client:
        task_id = client.send_task("llm.chat", args=arguments).id
    lines = wait_for(lambda: lines_about(task_id, stack.worker.output[before:]))
    assert [(line["event"], line["code"]) for line in lines] == [("llm_task.refused", "invalid_arguments")]
    assert "chat_id" in lines[0]["detail"]
    new_output = stack.worker.output[before:]
    assert "by mistake" not in new_output
    assert "Traceback" not in new_output


def lines_about(task_id: str, output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if task_id in line]


def test_a_task_that_waits_too_long_for_another_refresh_ends_as_busy(stack: Stack, send: Send) -> None:
    running = new_id()
    stack.catalogue.run(
        "INSERT INTO llm_sync_runs (id, trigger, actor, status, attempt, started_at, lease_until)"
        " VALUES (:id, 'cli', 'test', 'running', 1, now(), now() + interval '10 minutes')",
        id=running,
    )
    try:
        done = send()
    finally:
        stack.catalogue.run(
            "UPDATE llm_sync_runs SET status = 'failed', finished_at = now(), lease_until = NULL WHERE id = :id",
            id=running,
        )
    text, values = done["error"]["arguments"]
    assert (done["state"], values["status"], "busy" in text) == ("FAILURE", "failed", True)
    assert task(stack, done["id"])["error"]["code"] == "busy"
