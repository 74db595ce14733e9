"""The client against a real server that misbehaves: each fault has its cause named, and ends within the deadline."""

import asyncio
import hashlib
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest

from harness.stand_in import RunningStandIn
from shared.gateway.client import GatewayClient
from shared.gateway.errors import GatewayError
from shared.vocabulary import ModelField

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
PROMPT = "Be brief.\n\nWhat is the owner's secret?"


def client_of(
    sandbox: RunningStandIn, *, api_key: str | None = None, model_field: ModelField = "llm_id"
) -> GatewayClient:
    return GatewayClient(
        base_url=sandbox.url, api_key=api_key or sandbox.api_key, mission_id=7, model_field=model_field
    )


def with_client(client: GatewayClient, use: Callable[[GatewayClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with aclosing(client):
            return await use(client)

    return asyncio.run(run())


def completed(client: GatewayClient, llm_id: int = 25, deadline: float = 20.0) -> str:
    return with_client(client, lambda client: client.complete(llm_id=llm_id, prompt=PROMPT, deadline_seconds=deadline))


def failure_of(client: GatewayClient, llm_id: int = 25, deadline: float = 20.0) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        completed(client, llm_id, deadline)
    return caught.value


def assert_tells_nothing_secret(error: GatewayError, sandbox: RunningStandIn) -> None:
    for secret in (sandbox.api_key, "owner's secret"):
        assert secret not in f"{error!s} {error!r}"
        assert secret.encode() not in pickle.dumps(error)
    # httpx's errors hold the request with the key and the prompt: they must not come along as the context.
    assert error.__context__ is None


def test_the_list_comes_with_the_digest_of_its_bytes(sandbox: RunningStandIn) -> None:
    body = '[{"id": 28, "name": "Claude 3.7 Sonnet"}, "broken"]'
    sandbox.behave(llms={"body": body})

    listing = with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=20, request_id="r-1"))

    assert listing.entries == ({"id": 28, "name": "Claude 3.7 Sonnet"}, "broken")
    assert listing.sha256 == hashlib.sha256(body.encode()).hexdigest()
    assert listing.milliseconds >= 0
    request = sandbox.calls()["requests"][0]
    assert (request["method"], request["key"]) == ("GET", "right")
    assert request["target"] == "/rest/api/v1/llms?select=id,name,allowed_file_input_mime_types"
    assert request["headers"]["x-request-id"] == "r-1"
    assert request["headers"]["user-agent"] == "llm-refresh"


def test_ten_thousand_entries_fit_into_a_list(sandbox: RunningStandIn) -> None:
    with RunningStandIn(
        models=[
            {"id": n, "name": f"Model {n} " + "x" * 180, "allowed_file_input_mime_types": ["image/png", "image/jpeg"]}
            for n in range(1, 10_001)
        ]
    ) as long:
        listing = with_client(client_of(long), lambda client: client.list_models(deadline_seconds=20))

    assert len(listing.entries) == 10_000


@pytest.mark.parametrize(
    ("model_field", "model"), [("llm_id", {"llm_id": 25}), ("options.responseLLM", {"options": {"responseLLM": 25}})]
)
def test_the_model_that_was_asked_for_answers(
    sandbox: RunningStandIn, model_field: ModelField, model: dict[str, object]
) -> None:
    answer = completed(client_of(sandbox, model_field=model_field))

    assert answer.startswith("[stand-in for MatchaAI] model Claude 3.5 Sonnet (25) answers:")
    assert hashlib.sha256(PROMPT.encode()).hexdigest() in answer
    request = sandbox.calls()["requests"][0]
    assert request["body"] == {"mission_id": 7, **model, "input": PROMPT}
    assert request["llm_id"] == 25


@pytest.mark.parametrize(
    "shape", ["output_text", "several", "message", "choices", "parts", "response", "text", "output"]
)
def test_the_answer_is_read_in_every_shape_that_was_met(sandbox: RunningStandIn, shape: str) -> None:
    well = completed(client_of(sandbox))
    sandbox.behave(completions={"shape": shape})

    assert completed(client_of(sandbox)) == well


FAULTS: list[tuple[dict[str, object], str, bool, bool]] = [
    ({"status": 400}, "upstream_rejected", True, False),
    ({"status": 403}, "unauthorised", True, False),
    ({"status": 404}, "unknown_model", True, False),
    ({"status": 408}, "timeout", False, False),
    ({"status": 413}, "prompt_too_long", True, False),
    ({"status": 429, "retry_after": "7"}, "rate_limited", False, False),
    ({"status": 500}, "upstream_unavailable", False, True),
    ({"status": 503}, "upstream_unavailable", False, True),
    ({"html": True}, "upstream_not_json", False, True),
    ({"html": True, "status": 404}, "upstream_not_json", False, True),
    ({"html": True, "status": 502}, "upstream_not_json", False, True),
    ({"html": True, "status": 403}, "unauthorised", True, False),
    ({"truncated": True}, "upstream_unavailable", False, True),
    ({"truncated": True, "gzip": True}, "upstream_unavailable", False, True),
    ({"truncated": True, "no_length": True}, "upstream_unavailable", False, True),
    ({"reset": "in_answer", "no_length": True}, "upstream_unavailable", False, True),
    ({"truncated": True, "html": True}, "upstream_not_json", False, True),
    ({"truncated": True, "status": 400}, "upstream_rejected", True, False),
    ({"body": ""}, "upstream_unavailable", False, True),
    ({"body": "", "no_length": True}, "upstream_unavailable", False, True),
    ({"body": " \r\n"}, "upstream_unavailable", False, True),
    ({"status": 204}, "upstream_unavailable", False, True),
    ({"body": "OK"}, "upstream_not_json", True, False),
    ({"shape": "error"}, "upstream_rejected", True, False),
    ({"shape": "error", "error": "Unknown llm_id 25"}, "unknown_model", True, False),
    ({"shape": "error", "error": "Prompt is too long"}, "prompt_too_long", True, False),
    ({"shape": "blank"}, "upstream_shape", True, False),
    ({"shape": "none"}, "upstream_shape", True, False),
    ({"huge": 50_000_000}, "upstream_shape", True, False),
    ({"huge": 50_000_000, "gzip": True}, "upstream_shape", True, False),
    ({"huge": 50_000_000, "status": 503}, "upstream_unavailable", False, True),
    ({"headers": {"Content-Encoding": "gzip"}}, "upstream_not_json", True, False),
    ({"headers": {"Content-Encoding": "br"}}, "upstream_not_json", True, False),
    ({"headers": {"Content-Encoding": "br"}, "status": 503}, "upstream_unavailable", False, True),
    ({"redirect": "http://127.0.0.1:9/elsewhere"}, "upstream_rejected", True, False),
    ({"reset": "before_answer"}, "upstream_unavailable", False, True),
    ({"reset": "in_answer"}, "upstream_unavailable", False, True),
]


@pytest.mark.parametrize(("behaviour", "code", "permanent", "trips"), FAULTS)
def test_each_fault_has_its_cause_and_tells_nothing_secret(
    sandbox: RunningStandIn, behaviour: dict[str, object], code: str, permanent: bool, trips: bool
) -> None:
    sandbox.behave(completions=behaviour)

    error = failure_of(client_of(sandbox))

    assert (error.code, error.permanent, error.trips_circuit) == (code, permanent, trips)
    assert sandbox.calls()["completions"] == 1, "a completion is one try: whoever calls decides about another"
    assert_tells_nothing_secret(error, sandbox)


@pytest.mark.parametrize(
    "behaviour",
    [
        {"silent": True},
        {"drip": "headers", "drip_seconds": 0.05},
        {"drip": "body", "drip_seconds": 0.05},
        {"delay": 60},
        {"drip": "body", "drip_seconds": 0.05, "status": 400},
    ],
)
def test_an_answer_that_does_not_come_to_an_end_ends_at_the_deadline(
    sandbox: RunningStandIn, behaviour: dict[str, object]
) -> None:
    sandbox.behave(completions=behaviour)

    error = failure_of(client_of(sandbox), deadline=2)

    assert (error.code, error.permanent, error.trips_circuit) == ("timeout", False, True)
    assert_tells_nothing_secret(error, sandbox)
    sandbox.wait_for_calls(lambda calls: calls["closed_by_client"] == 1 and calls["open"] == 0)


def test_a_cancelled_call_closes_its_socket(sandbox: RunningStandIn) -> None:
    sandbox.behave(completions={"silent": True})

    async def cancel_in_mid_call(client: GatewayClient) -> None:
        call = asyncio.create_task(client.complete(llm_id=25, prompt=PROMPT, deadline_seconds=60))
        await asyncio.to_thread(sandbox.wait_for_calls, lambda calls: calls["open"] == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # Before the client as a whole is closed: this one call's socket must go by itself.
        await asyncio.to_thread(
            sandbox.wait_for_calls, lambda calls: calls["closed_by_client"] == 1 and calls["open"] == 0
        )

    with_client(client_of(sandbox), cancel_in_mid_call)


def test_the_target_of_a_redirect_hears_nothing_at_all(sandbox: RunningStandIn) -> None:
    with RunningStandIn() as elsewhere:
        sandbox.behave(
            llms={"redirect": f"{elsewhere.url}/llms"}, completions={"redirect": f"{elsewhere.url}/completions"}
        )
        failure_of(client_of(sandbox))
        with pytest.raises(GatewayError) as caught:
            with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=20))
        heard = elsewhere.calls()

    assert (caught.value.code, caught.value.permanent) == ("upstream_rejected", True)
    assert heard["requests"] == []


