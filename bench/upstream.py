"""An upstream for the comparison with peers: each completion takes so long, in MatchaAI's form and in OpenAI's.

    python -m bench.upstream PORT SECONDS

One answer for every question. Nothing is recorded: it shall take little of the cores that it shares.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

TEXT = "Mont Blanc is 4,806 metres high."
_OPENAI = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": "bench",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
}
_MATCHAAI = {"status": "success", "output": [{"content": [{"type": "output_text", "text": TEXT}]}]}


def _answer(content: object) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class _Upstream(asyncio.Protocol):
    """One request at a time on each connection, as HTTP/1.1 clients send them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        place = head.find(b"content-length:")
        size = 0 if place < 0 else int(head[place + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + size:
            return
        self._buffer.clear()
        answer = _OPENAI_ANSWER if b" /v1/chat/completions" in head else _MATCHAAI_ANSWER
        asyncio.get_running_loop().call_later(self._seconds, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


_OPENAI_ANSWER, _MATCHAAI_ANSWER = _answer(_OPENAI), _answer(_MATCHAAI)


async def _serve(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Upstream(seconds), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
