"""The one client of MatchaAI: lists models and completes prompts within a total deadline and a body limit."""

import asyncio
import hashlib
import random
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx

from shared.gateway import wire
from shared.gateway.errors import GatewayError
from shared.gateway.retry import retrying

MIB = 1024 * 1024
CONNECT_SECONDS = 10.0  # a host that does not even accept is given up sooner than a model that thinks
KEEP_ALIVE_SECONDS = 15.0  # shorter than the idle time-outs of common proxies, so that a reused connection still lives
LIST_RETRY_BASE_SECONDS = 0.5
LIST_RETRY_MAX_PAUSE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer to the list call: the raw entries, the sha256 (hex) of the body they came in, and how long it took."""

    entries: tuple[object, ...]
    sha256: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came, read within its limits and not looked into."""

    status: int
    content_type: str
    body: bytes
    retry_after_seconds: float | None


class GatewayClient:
    """Calls MatchaAI with one key. Belongs to the event loop of its first call; end it with `aclose`.

    The key goes into the header MATCHA-API-KEY and nowhere else: no redirect is followed, no proxy of the environment
    used, no cookie kept, and no error holds it. Each call borrows one small httpx client for itself, because one pool
    with N connections looks at all N for each request; up to `clients` of them are kept, each with its live
    connection, and further calls at the same time make their own. A call that does not end well closes its client,
    so its socket is closed when its deadline ends or its task is cancelled.

    `base_url` is like `https://host/rest/api/v1`. Raises ValueError for a `base_url` that is no http(s) address or a
    key that cannot stand in a header.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        mission_id: int | None = None,
        model_field: wire.ModelField = "llm_id",
        max_list_bytes: int = 8 * MIB,
        max_answer_bytes: int = 4 * MIB,
        clients: int = 1024,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("The gateway's base URL must be like https://host/rest/api/v1.")
        try:
            httpx.URL(base_url)
        except httpx.InvalidURL as error:
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
        self._kept = clients
        self._jitter = jitter
        self._idle: list[httpx.AsyncClient] = []  # the last returned is borrowed first: its connection is the warmest
        self._tls: ssl.SSLContext | None = None
        self._no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))

    def __repr__(self) -> str:
        return f"<GatewayClient of {self._place}>"

    async def list_models(self, *, deadline_seconds: float, request_id: str | None = None) -> Listing:
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

        entries, body = await retrying(
            once,
            deadline_seconds=deadline_seconds,
            base_seconds=LIST_RETRY_BASE_SECONDS,
            max_pause_seconds=LIST_RETRY_MAX_PAUSE_SECONDS,
            jitter=self._jitter,
        )
        return Listing(entries, hashlib.sha256(body).hexdigest(), round((time.monotonic() - started) * 1000))

    async def complete(
        self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None
    ) -> str:
        """Ask the model `llm_id` once and return its answer; whoever calls decides about trying again.

        Raises GatewayError: what `wire.completion_body` and `wire.read_completion` raise, upstream_unavailable,
        timeout; upstream_rejected when there is no mission to ask in.
        """
        reply = await self.ask(llm_id=llm_id, prompt=prompt, deadline_seconds=deadline_seconds, request_id=request_id)
        where = self._completions
        return wire.read_completion(
            reply.status, reply.content_type, reply.body, where=where, retry_after_seconds=reply.retry_after_seconds
        )

    async def ask(self, *, llm_id: int, prompt: str, deadline_seconds: float, request_id: str | None = None) -> Reply:
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
        """Close the connections that are kept. Calls still under way close theirs when they end."""
        self._kept = 0
        while self._idle:
            await self._idle.pop().aclose()

    async def _exchange(
        self,
        method: str,
        path: str,
        where: str,
        deadline_seconds: float,
        request_id: str | None,
        max_bytes: int,
        content: bytes | None = None,
    ) -> Reply:
        headers = dict(self._headers)
        if content is not None:
            headers["Content-Type"] = "application/json"
        if request_id and request_id.isascii() and request_id.isprintable():
            headers["X-Request-ID"] = request_id
        client = self._borrow()
        reply: Reply | None = None
        try:
            # httpx's own time-outs are for each read: a byte a second would never meet them. This one is for all of it.
            async with (
                asyncio.timeout(deadline_seconds),
                client.stream(method, self._base_url + path, headers=headers, content=content) as response,
            ):
                body = await _read(response, max_bytes, where)
                reply = Reply(
                    response.status_code,
                    response.headers.get("content-type", ""),
                    body,
                    wire.parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC)),
                )
        except (TimeoutError, httpx.TimeoutException):
            failure = GatewayError(
                "timeout", f"{where} did not answer in {deadline_seconds:g} s. Try again later.", trips_circuit=True
            )
        except httpx.HTTPError as error:
            failure = GatewayError("upstream_unavailable", f"{where} failed: {_why(error)}", trips_circuit=True)
        finally:
            await self._give_back(client, reusable=reply is not None)
        if reply is None:
            # Not raised above: httpx's errors hold the request with the key, and would come along as its context.
            raise failure
        return reply

    def _borrow(self) -> httpx.AsyncClient:
        if self._idle:
            return self._idle.pop()
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)  # shared: making one takes 20 ms
        return httpx.AsyncClient(
            verify=self._tls,
            trust_env=False,
            follow_redirects=False,
            cookies=self._no_cookies,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE_SECONDS),
        )

    async def _give_back(self, client: httpx.AsyncClient, *, reusable: bool) -> None:
        if reusable and len(self._idle) < self._kept:
            self._idle.append(client)
        else:
            await client.aclose()


async def _read(response: httpx.Response, max_bytes: int, where: str) -> bytes:
    """The body, unpacked, at most `max_bytes` of it: the limit is checked while it comes in and while it unfolds.

    What is wrong with the body of a refusal does not matter: its status says enough.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    # An encoding that zlib does not know fails at its first bytes like a broken one.
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    readable = True
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += unpack.decompress(chunk, max_bytes + 1 - len(body)) if unpack else chunk
            if len(body) > max_bytes:
                break
    except zlib.error:
        readable = False
    if response.is_success and not readable:
        detail = f"{where} answered in an encoding that was not asked for. Let the proxy in front send it plain."
        raise GatewayError("upstream_not_json", detail, permanent=True, http_status=response.status_code)
    if response.is_success and len(body) > max_bytes:
        detail = f"{where} answered more than {max_bytes} bytes; the rest was not read. The gateway may have changed."
        raise GatewayError("upstream_shape", detail, permanent=True, http_status=response.status_code)
    return bytes(body[:max_bytes])


def _why(error: httpx.HTTPError) -> str:
    """The cause of a transport failure, told by its type: httpx's own texts can quote a header, so the key."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate was not accepted. Check MATCHAAI_BASE_URL and the certificates of this machine."
        if isinstance(cause, socket.gaierror):
            return "its name could not be resolved. Check MATCHAAI_BASE_URL and the network."
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused. Check MATCHAAI_BASE_URL, or wait until it is back."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "no connection came about. Check MATCHAAI_BASE_URL and the network."
    return f"the connection broke off ({type(error).__name__}). Try again later."
