"""The one client of MatchaAI: lists models and completes prompts within a total deadline and a body limit."""

import asyncio
import errno
import hashlib
import random
import socket
import ssl
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from shared.certificates import ssl_context
from shared.gateway import wire
from shared.gateway.answer_memory import SHORT_BYTES, current_share
from shared.gateway.errors import GatewayError
from shared.gateway.retry import call_with_retries
from shared.vocabulary import ModelField

MIB = 1024 * 1024
READ_BYTES = 32 * 1024
"""Twice that is read ahead of whoever reads, for each call."""
COPIES = 4
"""Of a body that is being read, so much is in memory at the most: as it came, its copy, and its text."""
CONNECT_SECONDS = 10.0  # a host that does not even accept is given up sooner than a model that thinks
KEEP_ALIVE_SECONDS = 15.0  # shorter than the idle time-outs of common proxies, so that a reused connection still lives
LIST_RETRY_BASE_SECONDS = 0.5
LIST_RETRY_MAX_PAUSE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class UpstreamList:
    """One answer to the list call: the raw entries, the sha256 (hex) of the body they came in, and how long it took."""

    entries: tuple[object, ...]
    sha256: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer as it came, read within its limits and not looked into."""

    status: int
    content_type: str
    body: bytes
    retry_after_seconds: float | None


class GatewayClient:
    """Calls MatchaAI with one key. Belongs to the event loop of its first call; end it with `aclose`.

    The key goes into the header MATCHA-API-KEY and nowhere else: no redirect is followed, no proxy of the environment
    used, no cookie kept, and no error holds it. As many connections are opened as there are calls at once, and kept
    for the next. A call that does not end well closes its own: when its deadline ends, or its task is cancelled.

    `base_url` is like `https://host/rest/api/v1`. Raises ValueError for a `base_url` that is no http(s) address or a
    key that cannot stand in a header.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        mission_id: int | None = None,
        model_field: ModelField = "llm_id",
        max_list_bytes: int = 8 * MIB,
        max_answer_bytes: int = 4 * MIB,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("The gateway's base URL must be like https://host/rest/api/v1.")
        try:
            URL(base_url)
        except ValueError as error:
            raise ValueError(f"The gateway's base URL is not valid: {error}") from None
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key != ""):
            raise ValueError("The gateway's key must be printable ASCII without spaces around it.")
        self._base_url = base_url.rstrip("/")
        port = f":{parts.port}" if parts.port else ""
        self._place = f"{parts.hostname}{port}{parts.path.rstrip('/')}"  # for errors: without user, password, query
        # Compressed answers are not asked for: they save little here, and a small one can unfold to gigabytes.
        self._headers = {"MATCHA-API-KEY": api_key, "User-Agent": "llm-refresh", "Accept-Encoding": "identity"}
        self._mission_id = mission_id
        self._model_field = model_field
        self._max_list_bytes = max_list_bytes
        self._max_answer_bytes = max_answer_bytes
        self._jitter = jitter
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<GatewayClient of {self._place}>"

    async def list_models(self, *, deadline_seconds: float, request_id: str | None = None) -> UpstreamList:
        """Fetch the list of models, trying again within `deadline_seconds` (all tries together) what may pass.

        Raises GatewayError: what `wire.read_list` raises, upstream_unavailable, timeout.
        """
        started = time.monotonic()
        where = f"GET {self._place}/llms"

        async def once(seconds: float) -> tuple[tuple[object, ...], bytes]:
            reply = await self._exchange("GET", wire.LIST_PATH, where, seconds, request_id, self._max_list_bytes)
            entries = wire.read_list(
                reply.status,
                reply.content_type,
                reply.body,
                where=where,
                retry_after_seconds=reply.retry_after_seconds,
            )
            return entries, reply.body

        entries, body = await call_with_retries(
            once,
            deadline_seconds=deadline_seconds,
            base_seconds=LIST_RETRY_BASE_SECONDS,
            max_pause_seconds=LIST_RETRY_MAX_PAUSE_SECONDS,
            jitter=self._jitter,
        )
        return UpstreamList(entries, hashlib.sha256(body).hexdigest(), round((time.monotonic() - started) * 1000))

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str:
        """Ask the model `llm_id` once and return its answer; whoever calls decides about trying again.

        Raises GatewayError: what `wire.completion_body` and `wire.read_completion` raise, upstream_unavailable,
        timeout; upstream_rejected when there is no mission to ask in.
        """
        share, answer = current_share(), ""
        try:
            reply = await self.ask(
                llm_id=llm_id, prompt=prompt, deadline_seconds=deadline_seconds, request_id=request_id
            )
            where = self._completions
            answer = wire.read_completion(
                reply.status, reply.content_type, reply.body, where=where, retry_after_seconds=reply.retry_after_seconds
            )
        finally:
            if share is not None:
                share.shrink(sys.getsizeof(answer) if answer else 0)
        return answer

    async def ask(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> Completion:
        """Like `complete`, with whatever came back, which no reader has looked into.

        Raises GatewayError: what `wire.completion_body` raises, upstream_unavailable, timeout; upstream_rejected when
        there is no mission to ask in.
        """
        if self._mission_id is None:
            raise GatewayError("upstream_rejected", "No mission is set. Set MATCHAAI_MISSION_ID.", permanent=True)
        body = wire.completion_body(
            llm_id=llm_id, prompt=prompt, mission_id=self._mission_id, model_field=self._model_field
        )
        return await self._exchange(
            "POST",
            wire.COMPLETIONS_PATH,
            self._completions,
            deadline_seconds,
            request_id,
            self._max_answer_bytes,
            body,
        )

    @property
    def _completions(self) -> str:
        return f"POST {self._place}{wire.COMPLETIONS_PATH}"

    async def aclose(self) -> None:
        """Close all connections, those of calls under way as well."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self,
        method: str,
        path: str,
        where: str,
        deadline_seconds: float,
        request_id: str | None,
        max_bytes: int,
        content: bytes | None = None,
    ) -> Completion:
        headers = {} if content is None else {"Content-Type": "application/json"}
        if request_id and request_id.isascii() and request_id.isprintable():
            headers["X-Request-ID"] = request_id
        url = URL(self._base_url + path, encoded=True)
        reply: Completion | None = None
        try:
            # aiohttp's own time-outs are for each step: a byte a second would never meet them. This one is for all.
            async with (
                asyncio.timeout(deadline_seconds) as limit,
                self._opened().request(method, url, data=content, headers=headers, allow_redirects=False) as response,
            ):
                body = await _read(response, max_bytes, where, limit)
                reply = Completion(
                    response.status,
                    response.headers.get("content-type", ""),
                    body,
                    wire.parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC)),
                )
        except aiohttp.ConnectionTimeoutError:
            detail = f"{where} failed: no connection came about in {CONNECT_SECONDS:g} s. Check the network."
            failure = GatewayError("upstream_unavailable", detail, trips_circuit=True, unreachable=True)
        except TimeoutError:
            failure = GatewayError(
                "timeout",
                f"{where} did not answer in {round(deadline_seconds, 1):g} s. Try again later.",
                trips_circuit=True,
            )
        except aiohttp.ClientError as error:
            failure = GatewayError(
                "upstream_unavailable",
                f"{where} failed: {_why(error)}",
                trips_circuit=True,
                unreachable=isinstance(error, aiohttp.ClientConnectorError),
            )
        if reply is None:
            # Not raised above: aiohttp's errors hold the request with the key, and would come along as its context.
            raise failure
        return reply

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=ssl_context())
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
                auto_decompress=False,
                read_bufsize=READ_BYTES,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse, max_bytes: int, where: str, limit: asyncio.Timeout) -> bytes:
    """The body, unpacked, at most `max_bytes` of it: the limit is checked while it comes in and while it unfolds.

    A long one waits for room, and the gateway's time stands still meanwhile: it is not the one that is slow.
    What is wrong with the body of a refusal does not matter: its status says enough.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    # An encoding that zlib does not know fails at its first bytes like a broken one.
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    readable = True
    body = bytearray()
    share = current_share()
    try:
        async for chunk in response.content.iter_any():
            body += unpack.decompress(chunk, max_bytes + 1 - len(body)) if unpack else chunk
            if len(body) > max_bytes:
                break
            if share is not None and len(body) > SHORT_BYTES:
                await share.take_beside(COPIES * max_bytes, limit)
                share = None
    except zlib.error:
        readable = False
    succeeded = 200 <= response.status < 300
    if succeeded and not readable:
        detail = f"{where} answered in an encoding that was not asked for. Let the proxy in front send it plain."
        raise GatewayError("upstream_not_json", detail, permanent=True, http_status=response.status)
    if succeeded and len(body) > max_bytes:
        detail = f"{where} answered more than {max_bytes} bytes; the rest was not read. The gateway may have changed."
        raise GatewayError("upstream_shape", detail, permanent=True, http_status=response.status)
    del body[max_bytes:]
    return bytes(body)


def _why(error: aiohttp.ClientError) -> str:
    """The cause of a transport failure, told by its type: the texts of errors can quote a header, so the key."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate was not accepted. Check MATCHAAI_BASE_URL and the certificates of this machine."
        if isinstance(cause, socket.gaierror):
            return "its name could not be resolved. Check MATCHAAI_BASE_URL and the network."
        if isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED:
            return "the connection was refused. Check MATCHAAI_BASE_URL, or wait until it is back."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection came about. Check MATCHAAI_BASE_URL and the network."
    return f"the connection broke off ({type(error).__name__}). Try again later."
