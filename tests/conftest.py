"""What the tests share: real servers, and a database and a Redis of each test's own."""

import gc
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from harness.servers import Database, Servers, running_servers
from harness.stand_in import RunningStandIn
from tests.support.commands import LoadedCommands, loaded_commands
from tests.support.examples import THOROUGH
from tests.support.scheduling import SharedServers, longest_first

# An example may take as long as the machine needs: time is no assertion.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("untimed"), max_examples=THOROUGH * 100)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A real PostgreSQL and a real Valkey, started when the first test asks for them."""
    with running_servers() as running:
        yield running


@pytest.fixture
def database(servers: Servers) -> Iterator[Database]:
    """A migrated database of this test's own: `.url` (application), `.owner_url`, `.superuser_url`, `.name`."""
    with servers.database() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningStandIn]:
    """The stand-in for the gateway, one for a module: a test tells it how to behave."""
    with RunningStandIn() as running:
        yield running


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The address of an empty Redis database."""
    return servers.redis_url()


@pytest.fixture(scope="session")
def loaded() -> Iterator[LoadedCommands]:
    """Runs commands without loading everything for each."""
    with loaded_commands() as running:
        yield running


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedServers:
    """Which tests go together when several processes run them."""
    return SharedServers(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without the collector of garbage: it would look through four thousand tests again and again, then and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in tests/fault is a fault test, also where nobody says so. What takes longest begins first."""
    for item in items:
        if "fault" in item.path.parent.parts:
            item.add_marker(pytest.mark.fault)
    longest_first(items)
