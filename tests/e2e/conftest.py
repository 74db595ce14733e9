"""One installation that asks for tokens, for the tests of this folder; those of the pages have another."""

from collections.abc import Iterator

import pytest

from harness.stand_in import RunningStandIn
from tests.support.up import RunningUp, running_up

JWT_SECRET = "a secret of the tests, of 32 bytes or more"
METRICS_TOKEN = "a-token-of-these-tests"


@pytest.fixture(scope="session")
def gateway() -> Iterator[RunningStandIn]:
    with RunningStandIn() as running:
        yield running


@pytest.fixture(scope="session")
def up(gateway: RunningStandIn) -> Iterator[RunningUp]:
    with running_up(
        JWT_SECRET=JWT_SECRET,
        MATCHAAI_BASE_URL=gateway.url,
        MATCHAAI_API_KEY=gateway.api_key,
        MATCHAAI_MISSION_ID="1",
        METRICS_TOKEN=METRICS_TOKEN,
        FLOWER_PASSWORD="a,b: c",
        CHAT_DEADLINE_SECONDS="20",
    ) as running:
        yield running
