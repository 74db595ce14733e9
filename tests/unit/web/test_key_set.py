"""One fetch of the key set for all; a failed one is remembered, and what was read stays."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.web.key_set import FRESH_SECONDS, REST_SECONDS, WAIT_SECONDS, Keys, KeySet, KeysUnavailable, UnknownKey


class Source:
    """A key set whose fetches answer, fail or are held by the test, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.keys: dict[str, object] | None = {"one": object()}
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.done = threading.Semaphore(0)
        self.set = KeySet(self.fetch, clock=lambda: self.now)

    def fetch(self) -> Keys:
        self.fetches += 1
        self.begun.set()
        self.go.wait(20)
        try:
            if self.keys is None:
                raise KeysUnavailable("away")
            return dict(self.keys)
        finally:
            self.done.release()


def test_a_set_is_fetched_once_and_again_when_it_is_old() -> None:
    source = Source()
    assert source.set.key("one") is source.set.key("one")
    assert source.fetches == 1
    source.now += FRESH_SECONDS + 1
    source.keys = {"two": object()}
    assert source.set.key("one")  # at once, while a fetch begins
    assert source.done.acquire(timeout=10)
    assert source.done.acquire(timeout=10)
    assert source.set.key("two")
    assert source.fetches == 2


def test_the_old_set_stays_while_the_new_one_cannot_be_fetched() -> None:
    source = Source()
    source.set.key("one")
    source.keys = None
    for _ in range(3):
        source.now += FRESH_SECONDS + 1
        assert source.set.key("one")


def test_a_failed_fetch_is_remembered_for_seconds() -> None:
    source = Source()
    source.keys = None
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            source.set.key("one")
    assert source.fetches == 1
    source.now += REST_SECONDS
    source.keys = {"one": object()}
    assert source.set.key("one")


def test_strangers_keys_do_not_have_the_set_fetched_again_and_again() -> None:
    source = Source()
    source.set.key("one")
    for number in range(20):
        with pytest.raises(UnknownKey):
            source.set.key(f"stranger-{number}")
    for wrong in (None, 5, ["one"]):
        with pytest.raises(UnknownKey):
            source.set.key(wrong)
    assert source.fetches == 1


def test_who_comes_while_a_silent_fetch_runs_does_not_wait_for_it_anew() -> None:
    source = Source()
    source.go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(source.set.key, "one")
        assert source.begun.wait(10)
        source.now += WAIT_SECONDS  # for who comes now, its time is over
        for number in range(20):
            with pytest.raises(KeysUnavailable):
                source.set.key(f"key-{number}")
        assert source.fetches == 1
        source.go.set()
        first.exception(timeout=10)  # it may have been in time or not
