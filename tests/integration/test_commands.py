"""The `llm-refresh` command as a process, on a database of its own; the first test starts the program itself."""

import json
from pathlib import Path

import jwt
import psycopg
import pytest

from harness.processes import local_variables
from harness.servers import Database, Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from tests.support.commands import Commands, LoadedCommands

FOUND = """Found 5 LLM models in database:
  ✓ Claude 3.7 Sonnet (ID: 28, Key: claude-3-7-sonnet) [DEFAULT]
  ✓ Claude 3.5 Sonnet (ID: 25, Key: claude-3-5-sonnet)
  ✓ Claude Opus 4.1 (ID: 30, Key: claude-3-opus-4-1)
  ✓ Gemini 2.5 Flash-Lite (ID: 35, Key: gemini-2-5-flash-lite)
  ✓ GPT-4o (ID: 40, Key: gpt-4o)
"""


@pytest.fixture
def command(database: Database, redis_url: str, tmp_path: Path, loaded: LoadedCommands) -> Commands:
    variables = local_variables(database.url, redis_url, MIGRATE_DATABASE_URL=database.owner_url)
    return Commands(variables, tmp_path, loaded)


def test_migrate_makes_and_seeds_an_empty_database_and_may_be_run_again(servers: Servers, tmp_path: Path) -> None:
    with servers.empty_database() as empty:
        run = Commands(local_variables(empty.url, servers.redis_url(), MIGRATE_DATABASE_URL=empty.owner_url), tmp_path)
        before = run("verify")
        assert (before.returncode, "migrate" in before.stderr) == (1, True)
        assert len(before.stderr.splitlines()) == 1
        assert run("migrate").returncode == 0
        assert run("verify").stdout == FOUND
        again = run("migrate")
        assert (again.returncode, "nothing to add" in again.stdout) == (0, True)


@pytest.mark.timeout(400)  # some forty processes, one after the other
def test_a_day_of_an_operator(command: Commands) -> None:
    assert command("migrate").returncode == 0
    assert command("verify").stdout == FOUND
    done = command("refresh")
    assert (done.returncode, done.stdout.splitlines()[0].split()[0]) == (0, "succeeded")
    assert json.loads(command("refresh", "--json").stdout)["counts"]["unchanged"] == 5
    assert command("set", "gpt-4o", "display_order=0", "supports_audio=true").returncode == 0
    assert command("set-default", "gpt-4o").returncode == 0
    assert "✓ GPT-4o (ID: 40, Key: gpt-4o) [DEFAULT]" in command("verify").stdout
    models = json.loads(command("models", "--json").stdout)
    assert models[0]["model_key"] == "gpt-4o"
    assert models[0]["capabilities"]["supports_audio"] is True
    assert "override" in command("models", "--provenance").stdout
    changes = command("changes").stdout
    assert "gpt-4o (ID 40) is the default now" in changes or "gpt-4o (ID 40), operator" in changes
    runs = json.loads(command("runs", "--json").stdout)
    assert [run["status"] for run in runs] == ["succeeded", "succeeded"]
    assert command("set", "gpt-4o", "display_order=null", "supports_audio=null").returncode == 0


def test_a_held_and_a_failed_refresh_are_not_good(command: Commands) -> None:
    command("migrate")
    with RunningStandIn(models=[{"id": id_, "name": f"Claude {id_}"} for id_ in (28, 29, 30)]) as gateway:
        upstream = {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key}
        assert command("refresh", **upstream).returncode == 0
        gateway.set_models([{"id": 28, "name": "Claude 28"}])
        held = command("refresh", **upstream)
        assert (held.returncode, "--force" in held.stdout) == (1, True)
        sha256 = held.stdout.split("--force")[1].split()[0]
        assert command("refresh", "--dry-run", **upstream).returncode == 0
        gateway.behave(llms={"status": 401})
        failed = command("refresh", **upstream)
        assert (failed.returncode, "unauthorised" in failed.stdout) == (1, True)
        assert gateway.api_key not in failed.stdout + failed.stderr
        gateway.behave()
        others = ("0" * 64, "abc", sha256[:12], sha256.upper())
        forced = [command("refresh", "--force", other, **upstream) for other in others]
        for refused in (*forced, command("refresh", "--dismiss", "0" * 64)):
            assert (refused.returncode, sha256 in refused.stderr, refused.stdout) == (1, True, "")
        listed = command("runs").stdout
        assert "waits for a decision" in listed
        shown = command("runs", listed.split("llm-refresh runs ")[1].split()[0])
        assert all(word in shown.stdout for word in ("claude-29", "claude-30", "absent", sha256))
        assert "held list" in command("doctor").stdout
        assert "dismissed" in command("refresh", "--dismiss", sha256).stdout
        assert "waits for a decision" not in command("runs").stdout
        assert "dismissed before" not in command("doctor").stdout
        assert command("refresh", **upstream).returncode == 1  # the same list is held again
        assert "this very list was dismissed before" in " ".join(command("doctor").stdout.split())
        assert command("refresh", "--force", sha256, **upstream).returncode == 0
        assert "upstream has not listed it since" in command("models", "--all").stdout
        assert command("set", "claude-28", "is_active=false").returncode == 1  # the last active one
        stays = command("set", "claude-29", "is_active=true")
        assert (stays.returncode, "inactive (upstream has not listed it" in stays.stdout) == (0, True)
        assert command("refresh", **upstream).returncode == 0


