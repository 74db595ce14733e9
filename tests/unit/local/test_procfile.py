"""What a Procfile says."""

from pathlib import Path

import pytest

from worker.local.processes import ProcfileError, parse_procfile

PROCFILE = Path(__file__).parents[3] / "Procfile"


def test_names_and_commands_are_read_in_their_order() -> None:
    text = "# a comment\n\nweb: serve --port ${PORT:-80}\nworker:   work: hard  \n"
    assert list(parse_procfile(text).items()) == [("web", "serve --port ${PORT:-80}"), ("worker", "work: hard")]


@pytest.mark.parametrize("line", ["web", "web:", "two words: x", ": x", "web: a\nweb: b"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ProcfileError, match=r"Procfile, line \d: expected a new `name: command`"):
        parse_procfile(line)


def test_ours_holds_the_processes_that_operators_know() -> None:
    assert list(parse_procfile(PROCFILE.read_text())) == ["web", "worker", "chat", "beat", "flower"]


def test_only_the_chat_worker_s_command_holds_both_celery_and_chat() -> None:
    commands = parse_procfile(PROCFILE.read_text())
    assert [name for name, command in commands.items() if "celery" in command and "chat" in command] == ["chat"]


def test_no_command_holds_a_password() -> None:
    assert "password" not in PROCFILE.read_text().lower()
    assert "basic" not in PROCFILE.read_text().lower()
