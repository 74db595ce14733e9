"""`llm-refresh migrate` on a database of the system that this one replaces."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from harness.processes import ROOT, local_variables, web
from harness.servers import Database, Servers
from harness.stand_in import RunningStandIn
from migrations.run import Upgrade, preview, upgrade
from migrations.schema import head
from shared.catalogue.adoption import CannotAdopt
from shared.settings import Settings
from tests.support.commands import Commands, LoadedCommands
from tests.support.old_system import INDEXES_AND_POLICIES, MODELS, ROWS, SUPABASE_PARTS, USAGE, WHOLE
from worker.commands.doctor import check_database
from worker.runtime import adopter_of


@dataclass
class Old:
    """A database of the old system, and what can be done with it."""

    database: Database
    redis_url: str

    def make(self, *scripts: str) -> None:
        with psycopg.connect(self.database.owner_url) as connection:
            for script in scripts:
                connection.execute(script.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.superuser_url) as connection:
            return connection.execute(query.encode()).fetchall()

    @property
    def settings(self) -> Settings:
        return Settings(llm_refresh_env="local", database_url=self.database.url, redis_url=self.redis_url)

    @property
    def url(self) -> str:
        return self.database.owner_url.replace("postgresql://", "postgresql+psycopg://")

    def migrate(self) -> Upgrade:
        return upgrade(self.url, adopter=adopter_of(self.settings))

    def relations(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT relname, relkind, relacl::text, relrowsecurity FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        )


@pytest.fixture
def old(servers: Servers) -> Iterator[Old]:
    with servers.empty_database() as empty:
        with psycopg.connect(empty.superuser_url) as connection:
            connection.execute(SUPABASE_PARTS.encode())
        yield Old(empty, servers.redis_url())


@pytest.fixture
def run(old: Old, tmp_path: Path, loaded: LoadedCommands) -> Commands:
    variables = local_variables(old.database.url, old.redis_url, MIGRATE_DATABASE_URL=old.database.owner_url)
    return Commands(variables, tmp_path, loaded)


ADOPTED = """Found 5 LLM models in database:
  ✓ GPT-5 Mini (ID: 68, Key: our-small-one)
  ✓ Claude 3.7 Sonnet (ID: 28, Key: claude-3-7-sonnet)
  ✓ Claude 3.5 Sonnet (ID: 25, Key: claude-3-5-sonnet)
  ✗ Claude Opus 4.1 (ID: 30, Key: claude-3-opus-4-1)
  ✓ GPT-4o (ID: 40, Key: gpt-4o) [DEFAULT]
