"""Problem documents (RFC 9457): the one form in which this API says that something is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, g


class Problem(Exception):
    """Something the caller has to know. `code` is stable; `detail` says what to do, and names nothing of the inside.

    `cause` is for the log alone: what an operator needs beside.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        param: str | None = None,
        fault: str | None = None,
        fault_detail: str | None = None,
        cause: str | None = None,
    ) -> None:
        """`param` is the path of the field that is wrong, `fault` pydantic's name for what is wrong with it.

        `fault_detail` says that alone, where `detail` goes on with further fields.
        """
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        self.param = param
        self.fault = fault
        self.fault_detail = fault_detail
        self.cause = cause

    @property
    def for_log(self) -> str:
        """The detail, with the cause that callers do not read."""
        return self.detail if self.cause is None else f"{self.detail} ({self.cause})"


def problem_members(status: int, code: str, detail: str, *, request_id: str | None = None) -> dict[str, Any]:
    """The members of a problem document. `request_id`: of a request that Flask has not seen."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id or g.get("request_id"),
    }


def as_response(problem: Problem) -> Response:
    """The problem as it goes out."""
    g.refusal = (problem.code, problem.for_log)
    return document(problem)


def document(problem: Problem, *, request_id: str | None = None) -> Response:
    """As `as_response`, for a request that Flask may not have seen."""
    body = problem_members(problem.status, problem.code, problem.detail, request_id=request_id) | problem.members
    response = Response(
        json.dumps(body, ensure_ascii=False), status=problem.status, content_type="application/problem+json"
    )
    response.headers.extend(problem.headers)
    response.headers.setdefault("Cache-Control", "no-store")
    return response
