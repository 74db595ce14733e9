"""Which tests share a process of a run: those of one file, and those of several that share processes."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

_END_TO_END = "tests/e2e/"
_UNIT = "tests/unit/"
_PAGES = f"{_END_TO_END}pages/"
_OPENAI = "tests/integration/openai/"
_STACK = tuple(f"tests/integration/web/test_{name}.py" for name in ("operator", "shim", "tasks"))


class SharedServers(LoadScopeScheduling):
    """As `--dist loadfile`, with groups of files: starting what each group shares takes long."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """The file of a test, or the group of files it belongs to."""
    file = nodeid.partition("::")[0]
    if file.startswith(_PAGES):
        return f"{_PAGES} of operators" if "test_ops" in file else f"{_PAGES} of others"
    if file in _STACK:
        return "the stack of tests/integration/web"
    return next((folder for folder in (_END_TO_END, _OPENAI) if file.startswith(folder)), file)


def longest_first(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that short files fill the end of a run: groups, then files of real servers.

    Of the unit tests those of files with property tests come first.
    """
    files = {item: item.nodeid.partition("::")[0] for item in items}
    with_properties = {
        files[item] for item in items if getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    }

    def place(item: pytest.Item) -> int:
        if scope_of(item.nodeid) != files[item]:
            return 0
        if not files[item].startswith(_UNIT):
            return 1
        return 2 if files[item] in with_properties else 3

    items.sort(key=place)


def _is_property(item: pytest.Item) -> bool:
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
