"""Whether the process beside this one works: what a container's health check asks, in a fraction of a second.

`python -m worker.alive web|flower|refresh|chat|beat` ends with 0 when it does, else with 1 and one line; with 2 for
wrong settings. Loads as little as it can: it is run every few seconds.
"""

import base64
import http.client
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from shared.redis_store import RedisStore, RedisUnavailable, connect
from shared.settings import Settings, SettingsError, flower_login, read_settings

TIMEOUT_SECONDS = 4


def find_problem(kind: str, settings: Settings, host: str) -> str | None:
    """Why the process of this kind on this host is not well; None when it is."""
    if kind == "web":
        return _get(settings.port, "/healthz")
    if kind == "flower":
        login = base64.b64encode(flower_login(settings).encode()).decode()
        return _get(settings.flower_port, "/healthcheck", {"Authorization": f"Basic {login}"})
    # Beat is one for the whole system; a worker's name is made of its kind and its host, as the Procfile says.
    name = "beat" if kind == "beat" else f"{kind}@{host}"
    try:
        alive = RedisStore(connect(settings.redis_url.get_secret_value())).is_alive(kind, name)
    except RedisUnavailable as error:
        return str(error)
    return None if alive else f"{name} has not said for a while that it is alive"


def _get(port: int, path: str, headers: Mapping[str, str] | None = None) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"port {port} does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return None if status == 200 else f"{path} answered {status}"


def main(arguments: list[str]) -> int:
    """Ask, and say in one line what is wrong. Returns the exit code."""
    if arguments not in (["web"], ["flower"], ["refresh"], ["chat"], ["beat"]):
        sys.stderr.write("usage: python -m worker.alive web|flower|refresh|chat|beat\n")
        return 2
    try:
        settings = read_settings(os.environ, Path(".env"))
        wrong = find_problem(arguments[0], settings, socket.gethostname())
    except SettingsError as error:
        sys.stderr.write(f"llm-refresh: {error}\n")
        return 2
    if wrong is not None:
        sys.stderr.write(f"{wrong}\n")
    return 0 if wrong is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