"""
KEPT = (
    "SELECT id, matcha_llm_id, model_name, model_key, is_active, is_default, display_order, created_at FROM {}"
    " ORDER BY id"
)


def test_the_old_tables_are_adopted_and_kept(old: Old, run: Commands) -> None:
    old.make(WHOLE)
    before = old.relations(), old.rows(KEPT.format("llm_models"))
    listed = run("migrate", "--dry-run")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "GPT-4o (ID: 40, Key: gpt-4o) [DEFAULT]: keeps as overrides context_window=111111" in listed.stdout
    assert (old.relations(), old.rows(KEPT.format("llm_models"))) == before

    done = run("migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 models and 48 counted requests adopted" in done.stdout
    assert run("verify").stdout == ADOPTED
    assert old.rows(KEPT.format("llm_models")) == before[1]
    assert old.rows(KEPT.format("llm_models_before_llm_refresh")) == before[1]
    assert old.rows("SELECT overrides FROM llm_models WHERE matcha_llm_id IN (25, 28)") == [({},), ({},)]
    assert [finding for finding in check_database(old.settings) if finding.level == "fault"] == []


def test_an_adopted_catalogue_is_refreshed_and_shown_as_it_was(old: Old, run: Commands, tmp_path: Path) -> None:
    old.make(WHOLE)
    before = old.rows(KEPT.format("llm_models"))
    old.migrate()
    again = run("migrate")
    assert (again.returncode, "nothing to add" in again.stdout) == (0, True)
    names = old.rows("SELECT matcha_llm_id, model_name FROM llm_models")
    with RunningStandIn(models=[{"id": id_, "name": name} for id_, name in [*names, (99, "Kimi K2")]]) as gateway:
        upstream = {"MATCHAAI_BASE_URL": gateway.url, "MATCHAAI_API_KEY": gateway.api_key}
        assert run("refresh", **upstream).returncode == 0
    assert old.rows(KEPT.format("llm_models"))[:5] == before
    assert old.rows("SELECT id FROM llm_models WHERE matcha_llm_id = 99") == [(6,)]

    with web(run.variables, tmp_path) as shim:
        assert shim.get("/api/llms").json()["defaultModel"] == "gpt-4o"
        usage = {use["model_key"]: use["request_count"] for use in shim.get("/api/llms/usage?days=365").json()["usage"]}
        assert usage == {"gpt-4o": 41, "claude-3-7-sonnet": 7}
        metrics = shim.get("/metrics").text
        assert 'llm_refresh_chats_total{model="gpt-4o",outcome="unknown"} 41' in metrics
        assert 'llm_refresh_chats_total{model="gpt-4o",outcome="succeeded"} 0' in metrics


def test_nobody_but_their_owner_reads_the_old_tables_afterwards(old: Old) -> None:
    old.make(
        WHOLE, "GRANT SELECT ON llm_usage_stats TO PUBLIC", "GRANT UPDATE (request_count) ON llm_usage_stats TO anon"
    )
    old.migrate()
    for table in ("llm_models_before_llm_refresh", "llm_usage_stats_before_llm_refresh"):
        for role in ("anon", "authenticated", "service_role", "llm_refresh_app"):
            granted = "SELECT has_table_privilege('{0}', '{1}', p), has_any_column_privilege('{0}', '{1}', p)"
            granted = granted.replace("p)", "'SELECT, INSERT, UPDATE')")
            assert old.rows(granted.format(role, table)) == [(False, False)]
    with psycopg.connect(old.database.owner_url) as owner:
        assert owner.execute("SELECT count(*) FROM llm_models_before_llm_refresh").fetchone() == (5,)


@pytest.mark.parametrize(
    ("scripts", "models"),
    [
        ((MODELS, ROWS), 5),
        ((MODELS,), 0),
        ((USAGE,), 0),
        ((MODELS, ROWS, "ALTER TABLE llm_models ADD notes text; ALTER TABLE llm_models DROP capabilities"), 5),
        ((MODELS, ROWS, "ALTER TABLE llm_models ALTER matcha_llm_id TYPE bigint, ALTER id TYPE bigint"), 5),
        (
            (
                MODELS,
                ROWS,
                "UPDATE llm_models SET capabilities = NULL, is_active = NULL, is_default = NULL,"
                " display_order = NULL, created_at = NULL, updated_at = NULL, last_synced_at = 'infinity'",
            ),
            5,
        ),
        ((MODELS, ROWS, "UPDATE llm_models SET is_default = true, model_key = 'Same', display_order = 0"), 5),
        ((MODELS, ROWS, "ALTER TABLE llm_models DROP CONSTRAINT llm_models_pkey; UPDATE llm_models SET id = 3"), 5),
        ((MODELS, ROWS, "ALTER TABLE llm_models FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY"), 5),
        ((MODELS, ROWS, "UPDATE llm_models SET model_name = E'a\\x07\\u200b\\nb ' || id, capabilities = '[1]'"), 5),
        ((MODELS.replace("SERIAL", "INTEGER GENERATED BY DEFAULT AS IDENTITY"), ROWS), 5),
        ((MODELS, ROWS, "ALTER SEQUENCE llm_models_id_seq OWNED BY NONE"), 5),
        ((MODELS, ROWS, USAGE, "UPDATE llm_usage_stats SET last_used = NULL, request_count = NULL"), 5),
    ],
)
def test_a_table_that_was_changed_by_hand_is_adopted_too(old: Old, scripts: tuple[str, ...], models: int) -> None:
    old.make(*scripts)
    shown = preview(old.url, adopter_of(old.settings))
    assert old.migrate().adoption == shown.adoption
    assert shown.adoption is not None
    assert len(shown.adoption.models) == models
    assert old.rows("SELECT count(*), count(DISTINCT model_key), count(DISTINCT id) FROM llm_models") == [(models,) * 3]
    assert old.rows("SELECT count(*) FROM llm_models WHERE is_default") == old.rows(
        "SELECT count(DISTINCT is_active) FROM llm_models WHERE is_active"
    )
    assert old.rows("SELECT version_num FROM llm_refresh_version") == [(head(),)]
    assert [
        finding for finding in check_database(old.settings) if finding.level == "fault" and finding.name != "catalogue"
    ] == []
    # A refresh draws ids from the sequence.
    with psycopg.connect(old.database.url) as connection:
        connection.execute("SET LOCAL ROLE service_role")
        connection.execute(
            "INSERT INTO llm_models (matcha_llm_id, model_name, model_key, provider) VALUES (999, 'n', 'n', 'other')"
        )


@pytest.mark.parametrize(
    ("scripts", "expected_text"),
    [
        (("CREATE TABLE llm_models (id int, weights text)",), "it has no matcha_llm_id, model_name, model_key"),
        (("CREATE VIEW llm_models AS SELECT 1 AS matcha_llm_id",), "llm_models is a view"),
        ((MODELS, "CREATE TABLE llm_usage_stats (what int)"), "it has no model_key, request_count"),
        ((MODELS, ROWS, "CREATE TABLE llm_models_before_llm_refresh ()"), "llm_models_before_llm_refresh is there"),
        (
            (
                MODELS,
                "ALTER TABLE llm_models ALTER matcha_llm_id TYPE bigint",
                ROWS,
                "UPDATE llm_models SET matcha_llm_id = 3000000000 WHERE id = 2",
            ),
            "matcha_llm_id is 3000000000",
        ),
        ((MODELS, ROWS, "CREATE TABLE llm_chats ()"), 'relation "llm_chats" already exists'),
    ],
)
def test_what_cannot_be_adopted_is_one_line_and_changes_nothing(
    old: Old, run: Commands, scripts: tuple[str, ...], expected_text: str
) -> None:
    old.make(*scripts)
    before = old.relations()
    done = run("migrate")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert expected_text in done.stderr
    assert old.relations() == before


def test_a_table_of_another_owner_is_refused(old: Old) -> None:
    with psycopg.connect(old.database.superuser_url) as connection:
        connection.execute(MODELS)
    with pytest.raises(CannotAdopt, match="llm_models belongs to postgres"):
        old.migrate()


def test_what_goes_on_referring_to_the_old_table_is_said(old: Old) -> None:
    old.make(
        MODELS,
        ROWS,
        "CREATE TABLE talks (id int, llm int CONSTRAINT of_llm REFERENCES llm_models (id))",
        "CREATE VIEW nice AS SELECT model_name FROM llm_models",
    )
    adoption = old.migrate().adoption
    assert adoption is not None
    assert adoption.notes == ("what goes on referring to llm_models_before_llm_refresh: talks (of_llm), the view nice",)


def test_two_that_adopt_at_once_do_it_once(old: Old) -> None:
    old.make(WHOLE)
    code = (
        "from migrations.run import upgrade; from shared.settings import Settings;"
        "from worker.runtime import adopter_of;"
        f"s = Settings(llm_refresh_env='local', database_url={old.database.url!r}, redis_url={old.redis_url!r});"
        f"print(upgrade({old.url!r}, adopter=adopter_of(s)).adoption is not None)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    assert sorted(process.communicate(timeout=90)[0].strip() for process in both) == ["False", "True"]
    assert old.rows("SELECT count(*) FROM llm_models") == [(5,)]


def test_a_hand_made_table_that_was_renamed_by_hand_is_not_in_the_way(old: Old) -> None:
    old.make(
        MODELS,
        ROWS,
        "ALTER TABLE llm_models RENAME TO llm_models_old;"
        " ALTER INDEX llm_models_pkey RENAME TO a;"
        " ALTER INDEX llm_models_matcha_llm_id_key RENAME TO b",
    )
    old.migrate()
    with psycopg.connect(old.database.url) as connection:
        connection.execute("SET LOCAL ROLE service_role")
        connection.execute(
            "INSERT INTO llm_models (matcha_llm_id, model_name, model_key, provider) VALUES (1, 'n', 'n', 'other')"
        )


def test_indexes_and_policies_of_the_old_table_go_with_it(old: Old) -> None:
    old.make(MODELS, INDEXES_AND_POLICIES)
    old.migrate()
    indexes = old.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'llm_models_before_llm_refresh' ORDER BY 1")
    assert [name for (name,) in indexes] == [
        "idx_llm_models_active_before_llm_refresh",
        "idx_llm_models_matcha_id_before_llm_refresh",
        "llm_models_matcha_llm_id_key_before_llm_refresh",
        "llm_models_pkey_before_llm_refresh",
    ]
    assert old.rows("SELECT count(*) FROM pg_policies WHERE tablename = 'llm_models_before_llm_refresh'") == [(2,)]


def test_the_doctor_says_nothing_of_policies_on_tables_that_are_not_ours(old: Old) -> None:
    old.make(WHOLE, "CREATE TABLE llm_notes (id int)")
    before = {finding.name for finding in check_database(old.settings) if finding.level == "fault"}
    assert before == {"migrations"}
    old.migrate()
    assert {finding.name for finding in check_database(old.settings) if finding.level == "fault"} == set()
