"""Passes connections on, between a TCP port and a Unix socket: those are met from every network namespace.

`python -m tests.chaos.relay tcp:127.0.0.1:5000=unix:/tmp/a …` listens on the left and connects to the right, until its
standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial

CHUNK_BYTES = 65536


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while (data := await reader.read(CHUNK_BYTES)) and not writer.is_closing():
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _pass_on(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await _connect(target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def serve(pairs: list[tuple[str, str]]) -> None:
    """Listen on the first of each pair, pass on to the second, until standard input ends."""
    for listen, target in pairs:
        kind, _, rest = listen.partition(":")
        if kind == "unix":
            await asyncio.start_unix_server(partial(_pass_on, target), rest)
        else:
            host, _, port = rest.rpartition(":")
            await asyncio.start_server(partial(_pass_on, target), host, int(port))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve([(left, right) for left, _, right in (pair.partition("=") for pair in sys.argv[1:])]))