def test_a_proxy_of_the_environment_hears_nothing_at_all(sandbox: RunningStandIn) -> None:
    call = (
        "import asyncio, sys; from shared.gateway.client import GatewayClient as C; "
        "print(len(asyncio.run(C(base_url=sys.argv[1], api_key=sys.argv[2]).list_models(deadline_seconds=20)).entries))"
    )
    with RunningStandIn() as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        done = subprocess.run(
            [sys.executable, "-c", call, sandbox.url, sandbox.api_key],
            env={**os.environ, "HTTP_PROXY": address, "http_proxy": address, "ALL_PROXY": address, "NO_PROXY": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        heard = proxy.calls()

    assert (done.returncode, done.stdout.strip()) == (0, "27"), done.stderr
    assert heard["requests"] == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_of_50_megabytes_is_not_taken_in(sandbox: RunningStandIn, packed: bool) -> None:
    sandbox.behave(llms={"huge": 50_000_000, "gzip": packed})
    tracemalloc.start()
    try:
        with pytest.raises(GatewayError) as caught:
            with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=30))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (caught.value.code, caught.value.permanent) == ("upstream_shape", True)
    assert "8388608 bytes" in caught.value.detail
    assert peak < 30_000_000


def test_a_compressed_answer_is_read_though_none_was_asked_for(sandbox: RunningStandIn) -> None:
    sandbox.behave(llms={"gzip": True})

    listing = with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=20))

    assert len(listing.entries) == 27
    assert sandbox.calls()["requests"][0]["headers"]["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_an_answer_that_cannot_be_unpacked_is_named_so(sandbox: RunningStandIn, encoding: str) -> None:
    sandbox.behave(completions={"headers": {"Content-Encoding": encoding}})

    assert "an encoding that was not asked for" in failure_of(client_of(sandbox)).detail


def test_a_wrong_key_is_unauthorised_and_not_tried_again(sandbox: RunningStandIn) -> None:
    with pytest.raises(GatewayError) as caught:
        with_client(client_of(sandbox, api_key="another-key"), lambda client: client.list_models(deadline_seconds=20))

    assert (caught.value.code, caught.value.permanent, caught.value.http_status) == ("unauthorised", True, 401)
    assert "another-key" not in str(caught.value)
    assert sandbox.calls()["llms"] == 1


def test_an_unknown_model_is_told_from_other_failures(sandbox: RunningStandIn) -> None:
    assert failure_of(client_of(sandbox), llm_id=999_999).code == "unknown_model"


def test_a_model_may_fail_while_the_others_answer(sandbox: RunningStandIn) -> None:
    sandbox.behave(by_llm_id={25: {"status": 503}})

    assert failure_of(client_of(sandbox), llm_id=25).code == "upstream_unavailable"
    assert "GPT-4o (40)" in completed(client_of(sandbox), llm_id=40)


def test_a_list_that_fails_twice_is_had_the_third_time(sandbox: RunningStandIn) -> None:
    sandbox.behave(llms={"status": 502, "times": 2})

    listing = with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=20))

    assert len(listing.entries) == 27
    assert sandbox.calls()["llms"] == 3


