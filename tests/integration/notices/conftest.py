"""What the tests of notices share: a receiver, and an outbox with a notice in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.refreshing import CatalogueHarness, catalogue_harness
from harness.servers import Database
from tests.support.notices import write_notice


@pytest.fixture
def written(database: Database) -> Iterator[CatalogueHarness]:
    """A database with one notice in its outbox."""
    with catalogue_harness(database.url, None) as catalogue:
        write_notice(catalogue)
        yield catalogue
