"""`llm-refresh local env` looks where `make up` looked: LLM_REFRESH_HOME of the environment, or of `.env`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("place", ["environment", "dotenv", "default"])
def test_the_home_is_that_of_make_up(tmp_path: Path, place: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "LLM_REFRESH_HOME"}
    home = ".local" if place == "default" else str(tmp_path / "elsewhere")
    if place == "environment":
        environ["LLM_REFRESH_HOME"] = home
    elif place == "dotenv":
        (tmp_path / ".env").write_text(f"LLM_REFRESH_HOME={home}\n")
    command = [sys.executable, "-m", "worker.cli", "local", "env"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no local servers run in {home}:" in done.stderr
