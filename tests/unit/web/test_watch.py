"""A reader is offered snapshots from two sides: it sees each version once, and never an older one after a newer."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from shared.chat.read import Snapshot
from worker.web.readers import Watch
from worker.web.stopping import Stopping

CHAT = uuid.UUID(int=1)


def snapshot(version: int) -> Snapshot:
    return Snapshot(CHAT, version, {"status": "running"})


def test_what_was_offered_before_the_reader_read_the_row_is_no_news() -> None:
    watch = Watch(CHAT, Stopping())
    watch.offer(snapshot(2))
    watch.mark_seen(snapshot(3))
    assert watch.wait(0) is None
    watch.offer(snapshot(4))
    assert watch.wait(0) == snapshot(4)


@given(st.lists(st.tuples(st.sampled_from(["offer", "have", "wait"]), st.integers(1, 9)), max_size=30))
def test_versions_only_grow(steps: list[tuple[str, int]]) -> None:
    watch, newest, best = Watch(CHAT, Stopping()), 0, 0
    for what, version in steps:
        if what == "offer":
            watch.offer(snapshot(version))
            best = max(best, version)
        elif what == "have":
            watch.mark_seen(snapshot(version))
            newest = max(newest, version)
        elif (latest := watch.wait(0)) is not None:
            assert latest.version > newest
            newest = latest.version
    latest = watch.wait(0)
    assert max(newest, latest.version if latest is not None else 0) >= best
