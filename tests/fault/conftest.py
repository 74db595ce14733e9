"""What the tests share that kill, stop and wipe real processes. They are slow; `make test-fault` runs them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.chatting import System, chat_system
from harness.servers import Servers

StartSystem = Callable[..., System]
Report = Callable[..., None]


@pytest.fixture
def start_system(servers: Servers, tmp_path: Path) -> Iterator[StartSystem]:
    """`start_system(delay=…, CHAT_LEASE_SECONDS=…)`: a web process and a gateway; workers are the test's to start."""
    with ExitStack() as ending:
        yield lambda **given: ending.enter_context(chat_system(servers, tmp_path, **given))


@pytest.fixture
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Report:
    """Print a line of figures, past pytest's capture."""

    def print_line(**figures: Any) -> None:
        name = request.node.name.removeprefix("test_").replace("_", " ")
        with capsys.disabled():
            print(f"\n  {name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))

    return print_line
