"""What integration tests of several folders share."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from shared.logs import configure
from tests.support.receiver import Receiver, receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A running receiver of webhooks."""
    with receiver() as running:
        yield running


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged during a test. Afterwards logging is as it was: no test depends on which one ran before it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    lines = io.StringIO()
    configure(as_json=True, level="debug", process="test", stream=lines)
    yield lines
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
