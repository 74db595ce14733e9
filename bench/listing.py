"""The listing of 27 models by two web processes, against the same server answering constant bytes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import jwt

from bench.constant import BODY_FILE
from bench.figures import Aim, Figure
from bench.load import flood, request
from bench.models import entries
from bench.place import Place
from bench.processes import cpu_seconds
from bench.refresh import Catalogue
from harness.processes import Process, Web, free_port, local_variables, web
from harness.waiting import wait_for

MODELS = 27
CONNECTIONS = 32
SECRET = "a-secret-of-this-benchmark-of-more-than-32-bytes"
CONSTANT = ("gunicorn", "-c", "python:worker.web.gunicorn_conf", "bench.constant:main()")
AIM = Aim(0.85, at_least=True)


def token(role: str = "authenticated") -> str:
    """A token as a caller's identity provider would make it."""
    return jwt.encode({"sub": "bench", "role": role, "exp": time.time() + 3600}, SECRET, algorithm="HS256")


def port_of(running: Web) -> int:
    """The port that a web process listens on."""
    return int(running.url.rpartition(":")[2])


@dataclass
class _Server:
    """What one server did in each repetition."""

    running: Web
    wanted: str
    per_second: list[float] = field(default_factory=list)
    microseconds: list[float] = field(default_factory=list)

    def ask(self, seconds: float) -> None:
        port, session = port_of(self.running), self.running.process.pid
        flood(port, self.wanted, connections=CONNECTIONS, seconds=seconds / 4)
        before = cpu_seconds(session)
        rate = flood(port, self.wanted, connections=CONNECTIONS, seconds=seconds)
        self.per_second.append(rate.per_second)
        self.microseconds.append((cpu_seconds(session) - before) / rate.answers * 1e6)


def run(place: Place) -> Iterator[Figure]:
    """Requests a second, and CPU time of the server for each. The second is the surer one: it has no part in what the
    load generator takes of the same cores, nor in what else the machine does."""
    seconds, repetitions = 1.5, place.choose(11, 3)
    with place.servers.database() as database, contextlib.ExitStack() as ending:
        with Catalogue(database.url) as catalogue:
            catalogue.refresh(entries(MODELS))
        variables = local_variables(database.url, place.servers.redis_url(), JWT_SECRET=SECRET, LOG_LEVEL="info")
        variables["LLM_REFRESH_HOME"] = str(place.folder)
        ours = ending.enter_context(web(variables, place.folder))
        body = ours.get("/api/llms", headers={"Authorization": f"Bearer {token()}"}).content
        assert body.count(b'"model_key"') == MODELS
        (place.folder / "body").write_bytes(body)
        constant = ending.enter_context(_constant(place, variables | {BODY_FILE: str(place.folder / "body")}))

        listing = _Server(ours, request("GET", "/api/llms", token=token()))
        etag = ours.get("/api/llms", headers={"Authorization": f"Bearer {token()}"}).headers["ETag"]
        unchanged = _Server(ours, request("GET", "/api/llms", token=token(), If_None_Match=etag))
        bare = _Server(constant, request("GET", "/constant", token=token()))
        verified = _Server(constant, request("GET", "/verified", token=token()))
        for repetition in range(repetitions):
            place.say(f"listing, repetition {repetition + 1} of {repetitions}")
            for server in (listing, bare, verified, unchanged):
                server.ask(seconds)
    yield from _compared("listing of 27 models / constant bytes without a token", listing, bare)
    yield from _compared("listing of 27 models / constant bytes, token verified each time", listing, verified)
    yield from _compared("304 / constant bytes without a token", unchanged, bare, aim=None)


def _compared(what: str, ours: _Server, other: _Server, aim: Aim | None = AIM) -> Iterator[Figure]:
    yield Figure("listing", what, "requests/s", tuple(ours.per_second), tuple(other.per_second), aim)
    spent = Aim(round(1 / aim.bound, 2)) if aim is not None else None
    yield Figure("listing", f"{what}: CPU", "µs each", tuple(ours.microseconds), tuple(other.microseconds), spent)


@contextlib.contextmanager
def _constant(place: Place, variables: dict[str, str]) -> Iterator[Web]:
    port = free_port()
    with Process(CONSTANT, {**variables, "PORT": str(port)}, place.folder / "constant.log") as process:
        running = Web(process, port)
        try:
            wait_for(lambda: _answers(running) or process.exit_code is not None)
            assert process.exit_code is None, process.output
            yield running
        finally:
            running.client.close()


def _answers(running: Web) -> bool:
    try:
        return running.get("/constant").status_code == 200
    except httpx.TransportError:
        return False
