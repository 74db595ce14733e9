"""Apprise in a process of its own: a request on standard input, a line of JSON for each message on standard output.

Started by `people.py`. Its errors are chosen from a few: Apprise's own texts can hold addresses and their tokens.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any


def main() -> None:
    """Answer one request. Ends by itself after so many seconds, also where whoever asked is gone."""
    signal.alarm(int(sys.argv[1]))
    request = json.load(sys.stdin)
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a plug-in prints is none of the answers
    for error in _check(request["check"]) if "check" in request else _send(request):
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()


def _check(urls: list[str]) -> Iterator[str | None]:
    for url in urls:
        yield None if _service(url) is not None else "not understood"


def _send(request: Mapping[str, Any]) -> Iterator[str | None]:
    captured = _LogCapture()
    logger = logging.getLogger("apprise")
    logger.addHandler(captured)
    logger.propagate = False
    service = _service(request["url"])
    for message in request["messages"]:
        captured.texts.clear()
        if service is None:
            yield "Apprise does not understand the address"
        elif service.notify(title=message["title"], body=message["body"], notify_type=message["type"]):
            yield None
        else:
            yield _error_of(captured.texts)


def _service(url: str) -> Any:
    import apprise  # noqa: PLC0415 - the optional extra `notify`

    asset = apprise.AppriseAsset(
        app_id="LLM Refresh",
        app_desc="LLM Refresh",
        app_url="",
        async_mode=False,
        body_format=apprise.NotifyFormat.TEXT,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        allow_templates=False,
        secure_logging=True,
        image_path_mask=False,
        image_url_mask="",
        image_url_logo="",
    )
    service = apprise.Apprise(asset=asset)
    return service if service.add(url) and len(service) == 1 else None


class _LogCapture(logging.Handler):
    """Keeps what Apprise warns of, to choose an error by."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _error_of(texts: list[str]) -> str:
    for text in texts:
        if status := re.search(r"\berror[=:] ?([1-5][0-9]{2})\b", text):
            return f"the receiver answered HTTP {status[1]}"
        if "submitting email" in text:
            return "the mail server could not be reached, or refused the login or the mail"
        if "onnection error" in text:
            return "the receiver could not be reached"
    return "the receiver did not take it"


if __name__ == "__main__":
    main()
