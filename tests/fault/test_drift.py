"""Two thousand random nights over the pure plan, by a seed that is printed: `DRIFT_SEED=…` plays them again."""

import os
import secrets

import pytest

from tests.fault.conftest import Report
from tests.support.soak import soak

NIGHTS = 2000


@pytest.mark.timeout(600)
def test_two_thousand_random_nights_break_no_promise(report: Report) -> None:
    seed = int(os.environ.get("DRIFT_SEED") or secrets.randbelow(2**32))
    report(seed=seed)
    held = soak(seed, NIGHTS)
    report(nights=NIGHTS, held=held, seed=seed, broken_promises=0)
