import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from shared.redis_store import RedisStore, connect
from shared.settings import Settings
from worker.commands.doctor import check_database, check_redis, examine
from worker.doctor.findings import Finding

Examine = Callable[..., Mapping[str, Finding]]


@pytest.fixture
def healthy(database: Database, redis_url: str) -> Iterator[CatalogueHarness]:
    """A refreshed catalogue, and signs of life of every process."""
    cache = RedisStore(connect(redis_url))
    for kind, name in (("refresh", "refresh@here"), ("chat", "chat@here"), ("beat", "beat")):
        cache.announce(kind, name, seconds=60)
    with catalogue_harness(database.url, None) as made:
        made.seed()
        made.refresh()
        yield made


@pytest.fixture
def examined(database: Database, redis_url: str) -> Examine:
    """What the doctor finds in database and Redis now, by name, the worst of each; settings may be given."""

    def look(**settings: Any) -> dict[str, Finding]:
        defaults = {"llm_refresh_env": "local", "database_url": database.url, "redis_url": redis_url}
        began = time.monotonic()
        findings = examine(
            Settings(**(defaults | settings)), [("database", 15, check_database), ("redis", 8, check_redis)]
        )
        assert time.monotonic() - began < 30
        order = {"good": 0, "warning": 1, "fault": 2}
        return {finding.name: finding for finding in sorted(findings, key=lambda each: order[each.level])}

    return look
