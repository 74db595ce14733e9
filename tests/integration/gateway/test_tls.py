"""The client over TLS: which certificates are believed, and that a cancelled call is closed through it as well."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.stand_in import RunningStandIn
from shared.gateway.client import GatewayClient
from shared.gateway.errors import GatewayError

ROOT = Path(__file__).parents[3]
CALL = """
import asyncio, sys
from shared.gateway.client import GatewayClient

async def main():
    client = GatewayClient(base_url=sys.argv[1], api_key=sys.argv[2], mission_id=7)
    print(await client.complete(llm_id=25, prompt="Which?", deadline_seconds=float(sys.argv[3])))
    await client.aclose()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Secured:
    """The sandbox behind TLS, with a certificate of an authority that only `authority` (a file) knows."""

    url: str
    authority: Path
    sandbox: RunningStandIn


def _certified(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, pair = folder / "authority.pem", folder / "pair.pem"
    public = certificate.public_bytes(serialization.Encoding.PEM)
    authority.write_bytes(public)
    plain = serialization.NoEncryption()
    pair.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain) + public)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    return authority, context


@contextlib.contextmanager
def _forwarding(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """A port that takes TLS off and passes on to `port`, in both directions until either side closes."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()

    ports, ready, stop = list[int](), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        stop.set()
        thread.join(10)


@pytest.fixture
def secured(sandbox: RunningStandIn, tmp_path: Path) -> Iterator[Secured]:
    authority, context = _certified(tmp_path)
    with _forwarding(context, sandbox.port) as port:
        yield Secured(
            sandbox.url.replace(f"http://127.0.0.1:{sandbox.port}", f"https://127.0.0.1:{port}"), authority, sandbox
        )


def _call(secured: Secured, *, seconds: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL, secured.url, secured.sandbox.api_key, str(seconds)],
        env={**os.environ, "SSL_CERT_FILE": str(secured.authority)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_authority_that_the_machine_was_told_of_is_believed(secured: Secured) -> None:
    done = _call(secured)

    assert done.returncode == 0, done.stderr
    assert "Claude 3.5 Sonnet (25)" in done.stdout


def test_a_call_that_ends_at_its_deadline_is_closed_through_tls(secured: Secured) -> None:
    secured.sandbox.behave(completions={"silent": True})

    done = _call(secured, seconds=1)

    assert "did not answer in 1 s" in done.stderr
    secured.sandbox.wait_for_calls(lambda calls: calls["closed_by_client"] == 1 and calls["open"] == 0)


def test_a_certificate_of_nobody_known_is_named_so_and_no_key_is_sent(secured: Secured) -> None:
    async def ask() -> None:
        client = GatewayClient(base_url=secured.url, api_key=secured.sandbox.api_key, mission_id=7)
        try:
            await client.complete(llm_id=25, prompt="Which?", deadline_seconds=20)
        finally:
            await client.aclose()

    with pytest.raises(GatewayError, match="certificate was not accepted") as caught:
        asyncio.run(ask())

    assert (caught.value.code, caught.value.permanent) == ("upstream_unavailable", False)
    assert secured.sandbox.calls()["requests"] == []
