"""The plan of a chaos run: repeatable, within its time, every kind before any comes again."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plan import FaultKind, make_plan

KINDS = [FaultKind("killed", 0, 0), FaultKind("stopped", 2, 5), FaultKind("silent", 4, 10)]


@given(seed=st.integers(), seconds=st.floats(0, 2000))
def test_the_same_seed_gives_the_same_faults_at_the_same_times(seed: int, seconds: float) -> None:
    assert make_plan(KINDS, seed=seed, seconds=seconds) == make_plan(KINDS, seed=seed, seconds=seconds)


@given(seed=st.integers(), seconds=st.floats(0, 2000))
def test_faults_follow_each_other_and_end_in_time(seed: int, seconds: float) -> None:
    plan = make_plan(KINDS, seed=seed, seconds=seconds)
    assert all(fault.until <= seconds for fault in plan)
    assert all(before.until < after.at for before, after in itertools.pairwise(plan))


@given(seed=st.integers())
def test_every_kind_comes_before_any_comes_again(seed: int) -> None:
    names = [fault.kind for fault in make_plan(KINDS, seed=seed, seconds=300)]
    assert len(names) > len(KINDS)
    assert set(names[: len(KINDS)]) == {kind.name for kind in KINDS}


def test_different_seeds_give_different_plans() -> None:
    assert len({make_plan(KINDS, seed=seed, seconds=300) for seed in range(20)}) == 20


def test_a_run_without_faults_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault"):
        make_plan([], seed=1, seconds=10)