def test_a_list_that_keeps_failing_ends_with_its_cause_and_the_tries(sandbox: RunningStandIn) -> None:
    sandbox.behave(llms={"html": True, "status": 502})

    with pytest.raises(GatewayError) as caught:
        with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=2))

    assert caught.value.code == "upstream_not_json"
    assert f"Gave up after {sandbox.calls()['llms']} tries within 2 s" in caught.value.detail


def test_a_list_that_is_wrapped_is_refused_at_once(sandbox: RunningStandIn) -> None:
    sandbox.behave(llms={"wrapped": "data"})

    with pytest.raises(GatewayError) as caught:
        with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=20))

    assert (caught.value.code, sandbox.calls()["llms"]) == ("upstream_shape", 1)


def test_nobody_listening_is_an_outage_that_may_pass() -> None:
    with RunningStandIn() as gone:
        client = client_of(gone)

    error = failure_of(client)

    assert (error.code, error.permanent, error.trips_circuit) == ("upstream_unavailable", False, True)
    assert "refused" in error.detail


def test_a_list_call_outlives_a_restart_of_the_gateway() -> None:
    async def list_over_a_restart(client: GatewayClient, first: RunningStandIn) -> int:
        await client.list_models(deadline_seconds=20)  # so that the connection which is kept is the dead one
        first.kill()
        call = asyncio.create_task(client.list_models(deadline_seconds=60))
        second = await asyncio.to_thread(RunningStandIn, port=first.port)
        try:
            return len((await call).entries)
        finally:
            second.stop()

    with RunningStandIn() as first:
        assert with_client(client_of(first), lambda client: list_over_a_restart(client, first)) == 27


