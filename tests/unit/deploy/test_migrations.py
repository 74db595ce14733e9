"""The SQL of the migrations: safe on tables that are in use."""

import sys
from pathlib import Path

import pytest

from migrations.schema import oldest_code_of, revisions
from tests.support.tools import ROOT, run_tool, tool

CONFIG = ROOT / "migrations" / "squawk.toml"


def sql() -> str:
    alembic = Path(sys.executable).parent / "alembic"
    return run_tool(alembic, "-c", ROOT / "migrations" / "alembic.ini", "upgrade", "head", "--sql")


def test_squawk_finds_nothing_in_them(tmp_path: Path) -> None:
    squawk = tool("squawk")
    file = tmp_path / "migrations.sql"
    file.write_text("\n".join(line for line in sql().splitlines() if not line.startswith("INFO")))
    run_tool(squawk, "--config", CONFIG, file)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX chats_by_model ON llm_chats (model_key);",
        "ALTER TABLE llm_chats ADD COLUMN a text NOT NULL;",
        "ALTER TABLE llm_chats DROP COLUMN answer;",
        "ALTER TABLE llm_chats RENAME COLUMN answer TO reply;",
        "ALTER TABLE llm_chats ADD CONSTRAINT c CHECK (attempt > 0);",
    ],
)
def test_squawk_would_find_what_breaks_running_processes(statement: str, tmp_path: Path) -> None:
    squawk = tool("squawk")
    file = tmp_path / "bad.sql"
    quick = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '15min';"
    file.write_text(f"BEGIN;\n{quick}\n{statement}\nCOMMIT;\n")
    with pytest.raises(pytest.fail.Exception):
        run_tool(squawk, "--config", CONFIG, file)


def test_no_migration_waits_long_for_a_lock() -> None:
    assert "SET LOCAL lock_timeout = '10s'" in sql()


def test_every_migration_states_the_oldest_code_that_works_with_it() -> None:
    """The state of a database is its newest migration's: it may need newer code than the one before, never older."""
    stated = [oldest_code_of(revision) for revision in revisions()]
    places = [revisions().index(code) for code in stated]
    assert places == sorted(places)
    assert all(place <= number for number, place in enumerate(places))
