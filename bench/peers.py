"""The OpenAI wire beside LiteLLM's proxy: the same work, on the same upstream, asked by the same client in turns.

`make bench-peers` installs the proxy into `.venv-peers`. Where it could not be had, ours is measured alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import httpx

from bench.figures import Aim, Figure
from bench.listing import SECRET, port_of, token
from bench.load import drizzle, flood, request
from bench.models import entries
from bench.place import ROOT, Place
from bench.processes import resident_megabytes
from bench.refresh import Catalogue
from harness import plain_http
from harness.chatting import CHAT
from harness.processes import Process, free_port, local_variables, web
from harness.waiting import wait_for

UPSTREAM_SECONDS = 0.2
MODELS = 27
CONNECTIONS = (32, 100)
PEER = ROOT / ".venv-peers" / "bin" / "litellm"
PEER_KEY = "sk-a-key-of-this-benchmark"
RATE, LISTING_RATE, NO_MORE, ADDED_MS = Aim(2, at_least=True), Aim(15, at_least=True), Aim(1), Aim(1)
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches a list of prices from elsewhere
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "NO_PROXY": "127.0.0.1",
}


@dataclass
class _Gateway:
    """One gateway and what it did in each round."""

    name: str
    port: int
    sessions: tuple[int, ...]
    token: str
    model: str
    rates: dict[str, list[float]] = field(default_factory=dict)
    p50_ms: dict[str, list[float]] = field(default_factory=dict)

    @property
    def completion(self) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": "How high is Mont Blanc?"}]}
        return request("POST", "/v1/chat/completions", token=self.token, body=json.dumps(body))

    @property
    def listing(self) -> str:
        return request("GET", "/v1/models", token=self.token)

    def measure(self, place: Place) -> None:
        """One round."""
        seconds = place.choose(10, 8)
        for connections in CONNECTIONS:
            self._flood(f"{connections}", self.completion, place, connections=connections, seconds=seconds)
        self._flood("models", self.listing, place, connections=CONNECTIONS[0], seconds=place.choose(3, 1))
        self.latency("one", self.completion, place)

    def latency(self, name: str, wanted: str, place: Place) -> None:
        """One request at a time, each from its own due moment."""
        drizzled = drizzle(self.port, wanted, per_second=3, seconds=place.choose(14, 3), connections=1)
        self.p50_ms.setdefault(name, []).append(median(drizzled.seconds) * 1000)

    def memory(self) -> float:
        return sum(resident_megabytes(session) for session in self.sessions)

    def _flood(self, name: str, wanted: str, place: Place, *, connections: int, seconds: float) -> None:
        rate = flood(self.port, wanted, connections=connections, seconds=seconds, refusals=True)
        if rate.refused:
            place.say(f"peers, {self.name}: {rate.refused} refused beside {rate.answers} answers ({connections})")
        self.rates.setdefault(name, []).append(rate.per_second)


def run(place: Place) -> Iterator[Figure]:
    """Two web processes and one chat process of ours, two workers of the proxy's; both check a token or a key."""
    with ExitStack() as ending:
        upstream = _start_upstream(place, ending)
        ours = _start_ours(place, ending, upstream)
        peer = _start_peer(place, ending, upstream)
        bare = _Gateway("upstream", upstream, (), "", "bench")
        gateways = [ours, *([peer] if peer else [])]
        native = request(
            "POST",
            "/api/chasen/chat",
            token=ours.token,
            body=json.dumps({"question": "How high is Mont Blanc?", "model": ours.model}),
            Prefer="wait=20",
        )
        for gateway in gateways:
            place.say(f"peers, {gateway.name}: what is loaded at the first requests")
            flood(gateway.port, gateway.completion, connections=8, seconds=20, refusals=True)
        for number in range(place.choose(5, 1)):
            for gateway in gateways if number % 2 == 0 else gateways[::-1]:
                place.say(f"peers, {gateway.name}, round {number + 1}")
                gateway.measure(place)
            ours.latency("native", native, place)
            bare.latency("one", bare.completion, place)
        memory = {gateway.name: gateway.memory() for gateway in gateways}
    for connections in CONNECTIONS:
        what = f"/v1/chat/completions, {connections} connections"
        yield _compared(what, ours.rates[f"{connections}"], peer and peer.rates[f"{connections}"], RATE)
    listing = f"/v1/models of {MODELS}, {CONNECTIONS[0]} connections"
    yield _compared(listing, ours.rates["models"], peer and peer.rates["models"], LISTING_RATE)
    added = [_added(gateway, bare) for gateway in gateways]
    what = f"added to {UPSTREAM_SECONDS} s at one connection, p50"
    yield _compared(what, added[0], added[1] if peer else None, NO_MORE, "ms")
    what = "memory of all processes after it (PSS)"
    yield _compared(what, [memory[ours.name]], [memory[peer.name]] if peer else None, NO_MORE, "MB")
    over = [mine - theirs for mine, theirs in zip(ours.p50_ms["one"], ours.p50_ms["native"], strict=True)]
    yield Figure("peers", "/v1 over the native route, p50", "ms", tuple(over), aim=ADDED_MS)


