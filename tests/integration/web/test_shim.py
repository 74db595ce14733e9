"""The shim in local mode: real gunicorn, real worker, the stand-in."""

import json
import re
import subprocess
import sys
import threading
import time

import pytest

from harness import plain_http
from harness.waiting import wait_for
from tests.integration.web.conftest import FIVE, Stack


def problem(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= body.keys()
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_a_listing_has_the_contracts_members_and_order(stack: Stack) -> None:
    stack.web.post("/api/llms/refresh")
    wait_for(lambda: not stack.web.get("/api/llms").json()["stale"])
    body = stack.web.get("/api/llms").json()
    assert body.keys() == {"models", "defaultModel", "count", "lastSynced", "stale", "source"}
    assert (body["defaultModel"], body["count"], body["source"]) == ("claude-3-7-sonnet", 5, "matchaai")
    assert [model["display_order"] for model in body["models"]] == [1, 2, 3, 4, 5]
    assert body["models"][0].keys() == {
        *("id", "matcha_llm_id", "model_name", "model_key", "provider", "capabilities"),
        *("is_active", "is_default", "display_order"),
    }


def test_the_same_listing_is_not_sent_twice(stack: Stack) -> None:
    tag = stack.web.get("/api/llms").headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = stack.web.get("/api/llms", headers={"If-None-Match": sent})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
    for sent in ('"other"', "garbage", '"', "\\x00\\xff" * 50):
        assert stack.web.get("/api/llms", headers={"If-None-Match": sent}).status_code == 200


def test_a_refresh_returns_its_result_and_both_web_processes_follow_in_a_second(stack: Stack) -> None:
    stack.gateway.set_models([*FIVE, {"id": 71, "name": "Claude Sonnet 4.5"}])
    response = stack.web.post("/api/llms/refresh")
    assert response.status_code == 200
    body = response.json()
    assert (body["success"], body["status"], body["syncResults"]["added"]) == (True, "succeeded", 1)
    assert "claude-sonnet-4-5" in {model["model_key"] for model in body["models"]}
    assert body["syncResults"].keys() == {
        "added",
        "updated",
        "unchanged",
        "deactivated",
        "reactivated",
        "failed",
        "errors",
    }
    wait_for(
        lambda: all(
            "claude-sonnet-4-5" in {model["model_key"] for model in fresh_get(stack, "/api/llms")["models"]}
            for _ in range(12)
        )
    )
    run = stack.web.get(f"/api/llms/runs/{body['runId']}").json()
    assert (run["status"], run["trigger"], run["actor"]) == ("succeeded", "api", "local")
    changes = stack.web.get(run["links"]["changes"]).json()
    assert [change["kind"] for change in changes["changes"]] == ["added"]
    task = stack.web.get(run["links"]["task"]).json()
    assert (task["name"], task["status"], task["result"]["run_id"]) == ("llm.refresh", "SUCCESS", body["runId"])
    stack.gateway.set_models(FIVE)
    stack.catalogue.run("DELETE FROM llm_models WHERE matcha_llm_id = 71")


def fresh_get(stack: Stack, path: str) -> dict:
    """By a connection of its own, so that either web process may answer."""

    return plain_http.get(stack.web.url + path).json()


def test_a_dry_run_shows_the_plan_and_writes_nothing(stack: Stack) -> None:
    stack.gateway.set_models([*FIVE, {"id": 72, "name": "Kimi K2"}])
    runs = stack.web.get("/api/llms/runs").json()["runs"]
    response = stack.web.post("/api/llms/refresh", json={"dryRun": True})
    body = response.json()
    assert (response.status_code, body["dryRun"], body["runId"], body["syncResults"]["added"]) == (200, True, None, 1)
    assert [change["kind"] for change in body["plan"]] == ["added"]
    assert stack.web.get("/api/llms/runs").json()["runs"] == runs


def test_a_held_list_is_a_409_that_says_how_to_force_it(stack: Stack) -> None:
    stack.web.post("/api/llms/refresh")
    stack.gateway.set_models(FIVE[:1])
    response = stack.web.post("/api/llms/refresh")
    body = response.json()
    assert (response.status_code, body["success"], body["status"]) == (409, False, "held")
    assert body["held"].keys() == {"absent", "active", "repointed", "sha256", "models"}
    assert {model["kind"] for model in body["held"]["models"]} == {"absent"}
    assert {"requests", "callers", "name", "matcha_llm_id"} <= body["held"]["models"][0].keys()
    assert len(body["models"]) == 5
    stack.gateway.behave(llms={"status": 503, "retry_after": "60"})
    assert stack.web.post("/api/llms/refresh").status_code == 502
    stack.gateway.behave()
    assert stack.web.get("/api/llms/runs").json()["undecided"]["id"] == body["runId"]
    other = problem(stack.web.post("/api/llms/refresh", json={"force": "0" * 64}), 409, "not_held")
    assert other["held"]["sha256"] == body["held"]["sha256"]
    assert body["held"]["sha256"] in other["detail"]
    forced = stack.web.post("/api/llms/refresh", json={"force": body["held"]["sha256"]})
    assert (forced.status_code, forced.json()["status"]) == (200, "succeeded")
    assert forced.json()["syncResults"]["deactivated"] == 4
    assert stack.web.post("/api/llms/refresh").json()["syncResults"]["unchanged"] == 1
    assert stack.web.get("/api/llms/runs").json()["undecided"] is None
    problem(stack.web.post("/api/llms/refresh", json={"force": body["held"]["sha256"]}), 409, "not_held")
    stack.gateway.set_models(FIVE)
    assert stack.web.post("/api/llms/refresh").status_code == 200


def test_inactive_models_are_listed_with_why_for_who_asks_for_all(stack: Stack) -> None:
    stack.web.post("/api/llms/refresh")
    hidden = stack.web.client.patch("/api/llms/gpt-4o", json={"is_active": False}).json()
    assert (hidden["why"]["reason"], hidden["why"]["by"]) == ("hidden", "local")
    body = stack.web.get("/api/llms?all=1").json()
    assert body["count"] == 5
    wait_for(lambda: stack.web.get("/api/llms").json()["count"] == 4)  # each web process follows within a second
    why = {model["model_key"]: model["why"] for model in body["models"]}
    assert why["gpt-4o"] == hidden["why"]
    assert why["claude-3-7-sonnet"] is None
    shown = stack.web.client.patch("/api/llms/gpt-4o", json={"is_active": None}).json()
    assert (shown["is_active"], shown["why"]) == (True, None)
    both = stack.web.get("/api/llms?all=1&provenance=1").json()["models"][0]
    assert {"provenance", "overrides", "why"} <= both.keys()


def test_a_force_of_a_list_that_is_another_one_by_now_changes_nothing(stack: Stack) -> None:
    stack.web.post("/api/llms/refresh")
    stack.gateway.set_models(FIVE[:1])
    sha256 = stack.web.post("/api/llms/refresh").json()["held"]["sha256"]
    stack.gateway.set_models([*FIVE, {"id": 73, "name": "Kimi K2"}])
    refused = stack.web.post("/api/llms/refresh", json={"force": sha256})
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert (refused.json()["status"], refused.json()["code"]) == ("failed", "force_refused")
    assert (refused.json()["success"], len(refused.json()["models"])) == (False, 5)
    stack.gateway.set_models(FIVE[1:2])
    again = stack.web.post("/api/llms/refresh", json={"force": sha256})
    assert (again.status_code, again.json()["status"]) == (409, "held")
    assert again.json()["held"]["sha256"] != sha256
    stack.gateway.set_models(FIVE)
    assert stack.web.post("/api/llms/refresh").status_code == 200


def test_a_hold_is_dismissed_once_by_its_run(stack: Stack) -> None:
    stack.web.post("/api/llms/refresh")
    stack.gateway.set_models(FIVE[:1])
    run_id = stack.web.post("/api/llms/refresh").json()["runId"]
    dismissed = stack.web.post(f"/api/llms/runs/{run_id}/dismiss")
    assert (dismissed.status_code, dismissed.json()["dismissed"]["by"]) == (200, "local")
    assert stack.web.get("/api/llms/runs").json()["undecided"] is None
    assert stack.web.post(f"/api/llms/runs/{run_id}/dismiss").json() == dismissed.json()
    again = stack.web.post("/api/llms/refresh").json()
    asking = stack.web.get("/api/llms/runs").json()["undecided"]
    assert (asking["id"], asking["dismissed_before"]["by"]) == (again["runId"], "local")
    stack.gateway.set_models(FIVE)
    good = stack.web.post("/api/llms/refresh").json()["runId"]
    problem(stack.web.post(f"/api/llms/runs/{good}/dismiss"), 409, "not_held")
    problem(stack.web.post(f"/api/llms/runs/{again['runId']}/dismiss"), 409, "not_held")
    for unknown in ("nonsense", "01a214b5-340d-7961-8cd0-b4ff3624610a"):
        problem(stack.web.post(f"/api/llms/runs/{unknown}/dismiss"), 404, "not_found")


def test_an_upstream_that_fails_is_a_502_with_its_cause(stack: Stack) -> None:
    stack.gateway.behave(llms={"status": 401})
    response = stack.web.post("/api/llms/refresh")
    body = response.json()
    assert (response.status_code, response.headers["content-type"]) == (502, "application/problem+json")
    assert (body["success"], body["status"], body["code"]) == (False, "failed", "unauthorised")
    assert {"type", "title", "detail", "request_id", "runId", "syncResults", "models"} <= body.keys()
    assert stack.web.get("/api/llms").status_code == 200
    assert stack.gateway.api_key not in response.text


def test_a_partial_list_is_applied_and_says_what_was_refused(stack: Stack) -> None:
    stack.gateway.set_models([*FIVE, {"id": "x", "name": "bad"}])
    body = stack.web.post("/api/llms/refresh").json()
    assert (body["success"], body["status"], body["syncResults"]["failed"]) == (True, "partial", 1)
    assert body["syncResults"]["errors"][0].keys() == {"id", "name", "reason"}


def test_whoever_does_not_wait_gets_a_202_and_finds_the_run(stack: Stack) -> None:
    stack.gateway.behave(llms={"delay": 0.5})
    response = stack.web.post("/api/llms/refresh", headers={"Prefer": "respond-async"})
    body = response.json()
    assert response.status_code == 202
    assert body.keys() == {"runId", "status", "links"}
    assert response.headers["location"] == f"/api/llms/runs/{body['runId']}"
    wait_for(lambda: stack.web.get(response.headers["location"]).json()["status"] == "succeeded")


def test_many_who_refresh_at_once_share_a_run_and_a_follow_up(stack: Stack) -> None:
    stack.gateway.behave(llms={"delay": 0.7})

    answers: list[str] = []

    def ask() -> None:
        answers.append(plain_http.post(stack.web.url + "/api/llms/refresh", timeout=40).json()["runId"])

    askers = [threading.Thread(target=ask) for _ in range(12)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(answers) == 12
    assert len(set(answers)) <= 3


def test_a_foreign_service_enqueues_with_and_without_a_queue_name(stack: Stack) -> None:
    code = """
import sys, json
from celery import Celery
app = Celery(broker=sys.argv[1], backend=sys.argv[1])
results = [app.send_task("llm.refresh", **more) for more in ({}, {"queue": "refresh"})]
print(json.dumps([result.get(timeout=30) for result in results]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, stack.variables["REDIS_URL"]],
        capture_output=True,
        text=True,
        cwd=stack.folder,
        check=True,
    )
    results = json.loads(done.stdout)
    assert [result["status"] for result in results] == ["succeeded", "succeeded"]
    assert all(result.keys() == {"run_id", "status", "counts"} for result in results)
    # Two at once may be two runs or one that both waited for: the runs they name are asked, not the newest two.
    runs = [stack.web.get(f"/api/llms/runs/{result['run_id']}").json() for result in results]
    assert {run["trigger"] for run in runs} == {"task"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[]", 422, "invalid_body"),
        (b'{"dryrun": true}', 422, "invalid_body"),
        (b'{"dryRun": "yes"}', 422, "invalid_body"),
        (b'{"force": 7}', 422, "invalid_body"),
        (b'{"force": "abc"}', 409, "not_held"),
        (b'{"force": "\\u0000"}', 409, "not_held"),
        (b'{"source": "elsewhere"}', 422, "invalid_body"),
        (b'{"force": "\\ud800"}', 400, "invalid_json"),
        (b" " * (1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
def test_a_bad_body_is_a_problem_document(stack: Stack, body: bytes, status: int, code: str) -> None:
    runs = len(stack.web.get("/api/llms/runs").json()["runs"])
    response = stack.web.post("/api/llms/refresh", content=body, headers={"Content-Type": "application/json"})
    problem(response, status, code)
    assert len(stack.web.get("/api/llms/runs").json()["runs"]) == runs


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/api/llms", 405, "method_not_allowed"),
        ("GET", "/api/llms/runs/not-a-run", 404, "not_found"),
        ("GET", "/api/llms/runs/00000000-0000-0000-0000-000000000000", 404, "not_found"),
        ("GET", "/api/llms/runs?limit=0", 400, "invalid_query"),
        ("GET", "/api/llms/runs?sort=up", 400, "invalid_query"),
        ("GET", "/api/llms/changes?since=-1", 400, "invalid_query"),
        ("GET", "/api/llms/changes?limit=1001", 400, "invalid_query"),
        ("GET", "/api/tasks/00000000-0000-0000-0000-000000000000", 404, "not_found"),
        ("PATCH", "/api/llms/nobody", 404, "unknown_model"),
        ("GET", "/api/llms/%00", 404, "not_found"),
        ("GET", "/%ff%fe", 404, "not_found"),
    ],
)
def test_bad_addresses_and_queries_are_problem_documents(
    stack: Stack, method: str, path: str, status: int, code: str
) -> None:
    problem(stack.web.client.request(method, path), status, code)


def test_a_form_is_told_to_be_json(stack: Stack) -> None:
    problem(stack.web.post("/api/llms/refresh", data={"dryRun": "true"}), 415, "unsupported_media_type")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3002", "127.0.0.1.evil.example", "[::1", "a b"])
def test_another_host_name_does_not_reach_a_server_without_auth(stack: Stack, host: str) -> None:
    response = stack.web.get("/api/llms", headers={"Host": host})
    assert response.status_code == 400
    problem(response, 400, "host_not_allowed")


def test_a_page_elsewhere_cannot_start_anything_without_auth(stack: Stack) -> None:
    runs = len(stack.web.get("/api/llms/runs").json()["runs"])
    for origin in ("http://evil.example", "null", "http://127.0.0.1.evil.example"):
        problem(stack.web.post("/api/llms/refresh", headers={"Origin": origin}), 403, "origin_not_allowed")
    assert len(stack.web.get("/api/llms/runs").json()["runs"]) == runs
    for origin in ("http://localhost:5173", "https://app.example", stack.web.url):
        assert stack.web.post("/api/llms/refresh", headers={"Origin": origin}).status_code == 200


def test_a_body_in_chunks_has_the_same_limit(stack: Stack) -> None:
    chunks = (b"x" * 65_536 for _ in range(40))
    response = stack.web.post("/api/llms/refresh", content=chunks, headers={"Content-Type": "application/json"})
    problem(response, 413, "body_too_large")


def test_a_request_id_is_taken_or_made(stack: Stack) -> None:
    assert stack.web.get("/healthz", headers={"X-Request-ID": "my-own.id:1"}).headers["x-request-id"] == "my-own.id:1"
    for bad in ("a b", "x" * 200, "<script>"):
        made = stack.web.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert made != bad
        assert len(made) == 36


def test_a_request_id_reaches_the_log_of_the_worker_and_the_gateway(stack: Stack) -> None:
    stack.gateway.forget_calls()
    stack.web.post("/api/llms/refresh", headers={"X-Request-ID": "follow-me-42"})
    headers = [request["headers"] for request in stack.gateway.calls()["requests"]]
    assert any(
        {name.lower(): value for name, value in each.items()}.get("x-request-id") == "follow-me-42" for each in headers
    )
    lines = [json.loads(line) for line in stack.worker.output.splitlines() if line.startswith("{")]
    synced = [
        line for line in lines if line["event"] == "llm_refresh.synced" and line.get("request_id") == "follow-me-42"
    ]
    assert synced
    assert synced[0]["message"] == "[LLM Refresh] Synced 5 models"


def test_origins_that_are_named_may_ask_and_others_not(stack: Stack) -> None:
    ours = stack.web.get("/api/llms", headers={"Origin": "https://app.example"})
    assert ours.headers["access-control-allow-origin"] == "https://app.example"
    assert "Origin" in ours.headers["vary"]
    other = stack.web.get("/api/llms", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    reply = stack.web.client.options(
        "/api/llms/refresh", headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    )
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (204, "https://app.example")
    assert "Authorization" in reply.headers["access-control-allow-headers"]
    assert reply.headers["access-control-allow-methods"] == "POST"
    names = "authorization,content-type,x-stainless-lang,x-stainless-retry-count,openai-project,x-mine"
    sdk = stack.web.client.options(
        "/v1/chat/completions",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": names,
        },
    )
    allowed = sdk.headers["access-control-allow-headers"].lower().split(", ")
    assert set(names.split(",")) - set(allowed) == {"x-mine"}


def test_operators_edit_over_http_and_the_ledger_says_who(stack: Stack) -> None:
    body = {"display_order": 50, "capabilities": {"supports_audio": True}}
    row = stack.web.client.patch("/api/llms/gpt-4o", json=body)
    assert row.status_code == 200, row.text
    assert (row.json()["display_order"], row.json()["capabilities"]["supports_audio"]) == (50, True)
    stack.web.post("/api/llms/refresh")
    provenance = {model["model_key"]: model for model in stack.web.get("/api/llms?provenance=1").json()["models"]}
    assert provenance["gpt-4o"]["provenance"]["supports_audio"]["source"] == "override"
    page = stack.web.get("/api/llms/changes?limit=1000").json()
    line = [change for change in page["changes"] if change["kind"] == "operator"][-1]
    assert (line["model_key"], line["actor"], line["after"]["display_order"]) == ("gpt-4o", "local", 50)
    assert stack.web.get(f"/api/llms/changes?since={page['next']}").json() == {"changes": [], "next": page["next"]}
    problem(stack.web.client.patch("/api/llms/gpt-4o", json={"model_key": "claude-3-7-sonnet"}), 409, "edit_refused")
    problem(stack.web.client.patch("/api/llms/gpt-4o", json={"is_default": 1}), 422, "invalid_body")
    back = stack.web.client.patch("/api/llms/gpt-4o", json={"display_order": None, "capabilities": None})
    assert (back.json()["overrides"], back.json()["display_order"]) == ({}, 5)


def test_openapi_describes_every_route_and_the_answers_fit_it(stack: Stack) -> None:
    from pydantic import TypeAdapter

    from worker.web import bodies

    document = stack.web.get("/openapi.json").json()
    assert {
        "/api/llms",
        "/api/llms/refresh",
        "/api/llms/runs",
        "/api/llms/runs/{run_id}",
        "/api/tasks/{task_id}",
    } <= set(document["paths"])
    # Of two models with one class name neither is found by it.
    named = {name.rpartition("/")[2] for name in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))}
    assert named == set(document["components"]["schemas"])
    reply = document["paths"]["/api/chasen/chat"]["post"]["parameters"]
    assert [(each["name"], each["in"]) for each in reply] == [("Idempotency-Key", "header"), ("Prefer", "header")]
    for path, model in (
        ("/api/llms", bodies.ListingBody),
        ("/api/llms/runs", bodies.RunsBody),
        ("/api/llms/changes", bodies.ChangesBody),
    ):
        TypeAdapter(model).validate_json(stack.web.get(path).content)
    TypeAdapter(bodies.RefreshDone).validate_json(stack.web.post("/api/llms/refresh").content)


def test_one_model_is_its_row_of_the_list_and_a_key_that_means_none_says_why(stack: Stack) -> None:
    stack.web.post("/api/llms/refresh")
    wait_for(lambda: "gpt-4o" in [row["model_key"] for row in stack.web.get("/api/llms").json()["models"]])
    row = next(row for row in stack.web.get("/api/llms").json()["models"] if row["model_key"] == "gpt-4o")
    assert stack.web.get("/api/llms/gpt-4o").json() == row
    unknown = problem(stack.web.get("/api/llms/gpt-99"), 404, "model_not_found")
    assert (unknown["reason"], unknown["story"]) == ("unknown_key", None)
    assert stack.web.client.patch("/api/llms/gpt-4o", json={"model_key": "our-gpt"}).status_code == 200
    wait_for(lambda: stack.web.get("/api/llms/our-gpt").status_code == 200)
    retired = problem(stack.web.get("/api/llms/gpt-4o"), 404, "model_not_found")
    assert (retired["reason"], retired["story"]["model_key"]) == ("retired_key", "our-gpt")
    stack.web.client.patch("/api/llms/our-gpt", json={"model_key": None, "is_active": False})
    hidden = wait_for(lambda: [each for each in [stack.web.get("/api/llms/gpt-4o")] if each.status_code == 404])[0]
    assert problem(hidden, 404, "model_not_found")["reason"] == "inactive_key"
    stack.web.client.patch("/api/llms/gpt-4o", json={"is_active": None})
    wait_for(lambda: stack.web.get("/api/llms/gpt-4o").status_code == 200)


def test_readiness_names_the_parts(stack: Stack) -> None:
    body = stack.web.get("/readyz").json()
    assert body["status"] == "ready"
    assert body["parts"]["postgresql"]["ok"]
    assert body["parts"]["migrations"]["ok"]
    assert body["parts"]["workers"]["refresh"] == 1
    assert body["parts"]["workers"].keys() == {"refresh", "chat", "beat"}
    assert body["parts"]["workers"]["beat"] == 0  # none runs here, which is a 0 and no gap


def test_a_lost_message_costs_a_pause_and_not_the_run(stack: Stack) -> None:
    from shared.catalogue.sync.options import RefreshOptions

    run_id, _, _ = stack.catalogue.refresher.queue.request(RefreshOptions(), trigger="api", actor="lost")
    stack.catalogue.refresher.queue.publish_soon(run_id)
    wait_for(lambda: stack.catalogue.refresher.outcome(run_id).status == "succeeded", seconds=30)


def test_a_missed_night_is_made_up_for_once(stack: Stack) -> None:
    stack.catalogue.run("UPDATE llm_catalogue_version SET watermark = now() - interval '3 days'")

    def nights() -> list[dict]:
        listed_runs = stack.web.get("/api/llms/runs?limit=100").json()["runs"]
        return [run for run in listed_runs if run["scheduled_for"] and run["status"] == "succeeded"]

    wait_for(nights, seconds=40)
    assert [run["trigger"] for run in nights()] == ["catch-up"]
    time.sleep(0)
