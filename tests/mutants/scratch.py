"""A scratch copy of the tree, with an environment of its own that borrows the packages of the one we run in.

Tests start programs (celery, gunicorn, the command) by the folder of their interpreter, with an environment of
variables of their own: so the copy has an interpreter and programs of its own, which import from the copy.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".local", ".ci", ".env", ".*_cache", ".hypothesis", "node_modules", "__pycache__", "build"
)
_PACKAGES = ("shared", "worker", "migrations", "tests", "harness")
TEST_SECONDS = 60
"""How long one test may take: a mutant may make it wait for what never comes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of tests ended: those that failed (node ids), how long it took, and what pytest said."""

    failed: tuple[str, ...]
    passed: bool
    seconds: float
    output: str


class Scratch:
    """The copy. Files are changed here, never in the tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._python = folder / ".venv" / "bin" / "python"

    @contextmanager
    def changed(self, file: str, text: str) -> Iterator[None]:
        """The copy with another text in one file."""
        path = self.folder / file
        before = path.read_text()
        self._write(path, text)
        try:
            yield
        finally:
            self._write(path, before)

    def run(self, tests: Sequence[str]) -> Outcome:
        """Run these tests (node ids) in the copy."""
        command = [
            str(self._python),
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "-rf",
            "--tb=short",
            f"--timeout={TEST_SECONDS}",
            *tests,
        ]
        environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        began = time.monotonic()
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        failed = re.findall(r"^FAILED (\S+?::.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
        return Outcome(tuple(failed), done.returncode == 0, time.monotonic() - began, done.stdout + done.stderr)

    def check(self) -> None:
        """See that whatever is started with the copy's interpreter imports from the copy, wherever it is started."""
        code = f"import {', '.join(_PACKAGES)}; print(*(m.__path__[0] for m in ({', '.join(_PACKAGES)})), sep='\\n')"
        done = subprocess.run([str(self._python), "-c", code], cwd="/", capture_output=True, text=True, check=True)
        assert done.stdout.split("\n")[:-1] == [str(self.folder / name) for name in _PACKAGES], done.stdout

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        # Two texts of one length within a second look the same to the cache of compiled files.
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


@contextmanager
def scratch_copy() -> Iterator[Scratch]:
    """A copy of the tree in a temporary folder, ready to run tests; removed at the end."""
    # As root, PostgreSQL runs as another user, who has to pass through the folder.
    with tempfile.TemporaryDirectory(prefix="llm-refresh-mutants-") as made:
        place = Path(made).resolve()
        place.chmod(0o755)
        folder = place / "tree"
        shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
        _make_environment(folder)
        scratch = Scratch(folder)
        scratch.check()
        yield scratch


def _make_environment(folder: Path) -> None:
    ours, borrowed = Path(sys.executable).parent, Path(sysconfig.get_path("purelib"))
    made = folder / ".venv"
    packages = made / borrowed.relative_to(sys.prefix)
    packages.mkdir(parents=True)
    (made / "bin").mkdir()
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", made)
    python = made / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    # The copy comes first; the tree, which is installed among the borrowed packages, is looked at last.
    (packages / "copy.pth").write_text(f"{folder}\nimport site; site.addsitedir({str(borrowed)!r})\n")
    for program in ours.iterdir():
        if program.is_symlink() or not program.is_file():
            continue
        text = program.read_bytes()
        shebang = f"#!{ours}/".encode()
        if text.startswith(shebang):
            copied = made / "bin" / program.name
            copied.write_bytes(text.replace(shebang, f"#!{made / 'bin'}/".encode(), 1))
            copied.chmod(0o755)
