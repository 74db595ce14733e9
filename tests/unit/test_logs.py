"""Log lines: one form for all, and never a secret in them."""

import json
import subprocess
import sys

import pytest

CODE = """
import logging, sys, structlog
from shared.logs import configure
configure(as_json={as_json}, level="info", process="test", secrets=["hunter2-secret"], stream=sys.stdout)
log = structlog.get_logger("ours")
log.info("llm_refresh.synced", message="Synced 5 models", added=0)
log.info("llm_chat.model", message="Using model: gpt-4o (MatchaAI LLM ID: 5)")
logging.getLogger("theirs").warning("key hunter2-secret and Authorization: Bearer abc.def-ghi and redis://:pw123@host")
question = "What is the owner's " + "secret?"
for tell in (log.exception, logging.getLogger("theirs").exception):
    try:
        raise ValueError("the key is hunter2-secret")
    except ValueError:
        tell("llm.failed")
logging.getLogger("httpx").info("HTTP Request: GET https://host/?q=1")
"""


@pytest.fixture(params=[True, False], ids=["json", "console"])
def lines(request: pytest.FixtureRequest) -> str:
    """In a process of its own: logging is set up once a process."""
    code = CODE.format(as_json=request.param)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_no_secret_token_or_password_of_an_address_stands_in_any_line(lines: str) -> None:
    for secret in ("hunter2", "abc.def-ghi", "pw123"):
        assert secret not in lines
    assert "[secret]" in lines
    assert "HTTP Request" not in lines


def test_a_traceback_shows_no_local_variable(lines: str) -> None:
    assert "ValueError" in lines
    assert "the owner's secret?" not in lines


def test_events_are_constant_and_the_sentence_is_their_message(lines: str) -> None:
    assert "llm_refresh.synced" in lines
    assert "[LLM Refresh] Synced 5 models" in lines
    assert "[ChaSen Chat] Using model: gpt-4o (MatchaAI LLM ID: 5)" in lines


def test_every_line_of_json_names_its_process_level_and_time() -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(as_json=True)], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        assert {"event", "level", "timestamp", "process"} <= json.loads(line).keys()


ELSEWHERE = r"""
import logging, sys, threading, warnings
from shared.logs import configure
lines = configure(as_json=True, level="info", process="test", secrets=['a"b\\c-secret'], redirect=True)
print("printed", "in two\nlines")
print('a"b\\c-secret', file=sys.stderr)
warnings.warn("old\nthing")
lines.write("llm_web.request", {"subject": "\udc80 \u2028 a\nb", "status": 200, "ms": 0.1, "role": None})
logging.getLogger("odd").warning("half \udc80 and \u2028")
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
sys.__stdout__.write("never ended")
raise LookupError("nobody catches this")
"""


def test_prints_warnings_and_uncaught_exceptions_are_json_lines_too() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", ELSEWHERE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    events = [line["event"] for line in lines]
    assert events[:3] == ["printed in two", "lines", "[secret]"]
    assert "never ended" in events
    assert events.count("llm_process.uncaught") == 2
    assert all({"event", "level", "timestamp", "process"} <= line.keys() for line in lines)


def test_nothing_is_set_up_by_an_import() -> None:
    code = "import logging, shared.logs; assert not logging.getLogger().handlers"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
