"""A clone in an odd place, and one that was moved after its set-up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import ROOT

_READ = """
import migrations.run as run
from alembic.script import ScriptDirectory
print(run.__file__)
print(len(list(ScriptDirectory.from_config(run._config("")).walk_revisions())) > 5)
"""


def test_migrations_are_found_in_a_folder_with_a_percent_sign(tmp_path: Path) -> None:
    place = tmp_path / "50%(off)s"
    shutil.copytree(ROOT / "migrations", place / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        cwd=place,
        env={"PYTHONPATH": os.pathsep.join((str(place), str(ROOT)))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(place / "migrations" / "run.py"), "True"]


@pytest.mark.parametrize("moved", [False, True])
def test_an_environment_of_another_place_is_made_anew(tmp_path: Path, moved: bool) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    built_at = Path("/somewhere/else") if moved else Path(os.path.realpath(tmp_path))
    for file, content in {
        programs / "python": "#!/bin/sh\nexit 0\n",
        programs / "pip": f"#!{built_at}/.venv/bin/python\n",
        tmp_path / "base": f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n',
    }.items():
        file.write_text(content)
        file.chmod(0o755)
    subprocess.run(["make", ".venv-exists", "PYTHON=./base"], cwd=tmp_path, check=True, capture_output=True)
    called = tmp_path / "called"
    assert called.exists() is moved
    assert not moved or "-m venv --clear .venv" in called.read_text()
