"""Programs that are no Python of ours: found on PATH or where .ci/tools.sh puts them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PLACES = (ROOT / ".ci" / "tools" / "bin", Path("/usr/sbin"), Path("/usr/local/sbin"))


def tool(*names: str) -> str:
    """The path of the first of these programs that is there. A laptop without skips the test; CI fails it."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *map(str, _PLACES)))
    for name in names:
        program = shutil.which(name, path=path)
        if program is not None:
            return program
    missing = f"{' or '.join(names)} is not installed: run .ci/tools.sh"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def run_tool(*command: object, stdin: str | None = None) -> str:
    """Run it and return what it said; fails the test with just that when it ends badly."""
    done = subprocess.run([str(part) for part in command], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
