"""Node and its packages for tests, where npm is there. Where it is not, the tests are skipped; `.ci/run` ends then."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_SECONDS = 300


def installed(folder: Path) -> Path:
    """The folder with the packages of its package.json, installed when they are not there in these versions."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("npm is not here: the tests of the SDK for Node are skipped")
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    if any(_version(folder / "node_modules" / name) != version for name, version in wanted.items()):
        # No lock file: it would hold the addresses of one registry. The package has no dependencies of its own.
        command = [npm, "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=peer"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            pytest.fail(f"npm install failed:\n{done.stderr[-2000:]}")
    return folder


def _version(package: Path) -> str | None:
    try:
        version: str = json.loads((package / "package.json").read_text())["version"]
    except FileNotFoundError:
        return None
    return version
