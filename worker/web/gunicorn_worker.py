"""gunicorn's gevent worker, which closes the connections that have been idle longest when places run out.

Without this, idle connections (a proxy's, a browser's, a stranger's) fill all places, and nobody else is accepted until
their keep-alive is over.
"""

from __future__ import annotations

import contextlib
import socket
import time
from types import TracebackType
from typing import Any

import gevent
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from shared.clock import new_id
from worker.web.stopping import EXTENSION
from worker.web.traced_request import TracedRequest

CROWDED_SHARE = 0.95
BODY_SECONDS = 30.0
"""From the request's head to the end of its body, of 1 MiB at most."""
LAST_HEAD_SECONDS = 1.0
"""Once told to stop: a request may be on its way, on a connection that was idle or has just been accepted."""
DISCARD_SECONDS = 1.0
DISCARD_BYTES = 256 * 1024
"""Of what a client still sends that was refused: closing before would take the answer from it (a reset)."""


class Worker(GeventWorker):
    """Idle: a connection whose next request's head has not come. A reader of events is none."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._open = 0
        self._idle: dict[_Idle, None] = {}  # in the order in which they became idle

    def init_process(self) -> None:
        RequestParser.mesg_class = TracedRequest  # gunicorn has no setting for it
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: requests that wait have their answers, idle connections end; gunicorn waits for the rest."""
        super().handle_exit(sig, frame)
        gevent.spawn(self._end_waits)

    def _end_waits(self) -> None:
        if self.wsgi is not None:  # None while the application is loaded
            self.wsgi.extensions[EXTENSION].begin()
        gevent.sleep(LAST_HEAD_SECONDS)
        for idle in list(self._idle):
            idle.end()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        self._open += 1
        try:
            if self._open > self.worker_connections * CROWDED_SHARE:
                self._close_longest_idle()
            super().handle(listener, client, addr)
        finally:
            self._open -= 1

    def timeout_ctx(self) -> _Idle:
        """Around the wait for a request's head."""
        return _Idle(self._idle, self.cfg.keepalive if self.alive else LAST_HEAD_SECONDS)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        req.body = BoundedBody(req.body, BODY_SECONDS)
        super().handle_request(listener_name, req, sock, addr)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what could not be read; gunicorn itself would send HTML."""
        from worker.web.unreadable_requests import refusal  # noqa: PLC0415 - gunicorn loads this class before the application

        request_id = str(new_id())
        answer = refusal(exc, request_id)
        if answer is None:
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("Invalid request from ip=%s (%s): %s", (addr or ("",))[0], request_id, exc)
        with contextlib.suppress(OSError), gevent.Timeout(DISCARD_SECONDS, False):
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            discarded = 0
            while discarded < DISCARD_BYTES and (data := client.recv(65_536)):
                discarded += len(data)

    def _close_longest_idle(self) -> None:
        oldest = next(iter(self._idle), None)
        if oldest is not None:
            del self._idle[oldest]
            oldest.end()


class _Idle:
    """A wait that ends after its time, or when it is told to: both as if nothing had come, and gunicorn closes."""

    def __init__(self, idle: dict[_Idle, None], seconds: float) -> None:
        self._idle = idle
        self._timeout = gevent.Timeout(seconds, False)
        self._greenlet = gevent.getcurrent()
        self._waits = False

    def __enter__(self) -> None:
        self._idle[self] = None
        self._waits = True
        self._timeout.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._waits = False
        self._timeout.close()
        self._idle.pop(self, None)
        return error is self._timeout

    def end(self) -> None:
        """End it soon, from another greenlet."""
        gevent.get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        if self._waits:  # a request may have come first
            self._greenlet.throw(self._timeout)


class BoundedBody:
    """A request's body that has to come within a time, however slowly it drips. Raises TimeoutError, an OSError."""

    def __init__(self, body: Any, seconds: float) -> None:
        self._body = body
        self._ends_at = time.monotonic() + seconds
        self._late = TimeoutError(f"the body did not come within {seconds:g} s")

    def read(self, size: int | None = None) -> bytes:
        with self._bounded():
            data: bytes = self._body.read(size)
            return data

    def readline(self, size: int | None = None) -> bytes:
        with self._bounded():
            line: bytes = self._body.readline(size)
            return line

    def readlines(self, size: int | None = None) -> list[bytes]:
        with self._bounded():
            lines: list[bytes] = self._body.readlines(size)
            return lines

    def __iter__(self) -> BoundedBody:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def _bounded(self) -> gevent.Timeout:
        seconds = max(0.0, self._ends_at - time.monotonic())
        return gevent.Timeout.start_new(seconds, self._late)
