"""A real HTTP server that takes notices: it keeps what it was sent, and answers as it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Post:
    """A request as it came."""

    body: bytes
    headers: dict[str, str]
    """names in lower case"""
    path: str

    @property
    def notice(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload


@dataclass
class Receiver:
    """`answers` are the statuses of the next answers, 204 after them; None: it does not answer until it is released.

    Messages whose webhook-id is one of `refused_ids` are answered 500; `retry_after` goes along with each failure.
    """

    url: str
    answers: list[int | None] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    refused_ids: set[str] = field(default_factory=set)
    retry_after: str | None = None
    released: threading.Event = field(default_factory=threading.Event)
    held: threading.Event | None = None
    """no answer is given before it is set"""

    def kinds(self) -> list[str]:
        return [post.notice["kind"] for post in self.posts]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.posts.append(Post(body, headers, self.path))
            status = made.answers.pop(0) if made.answers else 204
            if made.held is not None:
                made.held.wait(30)
            if headers.get("webhook-id") in made.refused_ids:
                status = 500
            if status is None:
                made.released.wait(30)
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{made.url}/elsewhere")
            if status >= 400 and made.retry_after is not None:
                self.send_header("Retry-After", made.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # with the usual 5 a burst of connections is refused

    with Server(("127.0.0.1", 0), Handler) as server:
        made = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield made
        finally:
            made.released.set()
            server.shutdown()
            serving.join()
