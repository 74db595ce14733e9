"""Every variable is documented where an operator looks, with the default that it has."""

import re
from typing import Any

from pydantic_core import PydanticUndefined

from shared.settings import NAMES, PROCESS_NAMES, Settings
from tests.support.tools import ROOT

REQUIRED = {"DATABASE_URL", "MIGRATE_DATABASE_URL", "REDIS_URL"}


def example() -> dict[str, str]:
    lines = re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(lines) == len(dict(lines))
    return dict(lines)


def shown(value: Any) -> str:
    if value is None or value is PydanticUndefined or value == ():
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_example_names_every_variable_and_no_other() -> None:
    assert set(example()) == NAMES | PROCESS_NAMES


def test_the_example_shows_the_defaults() -> None:
    for name, value in example().items():
        if name in NAMES - REQUIRED:
            assert value == shown(Settings.model_fields[name.lower()].default), name


def test_nothing_is_set_by_copying_the_example() -> None:
    assert not re.search(r"^[^#\n]", (ROOT / ".env.example").read_text(), re.MULTILINE)


def test_the_documentation_has_a_line_on_every_variable() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    assert {name for name in NAMES | PROCESS_NAMES if f"`{name}`" not in documented} == set()
