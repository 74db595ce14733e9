"""TCP ports of 127.0.0.1."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which systems take ports for outgoing connections (32768 on Linux, 49152 elsewhere): a port
# that is ours stays free while its server restarts.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(preferred: int | None = None) -> int:
    """The preferred port when it is free, else another one that is. Somebody may take it before you do."""
    if preferred is not None and is_free(preferred):
        return preferred
    candidates = random.sample(_RANGE, 200)  # spread, so that two who choose at once seldom meet
    return next(port for port in candidates if is_free(port))
