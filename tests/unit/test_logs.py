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
log.info("llm_refresh.synced", message="[LLM Refresh] Synced 5 models", added=0)
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


def test_every_line_of_json_names_its_process_level_and_time() -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(as_json=True)], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        assert {"event", "level", "timestamp", "process"} <= json.loads(line).keys()


def test_nothing_is_set_up_by_an_import() -> None:
    code = "import logging, shared.logs; assert not logging.getLogger().handlers"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
