"""The version stands in pyproject.toml; what shows it elsewhere shows the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata

from tests.support.tools import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_command_and_the_installation_show_the_version() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "worker.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[-1] == VERSION == metadata.version("llm-refresh")


def test_the_image_is_labelled_with_the_version() -> None:
    label = re.search(r'org\.opencontainers\.image\.version="([^"]+)"', (ROOT / "Dockerfile").read_text())
    assert label is not None
    assert label[1] == VERSION


def test_the_changelog_tells_of_this_version_first() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == VERSION