def ids(printed: str) -> list[int]:
    return [int(line.split()[0]) for line in printed.splitlines() if line.split()[0].isdigit()]


def test_the_ledger_is_read_newest_first_and_says_what_it_leaves_out(command: Commands) -> None:
    command("migrate")
    for order in (7, 8, 9):
        command("set", "gpt-4o", f"display_order={order}")
    newest = command("changes", "--limit", "2").stdout
    assert ids(newest) == sorted(ids(newest), reverse=True)
    assert "7 older lines are left out" in newest
    assert len(ids(command("changes", "--all").stdout)) == 9
    output = json.loads(command("changes", "--kind", "operator", "--json").stdout)
    assert ({change["kind"] for change in output["changes"]}, output["left_out"]) == ({"operator"}, 0)
    assert [change["after"]["display_order"] for change in output["changes"]] == [9, 8, 7]
    assert json.loads(command("changes", "--since", str(output["next"]), "--json").stdout)["changes"] == []
    assert len(ids(command("changes", "--key", "gpt-4o", "--since", "1h").stdout)) == 4
    assert command("changes", "--key", "nobody").stdout == "no change is recorded that fits\n"
    assert command("changes", "--kind", "nonsense").returncode == 2


def test_a_chat_asked_from_a_pipe_is_found_cancelled_and_shown(command: Commands) -> None:
    command("migrate")
    with RunningStandIn() as gateway:
        command.variables |= {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key}
        command.variables |= {"MATCHAAI_MISSION_ID": "1"}
        assert command("chat", "-", stdin=" \n").returncode == 2
        assert command("chat").returncode == 2
        asking = command.start("chat", "-", "--model", "[/x]", stdin="Which?\n")  # no worker runs: it waits
        chat_id = wait_for(lambda: [chat["id"] for chat in chats(command)])[0]
        assert command("chat", "cancel", chat_id).stdout == f"chat {chat_id}: cancelled\n"
        _, output = asking.communicate(timeout=30)
    assert (asking.returncode, "cancelled" in output) == (1, True)
    shown = command("chat", "show", chat_id)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "[/x]" in shown.stdout
    assert "[/x]" in command("chats").stdout
    for options in (("--status", "cancelled"), ("--model", "[/x]"), ("--caller", "cli"), ("--since", "1h")):
        assert [chat["caller"] for chat in chats(command, *options)] == ["cli"]
    for nothing in (("--status", "queued"), ("--model", "gpt-4o"), ("--caller", "anna"), ("--until", "1h")):
        assert command("chats", *nothing).stdout == "no chat fits\n"
    ended = command("chat", "cancel", chat_id)
    assert (ended.returncode, "had ended before" in ended.stdout) == (0, True)
    assert command("chat", "show", "not-an-id").returncode == 2
    assert command("chat", "show", "01a214bb-04ec-77fc-8d0e-ab9d58df2318").returncode == 1


def test_a_callers_chats_are_erased_and_reading_anothers_is_a_log_line(command: Commands) -> None:
    command("migrate")
    chat_id = "01a214bb-04ec-77fc-8d0e-ab9d58df2318"
    with psycopg.connect(command.variables["DATABASE_URL"].replace("+psycopg", "")) as connection:
        connection.execute("SET LOCAL ROLE service_role")
        connection.execute(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, status,"
            " answer, deadline_at, finished_at)"
            " VALUES (%s, 'anna', 'x', 'Why?', 'gpt-4o', 'GPT-4o', 40, 'succeeded', 'Because.', now(), now())",
            (chat_id,),
        )
    shown = command("chat", "show", chat_id)
    assert (shown.returncode, "Because." in shown.stdout) == (0, True)
    assert all(word in shown.stderr for word in ("llm_chat.read_by_another", chat_id, "anna", "cli:"))
    done = command("erase", "--subject", "anna")
    assert (done.returncode, "the content of 1 chat of anna is erased" in done.stdout) == (0, True)
    assert all(word in done.stderr for word in ("llm_chat.caller_erased", "anna", "cli:"))
    shown = command("chat", "show", chat_id)
    assert ("Because." in shown.stdout, "erased" in shown.stdout) == (False, True)
    assert json.loads(command("erase", "--subject", "anna", "--json").stdout)["erased"] == 0
    assert "nothing was erased" in command("erase", "--subject", "nobody").stdout
    assert "the content of 1 chat of anna was erased" in command("changes", "--kind", "erased").stdout
    assert command("erase").returncode == 2
    assert command("erase", "--subject", " ").returncode == 2


