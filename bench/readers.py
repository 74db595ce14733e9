"""Readers of events in a process of their own: `python -m bench.readers`, its order on standard input."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_ENDS = (b"event: answer", b"event: error")


def follow(port: int, token: str, chat_ids: Sequence[str], *, seconds: float) -> dict[str, float]:
    """Read the events of these chats at once; the Unix time at which each chat's answer was there, whole.

    Raises RuntimeError when one does not end in so many seconds.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.readers"],
        input=json.dumps({"port": port, "token": token, "chat_ids": list(chat_ids), "seconds": seconds}),
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"readers: {done.stderr.strip().splitlines()[-1:]}")
    ended: dict[str, float] = json.loads(done.stdout)
    return ended


async def _one(port: int, token: str, chat_id: str) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"/api/chats/{chat_id}/events"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(head.decode())
    ending = False
    while line := await reader.readline():
        ending |= line.startswith(_ENDS)
        if ending and line.startswith(b"data: "):
            ended = time.time()
            writer.close()
            return ended
    raise RuntimeError(f"the events of {chat_id} stopped before its end")


async def _all(port: int, token: str, chat_ids: list[str], seconds: float) -> dict[str, float]:
    async with asyncio.timeout(seconds):
        ended = await asyncio.gather(*(_one(port, token, chat_id) for chat_id in chat_ids))
    return dict(zip(chat_ids, ended, strict=True))


def main() -> None:
    json.dump(asyncio.run(_all(**json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
