"""Which tests share a process of a run: those of one file, and those of several that share an installation."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

_END_TO_END = "tests/e2e/"
_PAGES = f"{_END_TO_END}pages/"


class SharedServers(LoadScopeScheduling):
    """As `--dist loadfile`, with three groups of end-to-end tests: each starts one `make up`, and that takes long."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(_PAGES):
            return f"{_PAGES} of operators" if "test_ops" in file else f"{_PAGES} of others"
        return _END_TO_END if file.startswith(_END_TO_END) else file
