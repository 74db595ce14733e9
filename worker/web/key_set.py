"""The key set at JWKS_URL (RFC 7517): fetched by one for all, within a total time; a set that was read stays.

Nobody queues: all who need a fetch wait for the same one, a few seconds from its beginning, and a failed one is
remembered. So a key set that never answers costs a known key nothing, and others are answered at once.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import jwt
import structlog
from jwt import PyJWK, PyJWKSet

from shared.certificates import ssl_context

log = structlog.get_logger(__name__)

FETCH_SECONDS = 5.0
WAIT_SECONDS = 3.0
"""What a caller waits for a fetch, from its beginning."""
REST_SECONDS = 10.0
"""Between two fetches: neither a failure nor a stranger's key asks the key set more often."""
FRESH_SECONDS = 300.0
MAX_BYTES = 1024 * 1024

Keys = Mapping[str, PyJWK]
"""By key id."""


class KeysUnavailable(Exception):
    """The key set cannot be fetched, or holds no keys."""


class UnknownKey(Exception):
    """The key set was read lately, and has no such key."""


class KeySet:
    """The keys at an address, for all callers of this process."""

    def __init__(self, fetch: Callable[[], Keys], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`fetch` raises KeysUnavailable. `clock` gives seconds."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Keys = {}
        self._read_at = float("-inf")
        self._failed = False
        self._began = float("-inf")
        self._ended = threading.Event()
        self._ended.set()

    def key(self, key_id: object) -> PyJWK:
        """The key with this id. Raises UnknownKey, and KeysUnavailable when that cannot be told now."""
        key = self._keys.get(key_id) if isinstance(key_id, str) else None
        if key is not None:
            if self._clock() - self._read_at > FRESH_SECONDS:
                self._begin()
            return key
        finished = self._begin()
        finished.wait(max(0.0, self._began + WAIT_SECONDS - self._clock()))
        key = self._keys.get(key_id) if isinstance(key_id, str) else None
        if key is not None:
            return key
        if self._failed or not finished.is_set():
            raise KeysUnavailable("the key set cannot be fetched")
        raise UnknownKey("the key set has no such key")

    def _begin(self) -> threading.Event:
        """Begin a fetch, unless one runs or has just been. Returns what is set when it has ended."""
        with self._lock:
            now = self._clock()
            if self._ended.is_set() and now - self._began >= REST_SECONDS:
                self._began = now
                self._ended = threading.Event()
                threading.Thread(target=self._run, args=(self._ended,), name="key-set", daemon=True).start()
            return self._ended

    def _run(self, finished: threading.Event) -> None:
        try:
            self._keys = self._fetch()
            self._read_at = self._clock()
            self._failed = False
        except KeysUnavailable as error:
            self._failed = True
            log.warning(
                "llm_web.keys_unavailable",
                message="The key set at JWKS_URL cannot be fetched",
                error=str(error),
                kept=len(self._keys),
            )
        except Exception:  # told, and survived: everybody waits for this thread's end
            self._failed = True
            log.exception("llm_web.keys_unavailable", message="The key set could not be fetched")
        finally:
            finished.set()


def fetch_keys(url: str, *, seconds: float = FETCH_SECONDS) -> Keys:
    """The signing keys at an address, by id, in so many seconds at most. Raises KeysUnavailable.

    urllib's own time-out is for each step, and a byte a second never meets it: a timer closes the connection. No
    redirect is followed.
    """
    sockets: list[socket.socket] = []
    timer = threading.Timer(seconds, lambda: _shut(sockets))
    timer.daemon = True
    timer.start()
    try:
        with _opener(sockets, time.monotonic() + seconds).open(url, timeout=seconds) as response:
            body = response.read(MAX_BYTES + 1)
            missing_bytes = response.length or 0  # what is missing of the Content-Length
        if len(body) > MAX_BYTES or missing_bytes > 0 or not timer.is_alive():
            raise KeysUnavailable("its body is too long, or was cut off")
        content = json.loads(body)
        keys = PyJWKSet.from_dict(content).keys if isinstance(content, dict) else []
    except (OSError, http.client.HTTPException, jwt.PyJWTError, ValueError, RecursionError) as error:
        raise KeysUnavailable(f"it brings no keys ({type(error).__name__})") from None
    finally:
        timer.cancel()
        for each in sockets:
            each.close()
    signing = {str(key.key_id): key for key in keys if key.public_key_use in ("sig", None) and key.key_id}
    if not signing:
        raise KeysUnavailable("it holds no signing key with an id")
    return signing


def _shut(connections: list[socket.socket]) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(sockets: list[socket.socket], ends_at: float) -> urllib.request.OpenerDirector:
    """An opener that keeps a second handle of each of its connections, by which a timer can end them."""

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connection = socket.create_connection(address, max(0.1, ends_at - time.monotonic()))
        sockets.append(connection.dup())
        return connection

    def plain(host: str, **more: Any) -> Any:
        connection: Any = http.client.HTTPConnection(host, **more)
        connection._create_connection = connect
        return connection

    def encrypted(host: str, **more: Any) -> Any:
        connection: Any = http.client.HTTPSConnection(host, context=ssl_context(), **more)
        connection._create_connection = connect
        return connection

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(plain, req)

    class Encrypted(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(encrypted, req)

    return urllib.request.build_opener(Plain, Encrypted, _NoRedirects)
