"""When upkeep takes leases back that ran out: not before those who still work had half a lease to renew them."""

from worker.upkeep.chats import SLEPT_SECONDS, LeaseWatch

LEASE = 30.0


def swept_until(seconds: float) -> LeaseWatch:
    """A watch that has swept every two seconds since time 0, and last at this time."""
    watch = LeaseWatch(LEASE)
    for moment in range(0, int(seconds) + 1, 2):
        watch.may_take(moment)
        watch.swept(moment)
    return watch


def test_a_process_that_has_just_started_waits_for_half_a_lease() -> None:
    assert not LeaseWatch(LEASE).may_take(1000.0)
    watch = swept_until(14.0)
    assert not watch.may_take(14.9)
    assert watch.may_take(15.0)


def test_half_a_lease_passes_after_postgresql_was_away() -> None:
    watch = swept_until(40.0)
    for moment in (42.0, 44.0, 46.0):
        watch.may_take(moment)
        watch.failed()
    assert not watch.may_take(48.0)
    watch.swept(48.0)
    assert not watch.may_take(62.9)
    assert watch.may_take(63.0)


def test_after_everything_stood_still_half_a_lease_passes_too() -> None:
    watch = swept_until(40.0)
    awake = 40.0 + LEASE + SLEPT_SECONDS + 0.1
    assert not watch.may_take(awake)
    watch.swept(awake)
    assert not watch.may_take(awake + LEASE / 2 - 0.1)
    assert watch.may_take(awake + LEASE / 2)


def test_sweeps_that_come_through_take_leases_all_the_time() -> None:
    watch = swept_until(40.0)
    assert watch.may_take(42.0)
    assert watch.may_take(42.0 + LEASE)
