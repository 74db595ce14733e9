"""`llm-refresh callers` and `llm-refresh usage`, as processes."""

import json
from pathlib import Path

import psycopg
import pytest

from harness.processes import local_variables
from harness.servers import Database
from tests.support.commands import Commands, LoadedCommands


@pytest.fixture
def command(database: Database, redis_url: str, tmp_path: Path, loaded: LoadedCommands) -> Commands:
    return Commands(local_variables(database.url, redis_url), tmp_path, loaded)


def test_limits_are_set_listed_and_dropped(command: Commands) -> None:
    assert "no caller" in command("callers", "list").stdout
    done = command("callers", "set", "ann", "--max-open", "5", "--weight", "2.5")
    assert (done.returncode, done.stdout) == (0, "ann: max_open 5, max_running -, per_minute -, weight 2.5\n")
    row = json.loads(command("callers", "set", "ann", "--per-minute", "60", "--max-open", "none", "--json").stdout)
    assert (row["max_open"], row["per_minute"], row["weight"]) == (None, 60, 2.5)
    listed = json.loads(command("callers", "list", "--json").stdout)
    (ann,) = listed["callers"]
    names = ("subject", "max_open", "max_running", "per_minute", "weight", "open", "running", "requests_today")
    assert tuple(ann[name] for name in names) == ("ann", None, None, 60, 2.5, 0, 0, 0)
    assert listed["defaults"]["max_open"] == 1000
    assert "ann" in command("callers", "list").stdout
    assert command("callers", "set", "ann", "--per-minute", "none", "--weight", "none").returncode == 0
    assert json.loads(command("callers", "list", "--json").stdout)["callers"] == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((), "name a limit"),
        (("--max-open", "0"), "--max-open"),
        (("--max-running", "-3"), "--max-running"),
        (("--per-minute", "1.5"), "--per-minute"),
        (("--weight", "0"), "--weight"),
        (("--weight", "nan"), "--weight"),
        (("--weight", "1e-320"), "--weight"),
    ],
)
def test_a_wrong_limit_is_wrong_use(command: Commands, options: tuple[str, ...], named: str) -> None:
    run = command("callers", "set", "ann", *options)
    assert run.returncode == 2
    assert named in run.stderr


@pytest.mark.parametrize("subject", ["\udcff", " "])
def test_a_subject_that_is_no_text_is_wrong_use(command: Commands, subject: str) -> None:
    run = command("callers", "set", subject, "--weight", "2")
    assert (run.returncode, "SUBJECT" in run.stderr) == (2, True)


def test_usage_is_a_table_json_or_a_report_without_formulas(command: Commands, database: Database) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO llm_caller_usage (subject, day, model_key, request_count, last_used, successes, latency_ms)"
            " VALUES ('=1+1', (now() AT TIME ZONE 'UTC')::date, 'gpt-4o', 2, now(), 2, 3000)"
        )
    (line,) = json.loads(command("usage", "--by", "caller", "--json").stdout)["usage"]
    assert (line["caller"], line["request_count"], line["mean_ms"]) == ("=1+1", 2, 1500)
    heading, row = command("usage", "--by", "caller", "--csv").stdout.splitlines()
    assert heading.startswith("caller,request_count,")
    assert row.startswith("'=1+1,2,2,")
    assert "=1+1" in command("usage", "--by", "caller").stdout
