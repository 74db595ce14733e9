"""A load generator in a process of its own: raw HTTP/1.1 over kept connections, cheap enough not to be the bottleneck.

Two kinds: `flood` asks again as soon as it is answered; `drizzle` asks at a fixed rate and counts each latency from
the moment a request was due, so that a server that stalls is not asked less.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

_ROOT = Path(__file__).parents[1]
DRAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers counted in so many seconds; `refused`: others than 200 and 304, which are none of them."""

    answers: int
    seconds: float
    refused: int = 0

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


@dataclass(frozen=True, slots=True)
class Drizzled:
    """For each request, in the order they were due: when (Unix time), its latency in seconds, and its body."""

    due: tuple[float, ...]
    seconds: tuple[float, ...]
    bodies: tuple[str, ...]


def request(method: str, path: str, *, token: str | None = None, body: str | None = None, **headers: str) -> str:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*lines, "", body or ""])


def flood(port: int, wanted: str, *, connections: int, seconds: float, refusals: bool = False) -> Rate:
    """Ask over so many connections for so long. Raises RuntimeError for any answer but 200 and 304; with `refusals`
    it counts them."""
    order = {"port": port, "wanted": wanted, "connections": connections, "seconds": seconds, "refusals": refusals}
    return Rate(**_run(kind="flood", **order))


def drizzle(port: int, wanted: str, *, per_second: float, seconds: float, connections: int) -> Drizzled:
    """Ask so often for so long. Raises RuntimeError for any answer but 2xx."""
    return Drizzled(
        **_run(
            kind="drizzle", port=port, wanted=wanted, per_second=per_second, seconds=seconds, connections=connections
        )
    )


def _run(**order: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(order),
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=order["seconds"] + 60,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"load generator: {done.stderr.strip().splitlines()[-1:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class _Connection(asyncio.Protocol):
    """One request at a time; `answered` gets each whole answer's status and body."""

    def __init__(self, answered: Callable[[_Connection, bytes, bytes], None]) -> None:
        self._answered = answered
        self._buffer = bytearray()
        self._awaited = 0
        self._transport: asyncio.Transport
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def ask(self, wanted: bytes) -> None:
        self._transport.write(wanted)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._awaited:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._awaited = end + 4 + _content_length(bytes(buffer[:end]))
        if len(buffer) < self._awaited:
            return
        status, body = bytes(buffer[9:12]), bytes(buffer[buffer.find(b"\r\n\r\n") + 4 : self._awaited])
        del buffer[: self._awaited]
        self._awaited = 0
        self._answered(self, status, body)


def _content_length(head: bytes) -> int:
    place = head.lower().find(b"content-length:")
    return 0 if place < 0 else int(head[place + 15 :].split(b"\r\n", 1)[0])


async def _connect(port: int, number: int, answered: Callable[[_Connection, bytes, bytes], None]) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Connection(answered), "127.0.0.1", port) for _ in range(number)]
    return [protocol for _, protocol in made]


async def _flood(port: int, wanted: bytes, connections: int, seconds: float, refusals: bool) -> dict[str, Any]:
    answers, refused, going, bad = 0, 0, True, dict[bytes, bytes]()
    idle = asyncio.Semaphore(0)

    def answered(connection: _Connection, status: bytes, body: bytes) -> None:
        nonlocal answers, refused
        if status in (b"200", b"304"):
            answers += 1
        else:
            refused += 1
            bad.setdefault(status, body[:300])
        if going:
            connection.ask(wanted)
        else:
            idle.release()

    opened = await _connect(port, connections, answered)
    began = time.perf_counter()
    for connection in opened:
        connection.ask(wanted)
    await asyncio.sleep(seconds)
    spent, counted, going = time.perf_counter() - began, (answers, refused), False
    lost = any(connection.lost for connection in opened)
    # What is under way is answered before the next measurement begins; a server may close what is idle meanwhile.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            for _ in opened:
                await idle.acquire()
    if (bad and not refusals) or lost:
        raise RuntimeError(f"answers of status {bad}, or a lost connection")
    if not counted[0] and not refusals:
        raise RuntimeError(f"no good answer in {seconds:g} s over {connections} connections: {bad}")
    return {"answers": counted[0], "refused": counted[1], "seconds": spent}


async def _drizzle(port: int, wanted: bytes, per_second: float, seconds: float, connections: int) -> dict[str, Any]:
    waiting: dict[_Connection, int] = {}
    number = round(per_second * seconds)
    due, took, bodies = [0.0] * number, [0.0] * number, [""] * number
    late: asyncio.Queue[_Connection] = asyncio.Queue()
    begin, begin_unix = time.perf_counter() + 0.2, time.time() + 0.2

    def answered(connection: _Connection, status: bytes, body: bytes) -> None:
        place = waiting.pop(connection)
        took[place] = time.perf_counter() - (begin + place / per_second)
        bodies[place] = body.decode()
        if not status.startswith(b"2"):
            raise SystemExit(f"status {status.decode()}: {body[:300].decode()}")
        late.put_nowait(connection)

    for connection in await _connect(port, connections, answered):
        late.put_nowait(connection)
    for place in range(number):
        await asyncio.sleep(max(0.0, begin + place / per_second - time.perf_counter()))
        due[place] = begin_unix + place / per_second
        connection = await late.get()
        waiting[connection] = place
        connection.ask(wanted)
    for _ in range(connections):
        await late.get()
    return {"due": due, "seconds": took, "bodies": bodies}


def main() -> None:
    order = json.load(sys.stdin)
    kind, wanted = order.pop("kind"), order.pop("wanted").encode()
    run = _flood if kind == "flood" else _drizzle
    json.dump(asyncio.run(run(wanted=wanted, **order)), sys.stdout)


if __name__ == "__main__":
    main()