def test_a_thousand_completions_at_once_get_each_its_own_answer(sandbox: RunningStandIn) -> None:
    sandbox.behave(completions={"delay": 0.5})

    async def ask_all(client: GatewayClient) -> list[str]:
        completions = (client.complete(llm_id=40, prompt=f"Question {n}?", deadline_seconds=60) for n in range(1000))
        return await asyncio.gather(*completions)

    answers = with_client(client_of(sandbox), ask_all)

    assert all(f"“Question {n}?”" in answer for n, answer in enumerate(answers))


def test_calls_one_after_the_other_share_a_connection(sandbox: RunningStandIn) -> None:
    async def ask_twice(client: GatewayClient) -> None:
        for _ in range(2):
            await client.complete(llm_id=40, prompt=PROMPT, deadline_seconds=20)

    with_client(client_of(sandbox), ask_twice)

    first, second = sandbox.calls()["requests"]
    assert first["connection"] == second["connection"]


def test_no_cookie_is_kept(sandbox: RunningStandIn) -> None:
    sandbox.behave(completions={"headers": {"Set-Cookie": "session=1"}})

    async def ask_twice(client: GatewayClient) -> None:
        for _ in range(2):
            await client.complete(llm_id=40, prompt=PROMPT, deadline_seconds=20)

    with_client(client_of(sandbox), ask_twice)

    assert all("cookie" not in request["headers"] for request in sandbox.calls()["requests"])


@pytest.mark.parametrize(
    "base_url", ["", "matcha.example", "ftp://matcha.example", "https://", "https://a:b/", "https://a/?q=1"]
)
def test_a_base_url_that_is_none_is_refused_at_once(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)url|port"):
        GatewayClient(base_url=base_url, api_key="key")


@pytest.mark.parametrize("key", ["", " owner-key", "owner\r\nkey", "owner-këy"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        GatewayClient(base_url="https://matcha.example/rest/api/v1", api_key=key)

    assert "owner" not in str(caught.value)


def test_the_key_is_not_in_the_clients_repr() -> None:
    client = GatewayClient(base_url="https://user:pass@matcha.example/rest/api/v1/", api_key="owner-key")

    assert repr(client) == "<GatewayClient of matcha.example/rest/api/v1>"


def test_without_a_mission_nothing_is_sent(sandbox: RunningStandIn) -> None:
    error = failure_of(GatewayClient(base_url=sandbox.url, api_key=sandbox.api_key))

    assert (error.code, error.permanent) == ("upstream_rejected", True)
    assert "MATCHAAI_MISSION_ID" in error.detail
    assert sandbox.calls()["completions"] == 0


@pytest.mark.parametrize("behaviour", [{"truncated": True}, {"truncated": True, "no_length": True}, {"body": ""}])
def test_half_a_list_is_asked_for_again_and_never_believed(
    sandbox: RunningStandIn, behaviour: dict[str, object]
) -> None:
    def listed() -> tuple[object, ...]:
        listing = with_client(client_of(sandbox), lambda client: client.list_models(deadline_seconds=20))
        return listing.entries

    whole = listed()
    sandbox.forget_calls()
    sandbox.behave(llms={**behaviour, "times": 2})

    assert listed() == whole
    assert sandbox.calls()["llms"] == 3


def test_an_answer_without_a_length_that_ends_is_whole(sandbox: RunningStandIn) -> None:
    well = completed(client_of(sandbox))
    sandbox.behave(completions={"no_length": True})

    assert completed(client_of(sandbox)) == well
