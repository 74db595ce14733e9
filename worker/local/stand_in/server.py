"""The stand-in's HTTP server: one asyncio protocol a connection, so that thousands of slow calls cost little."""

import asyncio
import contextlib
import itertools
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import h11

from worker.local.stand_in.routes import StandIn, StandInReply, StandInRequest

CHUNK = 64 * 1024
MAX_REQUEST_BYTES = 8 * 1024 * 1024
BACKLOG = 2048
DEFAULT_DELAY_SECONDS = 0.2


class Connection(asyncio.Protocol):
    """Reads requests, sends replies as well or as badly as they say, and notices a client that goes away."""

    def __init__(self, number: int, stand_in: StandIn) -> None:
        self._number = number
        self._stand_in = stand_in
        self._http = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._request: h11.Request
        self._body = bytearray()
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._read_on()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._stand_in.closed_by_client += 1
            self._task.cancel()

    def _read_on(self) -> None:
        """Go through what has come until a request is whole; the next one waits for its reply."""
        try:
            while self._task is None:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    if self._http.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if isinstance(event, h11.Request):
                    self._request, self._body = event, bytearray()
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MAX_REQUEST_BYTES:
                        self._transport.abort()
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._begin(self._request)
        except h11.RemoteProtocolError:
            self._transport.close()

    def _begin(self, head: h11.Request) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        request = StandInRequest(
            self._number, head.method.decode(), head.target.decode("latin-1"), headers, bytes(self._body)
        )
        self._stand_in.begin(request)
        self._task = asyncio.get_running_loop().create_task(self._reply(self._stand_in.answer(request)))
        self._task.add_done_callback(partial(self._ended, request))

    def _ended(self, request: StandInRequest, task: asyncio.Task[None]) -> None:
        self._stand_in.end(request)
        self._task = None
        if task.cancelled() or self._transport.is_closing():
            return
        if task.exception() is not None:
            self._transport.abort()
            task.result()
        elif self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._http.start_next_cycle()
            self._read_on()

    async def _reply(self, reply: StandInReply) -> None:
        if reply.silent:
            await asyncio.Event().wait()
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.reset == "before_answer":
            self._cut()
            return
        if reply.no_length:
            self._end_by_closing(reply)
            return
        size = reply.huge or len(reply.body)
        headers = {
            "Content-Type": reply.content_type,
            "Content-Length": str(size),
            "X-Stand-In": "llm-refresh sandbox",
            **reply.headers,
        }
        head = self._http.send(h11.Response(status_code=reply.status, headers=list(headers.items()))) or b""
        await self._write(head, reply.drip_seconds if reply.drip == "headers" else None)
        for number, chunk in enumerate(_chunks(reply, size)):
            if number and reply.reset == "in_answer":
                self._cut()
                return
            data = self._http.send(h11.Data(data=chunk)) or b""
            await self._write(data, reply.drip_seconds if reply.drip else None)
        self._send(h11.EndOfMessage())

    async def _write(self, data: bytes, drip_seconds: float | None) -> None:
        if drip_seconds is None:
            self._transport.write(data)
            await self._may_write.wait()
            return
        for byte in data:
            self._transport.write(bytes([byte]))
            await asyncio.sleep(drip_seconds)

    def _send(self, event: h11.InformationalResponse | h11.EndOfMessage) -> None:
        self._transport.write(self._http.send(event) or b"")

    def _end_by_closing(self, reply: StandInReply) -> None:
        """Answer as HTTP/1.0 did (RFC 9112, 6.3): h11 would send chunks."""
        head = {"Content-Type": reply.content_type, "Connection": "close", **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        half = len(reply.body) // 2 if reply.reset == "in_answer" else len(reply.body)
        self._transport.write("\r\n".join(lines).encode() + reply.body[:half])
        if reply.reset == "in_answer":
            self._cut()
        else:
            self._transport.close()

    def _cut(self) -> None:
        """Close with a TCP reset, as a crashing server or a stateful firewall does."""
        plain: socket.socket = self._transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._task = None  # our own doing, not the client's
        self._transport.abort()


def _chunks(reply: StandInReply, size: int) -> Iterator[bytes]:
    if reply.huge:
        for start in range(0, size, CHUNK):
            yield b"[" * min(CHUNK, size - start)
    else:
        step = max(1, (size + 1) // 2) if reply.reset == "in_answer" else CHUNK
        for start in range(0, size, step):
            yield reply.body[start : start + step]


def serve(
    *,
    host: str,
    port: int,
    api_key: str,
    models: Sequence[object],
    ready: Callable[[int], None],
    delay: float = DEFAULT_DELAY_SECONDS,
    until_stdin_closes: bool = False,
) -> None:
    """Serve the stand-in until SIGTERM or SIGINT; blocks.

    `port` 0 takes a free one; `ready` is called with the port once connections are accepted. `delay` is how many
    seconds a completion takes when nothing else was asked for. `until_stdin_closes` ends it also when whoever started
    it is gone, however that ended. Raises OSError when the address cannot be had.
    """
    _raise_file_limit()
    asyncio.run(_serve(host, port, StandIn(api_key=api_key, models=models, delay=delay), ready, until_stdin_closes))


async def _serve(
    host: str, port: int, stand_in: StandIn, ready: Callable[[int], None], until_stdin_closes: bool
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if until_stdin_closes:
        stdin = sys.stdin.fileno()
        loop.add_reader(stdin, stop.set)  # nothing is ever written to it: readable means closed
    numbers = itertools.count(1)
    server = await loop.create_server(lambda: Connection(next(numbers), stand_in), host, port, backlog=BACKLOG)
    try:
        ready(server.sockets[0].getsockname()[1])
        await stop.wait()
    finally:
        server.close()  # calls under way are cancelled by the end of asyncio.run


def _raise_file_limit() -> None:
    """Take as many open files as the system gives: the common soft limit of 1,024 is less than the calls held here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says unlimited and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)) if hard > 0 else 65_536, hard))
