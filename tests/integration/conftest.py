"""What integration tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receiver import Receiver, receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A running receiver of webhooks."""
    with receiver() as running:
        yield running
