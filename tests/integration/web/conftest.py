"""One web process and one refresh worker for the tests of the shim, on a database and a stand-in of their own.

Three files share it: each test leaves the five models and no open hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.processes import Process, Web, local_variables, web, worker
from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Servers
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from shared.catalogue.facts.mapping import load_mapping

FIVE = [{"id": model.id, "name": model.name} for model in load_mapping().models]
SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"


@dataclass
class Stack:
    """What a test of the shim works with. `catalogue` looks at the same database from beside."""

    web: Web
    worker: Process
    gateway: RunningStandIn
    catalogue: CatalogueHarness
    variables: dict[str, str]
    folder: Path


@pytest.fixture(scope="package")
def stack(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with (
        RunningStandIn(models=FIVE) as gateway,
        servers.database() as database,
        catalogue_harness(database.url, gateway) as catalogue,
    ):
        catalogue.seed()
        variables = local_variables(
            database.url,
            servers.redis_url(),
            MATCHAAI_BASE_URL=gateway.url,
            MATCHAAI_API_KEY=gateway.api_key,
            CORS_ORIGINS="https://app.example",
        )
        with web(variables, folder) as shim, worker(variables, folder) as refresh:
            wait_for(lambda: shim.workers().get("refresh"), seconds=40)
            yield Stack(shim, refresh, gateway, catalogue, variables, folder)


@pytest.fixture(autouse=True)
def well_behaved(request: pytest.FixtureRequest) -> None:
    """Each test begins with an upstream that answers well."""
    if "stack" in request.fixturenames:
        stack: Stack = request.getfixturevalue("stack")
        stack.gateway.behave()
        stack.gateway.set_models(FIVE)
