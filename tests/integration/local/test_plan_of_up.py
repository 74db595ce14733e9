"""The plan of `make up`: what is checked before anything is started."""

from pathlib import Path

import pytest

from shared.settings import SettingsError
from worker.local.ports import free_port
from worker.local.up_plan import UpPlan, make_plan


def plan(folder: Path, **environ: str) -> UpPlan:
    (folder / "Procfile").write_text("web: serve\n")
    return make_plan({"PORT": str(free_port()), "FLOWER_PORT": str(free_port()), **environ}, folder)


def test_servers_are_ours_where_no_address_is_given(tmp_path: Path) -> None:
    nothing_given = plan(tmp_path)
    assert (nothing_given.own_postgres, nothing_given.own_valkey, nothing_given.own_stand_in) == (True, True, True)
    given = plan(
        tmp_path,
        DATABASE_URL="postgresql://a:b@127.0.0.1/c",
        REDIS_URL="redis://127.0.0.1",
        MATCHAAI_BASE_URL="https://gateway.example/rest/api/v1",
        MATCHAAI_API_KEY="key",
    )
    assert (given.own_postgres, given.own_valkey, given.own_stand_in) == (False, False, False)


def test_half_a_gateway_is_none(tmp_path: Path) -> None:
    assert plan(tmp_path, MATCHAAI_BASE_URL="https://gateway.example/rest/api/v1").own_stand_in


def test_the_mode_is_local_whatever_the_environment_says(tmp_path: Path) -> None:
    assert plan(tmp_path, LLM_REFRESH_ENV="production").settings.local


def test_what_an_earlier_run_left_is_not_taken_for_a_setting(tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "state.json").write_text('{"DATABASE_URL": "postgresql://old@127.0.0.1/old"}')
    assert plan(tmp_path).own_postgres


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="LLM_REFRESH_HOME: cannot write"):
        plan(tmp_path, LLM_REFRESH_HOME="file/home")
