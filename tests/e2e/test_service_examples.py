"""The examples of docs/services.md, as they stand there, against a running installation that wants tokens."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import plain_http
from harness.stand_in import RunningStandIn
from tests.e2e.conftest import JWT_SECRET
from tests.support.up import ROOT, RunningUp, own_environment
from worker.local.stand_in import default_models

GUIDE = (ROOT / "docs" / "services.md").read_text()
EXAMPLES: dict[str, str] = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
PROGRAMS = {".py": [sys.executable], ".mjs": ["node"], ".sh": ["sh"]}


@pytest.fixture(scope="module")
def tokens(up: RunningUp) -> dict[str, str]:
    """By role, as the page says how to make them."""
    return {
        role: command(up, "token", "--role", role, "--sub", "billing") for role in ("authenticated", "service_role")
    }


def command(up: RunningUp, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *words],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=own_environment(LLM_REFRESH_HOME=str(up.home), JWT_SECRET=JWT_SECRET),
    )
    return done.stdout.strip()


def run(name: str, folder: Path, up: RunningUp, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(PROGRAMS[Path(name).suffix][0]) is None or (name.endswith(".sh") and shutil.which("jq") is None):
        pytest.skip(f"nothing here runs {name}")
    (folder / name).write_text(EXAMPLES[name])
    environ = own_environment(LLM_REFRESH_URL=up.url, LLM_REFRESH_TOKEN=token, REDIS_URL=up.state["REDIS_URL"])
    return subprocess.run(
        [*PROGRAMS[Path(name).suffix], name, *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_there_is_an_example_of_each_kind() -> None:
    assert sorted(EXAMPLES) == ["ask.mjs", "ask.py", "ask.sh", "refresh.mjs", "refresh.py", "refresh.sh"]


@pytest.mark.parametrize("name", ["ask.py", "ask.mjs", "ask.sh"])
def test_a_service_asks_and_gets_its_answer_once(
    name: str, tmp_path: Path, up: RunningUp, tokens: dict[str, str]
) -> None:
    question = f'What is a "lease" ({name})?'
    done = run(name, tmp_path, up, tokens["authenticated"], question)
    assert done.returncode == 0, done.stderr
    headers = {"Authorization": f"Bearer {tokens['authenticated']}"}
    chats = plain_http.get(f"{up.url}/api/chats", headers=headers).json()["chats"]
    answered = [
        plain_http.get(f"{up.url}/api/chats/{chat['id']}?content=true", headers=headers).json() for chat in chats
    ]
    (mine,) = [chat for chat in answered if chat["question"] == question]
    assert done.stdout.strip() == mine["answer"].strip()


@pytest.mark.parametrize("name", ["ask.py", "ask.mjs", "ask.sh"])
@pytest.mark.parametrize(("status", "detail"), [(401, "token"), (422, "question")])
def test_a_refused_question_ends_with_the_detail(
    name: str, status: int, detail: str, tmp_path: Path, up: RunningUp, tokens: dict[str, str]
) -> None:
    token, words = ("no-token", ["Hello?"]) if status == 401 else (tokens["authenticated"], [])
    done = run(name, tmp_path, up, token, *words)
    assert done.returncode != 0
    assert re.search(rf"HTTP {status}: .*{detail}", done.stderr), done.stderr
    assert done.stdout == ""


def test_a_key_does_where_a_token_does(tmp_path: Path, up: RunningUp) -> None:
    line = next(line for line in GUIDE.splitlines() if "keys create" in line)
    words = re.search(r"`llm-refresh (keys create [^`]+)`", line)
    assert words is not None
    made = json.loads(command(up, *words[1].split(), "--json"))
    done = run("ask.py", tmp_path, up, made["key"], "Hello?")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["refresh.py", "refresh.mjs", "refresh.sh"])
def test_a_service_refreshes(name: str, tmp_path: Path, up: RunningUp, tokens: dict[str, str]) -> None:
    done = run(name, tmp_path, up, tokens["service_role"])
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_the_example_of_docs_frontend_follows_a_chat_to_its_end(
    tmp_path: Path, up: RunningUp, tokens: dict[str, str]
) -> None:
    if shutil.which("node") is None:
        pytest.skip("nothing here runs JavaScript")
    page = (ROOT / "docs" / "frontend.md").read_text()
    example = re.search(r"^```js\n(async function follow.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert example is not None
    # A page's fetch knows its own server; that of Node takes whole addresses.
    program = example[1].replace("fetch(`/", f"fetch(`{up.url}/")
    (tmp_path / "follow.mjs").write_text(
        f"{program}\nawait follow(process.argv[2], process.argv[3], (chat) => console.log(chat.status));\n"
    )
    token = tokens["authenticated"]
    response = plain_http.post(
        f"{up.url}/api/chasen/chat",
        json={"question": "Why?"},
        headers={"Authorization": f"Bearer {token}"},
    )
    for sent, end in ((token, "succeeded"), ("no-token", "")):
        done = subprocess.run(
            ["node", "follow.mjs", response.json()["id"], sent],
            cwd=tmp_path,
            env=own_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.split()[-1:] == [end] * bool(end), done.stderr
        assert (done.returncode == 0) == bool(end)


REFUSALS = ("refresh.mjs", "refresh.sh")


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refresh_that_is_not_allowed_ends_with_the_cause(
    name: str, tmp_path: Path, up: RunningUp, tokens: dict[str, str]
) -> None:
    done = run(name, tmp_path, up, tokens["authenticated"])
    assert done.returncode != 0
    assert re.search(r"forbidden: .*service_role", done.stderr), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", REFUSALS)
def test_a_failed_refresh_ends_with_the_cause(
    name: str, tmp_path: Path, up: RunningUp, tokens: dict[str, str], gateway: RunningStandIn
) -> None:
    gateway.behave(llms={"status": 401})
    try:
        done = run(name, tmp_path, up, tokens["service_role"])
    finally:
        gateway.behave()
    assert done.returncode != 0
    assert re.search(r"unauthorised: .*/api/llms/runs/", done.stderr), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", REFUSALS)
def test_a_held_refresh_ends_with_the_sha256(
    name: str, tmp_path: Path, up: RunningUp, tokens: dict[str, str], gateway: RunningStandIn
) -> None:
    gateway.set_models(default_models()[:2])
    try:
        done = run(name, tmp_path, up, tokens["service_role"])
    finally:
        gateway.set_models(default_models())
    assert done.returncode != 0
    assert re.search(r"held: [0-9a-f]{64}$", done.stderr, re.MULTILINE), done.stderr
    assert done.stdout == ""


def test_each_call_and_each_of_its_statuses_is_in_the_table(up: RunningUp) -> None:
    rows = dict(re.findall(r"^\| `([A-Z]+ /api[^`]*)` \| (.+) \|$", GUIDE, re.MULTILINE))
    document = plain_http.get(f"{up.url}/openapi.json").json()
    described = {
        f"{method.upper()} {path}": {status for status in operation["responses"] if status != "default"}
        for path, methods in document["paths"].items()
        if path.startswith("/api")
        for method, operation in methods.items()
    }
    assert set(rows) == set(described)
    for call, statuses in described.items():
        assert statuses <= set(re.findall(r"\b[2-5]\d\d\b", rows[call])), call
