"""A request's body comes within its time, however slowly it drips."""

import io

import gevent
import pytest

from worker.web.gunicorn_worker import BoundedBody


class Dripping:
    def read(self, size: int | None = None) -> bytes:
        gevent.sleep(0.05)
        return b"x"


def test_a_body_that_drips_ends_with_a_time_out() -> None:
    body = BoundedBody(Dripping(), 0.3)
    taken = b""
    with pytest.raises(TimeoutError):
        while True:
            taken += body.read(1)
    assert 0 < len(taken) <= 6
    with pytest.raises(TimeoutError):
        body.read(1)


def test_a_body_that_comes_is_handed_on() -> None:
    body = BoundedBody(io.BytesIO(b"one\ntwo\nthree"), 5)
    assert body.read(2) == b"on"
    assert body.readline() == b"e\n"
    assert list(body) == [b"two\n", b"three"]
    assert body.readlines() == []
