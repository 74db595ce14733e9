"""No text that reaches a caller names a variable, an address of the inside, or what a driver says.

The sources are searched, so that a text which is written tomorrow is looked at as well: every string of the modules
whose words go out, but documentation and what is logged.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from shared.vocabulary import CHAT_ERROR_CODES, GATEWAY_ERROR_CODES, text_for_callers

ROOT = Path(__file__).parents[3]
VARIABLES = {name.upper() for name in Settings.model_fields}
INSIDE = re.compile(
    r"\b(" + "|".join(sorted(VARIABLES - {"PORT"})) + r")\b|https?://(?!127\.0\.0\.1)|/rest/api|\bpsycopg|\bSQLSTATE\b"
    r"|\bsqlalchemy|\bkombu|\bredis-py|\baiohttp|\bTraceback"
)
# For processes, scrapes and the operator's own screen: their words are no answer to a caller.
NOT_FOR_CALLERS = {
    "gunicorn_conf.py",
    "gunicorn_logs.py",
    "gunicorn_worker.py",
    "metrics.py",
    "metric_families.py",
    "key_set.py",
}
# Whose exceptions and rows become the text of an answer.
SPEAKING = ("shared/chat", "shared/catalogue")
# Their text is the cause of a run, for operators: worker/web/refreshes.py says another one to callers.
CAUSES = {("shared/catalogue/sync/sources.py", "MATCHAAI_BASE_URL")}


def modules() -> Iterator[Path]:
    folders = [ROOT / "worker" / "web", *(ROOT / name for name in SPEAKING)]
    yield from (path for folder in folders for path in folder.rglob("*.py") if path.name not in NOT_FOR_CALLERS)
    yield ROOT / "shared" / "vocabulary.py"


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module with its line, but documentation and the arguments of a logger."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "re.compile")):
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def allowed(path: Path, text: str) -> bool:
    return any(str(path.relative_to(ROOT)) == module and word in text for module, word in CAUSES)


def test_no_text_of_the_modules_that_speak_to_callers_names_the_inside() -> None:
    looked_at = [(path, line, text) for path in modules() for line, text in texts(path)]
    assert len(looked_at) > 1000
    named = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path, line, text in looked_at
        if INSIDE.search(text) and not allowed(path, text)
    ]
    assert named == []


@pytest.mark.parametrize("page", ["panel.js", "api.js", "words.js", "token.js", "llm-model-select.js", "index.html"])
def test_the_page_for_callers_names_nothing_of_the_inside(page: str) -> None:
    script = (ROOT / "worker" / "web" / "static" / page).read_text().replace("http://www.w3.org/", "")
    assert INSIDE.findall(re.sub(r"^\s*(//|\*|/\*).*$", "", script, flags=re.MULTILINE)) == []


@pytest.mark.parametrize("code", [*CHAT_ERROR_CODES, "of tomorrow"])
def test_the_text_of_each_code_is_a_sentence_that_names_nothing_of_the_inside(code: str) -> None:
    text = text_for_callers(code, tries=3)
    assert text.endswith("It was tried 3 times.")
    assert not INSIDE.search(text)


def test_each_code_of_the_gateway_has_a_text_of_its_own() -> None:
    assert len({text_for_callers(code) for code in (*GATEWAY_ERROR_CODES, "another")}) == len(GATEWAY_ERROR_CODES) + 1
