"""How Celery is told to reach Redis."""

import ssl

import pytest

from shared.settings import read_settings
from worker.celery_app import make_celery


def connections(redis_url: str) -> tuple[object, dict[str, object]]:
    """What the broker's connection and the result backend do about TLS; nothing is connected."""
    app = make_celery(
        read_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://a:b@c/d", "LLM_REFRESH_ENV": "local"})
    )
    backend = {name: value for name, value in app.backend.connparams.items() if name.startswith("ssl")}
    return app.connection_for_write().ssl, backend


def test_without_tls_nothing_is_said_of_certificates() -> None:
    assert connections("redis://localhost:6379/0") == (None, {})


@pytest.mark.parametrize(
    ("query", "more"), [("", {}), ("?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"})]
)
def test_tls_wants_a_certificate_that_is_valid(query: str, more: dict[str, object]) -> None:
    # Celery's own: the broker takes any certificate, and the backend refuses an address that does not say.
    wanted = {"ssl_cert_reqs": ssl.CERT_REQUIRED, **more}
    assert connections(f"rediss://user:word@redis.example:6380/0{query}") == (wanted, wanted)