def chats(command: Commands, *words: str) -> list[dict]:
    return list(json.loads(command("chats", *words, "--json").stdout))


def test_make_ups_first_refresh_is_run_again_for_another_source(command: Commands) -> None:
    command("migrate")
    assert command("refresh", "--first").returncode == 0
    assert "nothing to do" in command("refresh", "--first").stdout
    with RunningStandIn() as gateway:
        upstream = {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key}
        assert (
            "! source: the list is not from the source that is set up now (matchaai)"
            in command("doctor", **upstream).stdout
        )
        assert command("refresh", "--first", **upstream).returncode == 0
        assert "27 models" in command("models").stdout
        assert "nothing to do" in command("refresh", "--first", **upstream).stdout
        assert "! source" not in command("doctor", **upstream).stdout


STRANGE = ("Qwen [/INST] 7B", "FLUX [max]", "[bold red]Red", "Smile :smile: 4")


def test_names_of_others_are_shown_as_they_are(command: Commands) -> None:
    command("migrate")
    models = [{"id": number, "name": name} for number, name in enumerate(STRANGE, 300)]
    models.append({"id": 28, "name": "Claude 3.7 Sonnet"})
    refused = {"id": "a\nb[/y]", "name": "x\x1b[2J[/z]"}
    with RunningStandIn(models=[*models, *({"id": n, "name": f"Model {n}"} for n in range(9)), refused]) as gateway:
        upstream = {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key, "REFRESH_MAX_SHRINK": "1"}
        done = [command("refresh", "--dry-run", **upstream), command("refresh", **upstream), command("models")]
        done += [command("models", "--provenance"), command("verify"), command("runs"), command("changes")]
    for each in done:
        assert (each.returncode, each.stderr) == (0, "")
        assert "\x1b" not in each.stdout
    for name in STRANGE:
        assert all(name in each.stdout for each in (done[0], done[2], done[4], done[6]))
    assert "[/z]" in done[1].stdout


@pytest.mark.parametrize(
    "words",
    [
        ("refresh", "--source", "elsewhere"),
        ("refresh", "--source", "matchaai"),
        ("set", "gpt-4o", "display_order"),
        ("set", "gpt-4o", "display_order=many"),
        ("set", "gpt-4o", "colour=true"),
        ("runs", "--limit", "0"),
        ("nonsense",),
        ("token",),
    ],
)
def test_wrong_use_is_exit_2(command: Commands, words: tuple[str, ...]) -> None:
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_field_is_told_with_those_that_there_are(command: Commands) -> None:
    stderr = command("set", "gpt-4o", "colour=true").stderr
    assert "colour: no such field; there are " in stderr
    assert {"model_name", "display_order", "supports_vision"} <= set(stderr.replace(",", " ").split())


def test_a_wrong_setting_is_one_line_and_exit_2(command: Commands) -> None:
    done = command("verify", PORT="many")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "PORT" in done.stderr


def test_a_database_that_is_away_is_one_line_and_exit_1(command: Commands) -> None:
    done = command("verify", DATABASE_URL="postgresql://app:pw@127.0.0.1:1/d")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "pw" not in done.stderr.replace("cannot", "")


def test_an_edit_of_nothing_is_told(command: Commands) -> None:
    command("migrate")
    done = command("set", "nobody", "display_order=1")
    assert (done.returncode, "nobody" in done.stderr) == (1, True)


def test_a_token_is_signed_for_its_role(command: Commands) -> None:
    secret = "a-secret-for-this-test-of-more-than-32-bytes"
    done = command("token", "--role", "authenticated", "--sub", "anna", JWT_SECRET=secret, JWT_AUDIENCE="us")
    claims = jwt.decode(done.stdout.strip(), secret, algorithms=["HS256"], audience="us")
    assert (claims["sub"], claims["role"]) == ("anna", "authenticated")


def test_local_env_says_when_nothing_runs(command: Commands, tmp_path: Path) -> None:
    done = command("local", "env", LLM_REFRESH_HOME=str(tmp_path / "none"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
