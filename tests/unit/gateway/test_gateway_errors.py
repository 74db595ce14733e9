"""A gateway error says everything a caller decides by, and survives a trip between processes."""

import pickle

from shared.gateway.errors import GatewayError


def test_an_error_survives_pickling_with_all_its_fields() -> None:
    error = GatewayError("rate_limited", "Too many.", http_status=429, retry_after_seconds=2.5, trips_circuit=True)

    twin = pickle.loads(pickle.dumps(error))

    assert isinstance(twin, GatewayError)
    assert vars(twin) == vars(error)


def test_an_error_reads_as_its_code_and_its_detail() -> None:
    assert str(GatewayError("timeout", "Nothing came in 3 s.")) == "timeout: Nothing came in 3 s."


def test_another_detail_changes_nothing_else() -> None:
    error = GatewayError("upstream_unavailable", "HTTP 503.", False, 503, 4.0, True)

    detailed = error.with_detail("HTTP 503, three times.")

    assert vars(detailed) == {**vars(error), "detail": "HTTP 503, three times."}
