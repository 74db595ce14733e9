"""One stand-in gateway for these tests, well-behaved at the start of each."""

from collections.abc import Iterator

import pytest

from harness.stand_in import RunningStandIn


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[RunningStandIn]:
    with RunningStandIn() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: RunningStandIn) -> RunningStandIn:
    running_sandbox.behave()
    running_sandbox.wait_for_calls(lambda calls: calls["open"] == 0)
    running_sandbox.forget_calls()
    return running_sandbox
