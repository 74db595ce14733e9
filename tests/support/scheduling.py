"""Which tests share a process of a run: those of one file, and those of several that share processes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

_END_TO_END = "tests/e2e/"
_PAGES = f"{_END_TO_END}pages/"
_OPENAI = "tests/integration/openai/"
_STACK = tuple(f"tests/integration/web/test_{name}.py" for name in ("operator", "shim", "tasks"))


class SharedServers(LoadScopeScheduling):
    """As `--dist loadfile`, with groups of files: starting what each group shares takes long."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(_PAGES):
            return f"{_PAGES} of operators" if "test_ops" in file else f"{_PAGES} of others"
        if file in _STACK:
            return "the stack of tests/integration/web"
        return next((folder for folder in (_END_TO_END, _OPENAI) if file.startswith(folder)), file)
