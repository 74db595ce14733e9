"""Requests that gunicorn cannot read, and so no route: refused in the form that the clients of their address read."""

from __future__ import annotations

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHeader,
    InvalidHeaderName,
    InvalidHTTPVersion,
    InvalidRequestLine,
    InvalidRequestMethod,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ObsoleteFolding,
    UnsupportedTransferCoding,
)

from worker.web import problems
from worker.web.openai import errors
from worker.web.problems import Problem
from worker.web.traced_request import MAX_FIELD_BYTES, MAX_FIELDS, MAX_REQUEST_LINE

_MALFORMED = (
    InvalidRequestLine,
    InvalidRequestMethod,
    InvalidHTTPVersion,
    InvalidHeader,
    InvalidHeaderName,
    ObsoleteFolding,
)
_OURS = (InvalidResponseHeader, InvalidResponseHeaderName)
"""What the application answered, though their classes say that the client sent it."""


def problem_of(error: BaseException) -> Problem | None:
    """What is wrong with a request; None where it is no fault of who sent it."""
    if isinstance(error, LimitRequestLine):
        detail = f"the address is too long: with method and version it may hold {MAX_REQUEST_LINE} bytes"
        return Problem(414, "uri_too_long", detail)
    if isinstance(error, LimitRequestHeaders):
        detail = f"there may be {MAX_FIELDS} headers of {MAX_FIELD_BYTES} bytes each"
        return Problem(431, "headers_too_large", detail)
    if isinstance(error, ExpectationFailed):
        return Problem(417, "expectation_failed", "the header Expect may say 100-continue only")
    if isinstance(error, UnsupportedTransferCoding):
        return Problem(501, "unsupported_transfer_coding", "the header Transfer-Encoding may say chunked only")
    if isinstance(error, _MALFORMED) and not isinstance(error, _OURS):
        return Problem(400, "bad_request", "this is not HTTP that the server understands")
    return None


def refusal(error: BaseException, request_id: str) -> bytes | None:
    """The whole answer to a request that could not be read; None where it is no fault of who sent it."""
    problem = problem_of(error)
    if problem is None:
        return None
    if errors.is_openai_path(_path(getattr(error, "beginning", b""))):
        response = errors.document(problem)
    else:
        response = problems.document(problem, request_id=request_id)
    response.headers.extend({"X-Request-ID": request_id, "X-Content-Type-Options": "nosniff", "Connection": "close"})
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in response.headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + response.get_data()


def _path(beginning: bytes) -> str:
    words = beginning.lstrip(b"\r\n").split(b" ")
    return words[1].partition(b"?")[0].decode("latin-1") if len(words) > 1 else ""
