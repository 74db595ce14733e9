"""gunicorn's request, and how long it may be. Loaded with the settings, before the application: so nothing of that."""

from __future__ import annotations

from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request

MAX_REQUEST_LINE = 4094
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8190
"""gunicorn's defaults: the line in bytes, headers and the bytes of each."""
_BEGINNING_BYTES = 64
"""Of a request line: enough to say whether OpenAI's clients asked."""


class TracedRequest(Request):  # type: ignore[misc]
    """A request; where it cannot be read, the exception has the beginning of its first line as `beginning`."""

    _received: bytearray | None = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        try:
            super().__init__(*arguments, **more)
        except ParseException as error:
            error.beginning = bytes((self._received or b"")[:_BEGINNING_BYTES])
            raise

    def read_into(self, unreader: Any, buf: bytearray, stop: bool = False) -> None:
        super().read_into(unreader, buf, stop=stop)
        if self._received is None:
            self._received = buf