def _added(gateway: _Gateway, bare: _Gateway) -> list[float]:
    return [through - alone for through, alone in zip(gateway.p50_ms["one"], bare.p50_ms["one"], strict=True)]


def _compared(what: str, ours: list[float], peer: list[float] | None, aim: Aim, unit: str = "requests/s") -> Figure:
    if not peer or not all(peer):  # not there, or without one answer in time: nothing to compare with
        return Figure("peers", what, unit, tuple(ours))
    return Figure("peers", f"{what} / LiteLLM", unit, tuple(ours), tuple(peer), aim)


def _start_upstream(place: Place, ending: ExitStack) -> int:
    port = free_port()
    command = ("python", "-m", "bench.upstream", str(port), str(UPSTREAM_SECONDS))
    process = ending.enter_context(Process(command, {}, place.folder / "upstream.log"))
    _wait_for_answer(process, f"http://127.0.0.1:{port}/", seconds=20)
    return port


def _start_ours(place: Place, ending: ExitStack, upstream: int) -> _Gateway:
    database = ending.enter_context(place.servers.database())
    with Catalogue(database.url) as catalogue:
        catalogue.refresh(entries(MODELS))
    variables = local_variables(
        database.url,
        place.servers.redis_url(),
        JWT_SECRET=SECRET,
        MATCHAAI_BASE_URL=f"http://127.0.0.1:{upstream}/rest/api/v1",
        MATCHAAI_API_KEY="bench",
        MATCHAAI_MISSION_ID="1",
        LLM_REFRESH_HOME=str(place.folder),
    )
    running = ending.enter_context(web(variables, place.folder))
    command = tuple(word.format(name="chat", concurrency=200) for word in CHAT)
    chat = ending.enter_context(Process(command, variables, place.folder / "chat.log"))
    wait_for(lambda: "ready." in chat.output or chat.exit_code is not None, seconds=40)
    models = running.get("/v1/models", headers={"Authorization": f"Bearer {token()}"}).json()["data"]
    return _Gateway("ours", port_of(running), (running.process.pid, chat.pid), token(), models[0]["id"])


def _start_peer(place: Place, ending: ExitStack, upstream: int) -> _Gateway | None:
    """LiteLLM's proxy with two workers and as many models; None where it is not installed."""
    if not PEER.exists():
        place.say("peers: LiteLLM is not installed in .venv-peers: ours is measured alone, and nothing is compared")
        return None
    models = [
        {
            "model_name": f"model-{number}",
            "litellm_params": {
                "model": f"openai/model-{number}",
                "api_base": f"http://127.0.0.1:{upstream}/v1",
                "api_key": "bench",
            },
        }
        for number in range(MODELS)
    ]
    config = {"model_list": models, "general_settings": {"master_key": PEER_KEY}}
    file = place.folder / "litellm.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    # Its other way to several workers ends those that take longer than 5 s to load, again and again.
    serve = ("--host", "127.0.0.1", "--port", str(port), "--num_workers", "2", "--run_gunicorn")
    command = (str(PEER), "--config", str(file), *serve)
    process = ending.enter_context(Process(command, QUIET, place.folder / "litellm.log"))
    _wait_for_answer(process, f"http://127.0.0.1:{port}/health/liveliness", seconds=120)
    return _Gateway("LiteLLM", port, (process.pid,), PEER_KEY, "model-0")


def _wait_for_answer(process: Process, url: str, *, seconds: float) -> None:
    def answers() -> bool:
        try:
            return plain_http.get(url, timeout=5).is_success
        except httpx.TransportError:
            return False

    wait_for(lambda: process.exit_code is not None or answers(), seconds=seconds)
    if process.exit_code is not None:
        raise RuntimeError(f"ended with {process.exit_code}: {process.output[-1000:]}")
