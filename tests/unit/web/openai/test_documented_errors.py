"""docs/openai.md lists every code that a caller of /v1 can get, and says truly whether an SDK sends again."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from flask import Flask
from werkzeug.exceptions import default_exceptions

from tests.support.tools import ROOT
from worker.web.models import no_listing
from worker.web.openai import errors
from worker.web.openai.bodies import UNSUPPORTED
from worker.web.problems import Problem
from worker.web.routing import problem_of

WEB = ROOT / "worker" / "web"
ON_THE_WAY = (
    *(WEB / "openai").glob("*.py"),
    *(WEB / f"{name}.py" for name in ("asking", "app", "auth", "routing", "unreadable_requests", "validation")),
)
"""What a request under /v1 passes through."""
Row = tuple[int, str | None, bool]
"""Status, code, and whether an SDK sends again."""


def raised_in(file: Path) -> Iterator[Problem]:
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        values = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
        if node.func.id == "invalid":
            yield errors.invalid("a", "b", *(value for value in values[2:] if isinstance(value, str)))
        elif node.func.id == "Problem" and isinstance(values[0], int) and isinstance(values[1], str):
            yield Problem(values[0], values[1], "")


def possible() -> Iterator[Problem]:
    for file in ON_THE_WAY:
        yield from raised_in(file)
    yield from (Problem(form.status, code, "") for code, form in errors._FORMS.items())
    yield from (Problem(422, "invalid_body", "", fault=fault) for fault in ("missing", UNSUPPORTED, "int_type"))
    yield from (problem_of(default_exceptions[status]()) for status in (400, 404, 405, 413))
    yield no_listing()


def sent(problem: Problem) -> Row:
    response = errors.as_openai_response(problem)
    retried = response.status_code in (408, 409, 429) or response.status_code >= 500
    again = retried and response.headers.get("x-should-retry") != "false"
    return response.status_code, response.get_json()["error"]["code"], again


def documented() -> set[Row]:
    section = (ROOT / "docs" / "openai.md").read_text().partition("\n## Errors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .* \| (\d{3}) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    return {
        (int(status), code or None, not again.startswith("no"))
        for status, codes, again in rows
        for code in re.findall(r"`(\w+)`", codes) or [""]
    }


def test_the_table_of_errors_has_each_code_and_no_other() -> None:
    with Flask("test").test_request_context():
        assert {sent(problem) for problem in possible()} == documented()
