"""Whether a caller is still there, while nothing is written to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any


def connection_watch(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A function that says whether the caller of this request has closed its connection. Never blocks.

    A look at the next byte: nothing to read is a caller who waits, the end of the stream one who has gone. The socket
    is gevent's, whose own `recv` would wait; below it stands a plain one that does not.
    """
    plain = getattr(environ.get("gunicorn.socket"), "_sock", None)
    if plain is None:
        return lambda: False

    def has_gone() -> bool:
        try:
            return bool(plain.recv(1, socket.MSG_PEEK) == b"")
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    return has_gone
