"""What doctor says of endpoints that fail or are off."""

import uuid
from datetime import UTC, datetime

from shared.webhooks.endpoints import UnhealthyEndpoint
from worker.doctor.checks import MAX_ENDPOINTS_NAMED, of_webhooks


def endpoint(*, off: bool, error: str | None = "the receiver answered HTTP 500") -> UnhealthyEndpoint:
    return UnhealthyEndpoint(uuid.UUID(int=7), "ann", datetime(2026, 3, 1, 4, 5, tzinfo=UTC), off, error)


def test_nothing_is_said_where_all_endpoints_work() -> None:
    assert list(of_webhooks([])) == []


def test_each_endpoint_is_named_with_its_state() -> None:
    failing, off = of_webhooks([endpoint(off=False), endpoint(off=True, error=None)])
    assert (failing.level, off.level) == ("warning", "warning")
    assert failing.detail.endswith("of ann fails since 2026-03-01 04:05 UTC: the receiver answered HTTP 500")
    assert off.detail.endswith("of ann is switched off")


def test_of_many_endpoints_a_few_are_named() -> None:
    findings = list(of_webhooks([endpoint(off=True)] * (MAX_ENDPOINTS_NAMED + 4)))
    assert len(findings) == MAX_ENDPOINTS_NAMED + 1
    assert findings[-1].detail.startswith("4 more")
