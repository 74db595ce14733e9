"""Whether web answers on this machine: without it nobody is served, and no alert but one can fire."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from worker.doctor.findings import Finding, fault, good, warning

ANSWER_SECONDS: Final = 5.0


def check_web(port: int, *, answer_seconds: float = ANSWER_SECONDS) -> Iterator[Finding]:
    """Ask `/healthz` of the web process on this machine's `port`."""
    where = f"127.0.0.1:{port}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=answer_seconds)) as connection:
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except ConnectionRefusedError:
            yield warning("web", f"nothing listens on {where}", "start web, unless it runs on another machine or port")
        except TimeoutError:
            yield fault(
                "web",
                f"takes connections on {where} and does not answer within {answer_seconds:g} s",
                "look whether it is stopped (`ps -eo pid,stat,args | grep '[g]unicorn'` says T), and restart it",
            )
        except (OSError, http.client.HTTPException) as error:
            yield fault("web", f"breaks off on {where} ({type(error).__name__})", "look at its log, and restart it")
        else:
            if status == http.client.OK:
                yield good("web", f"answers on {where}")
            else:
                yield fault("web", f"{where} answers {status}: it may be another program", "look at PORT")
