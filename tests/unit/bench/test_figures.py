"""What the table of `make bench` says of what was measured."""

import pytest

from bench.figures import Aim, Figure, summary


def test_a_ratio_is_of_each_pair_and_its_median_is_judged() -> None:
    figure = Figure("refresh", "new", "ms", ours=(30, 20, 90), beside=(10, 10, 10), aim=Aim(3))
    assert figure.judged == (3, 2, 9)
    assert figure.met
    assert figure.as_json()["ratio"] == {"median": 3, "min": 2, "max": 9, "repetitions": 3}


def test_without_another_form_the_values_themselves_are_judged() -> None:
    assert not Figure("planning", "unchanged", "s", ours=(1.1, 1.2, 0.9), aim=Aim(1.0)).met


def test_more_can_be_better() -> None:
    assert Aim(0.85, at_least=True).met(0.9)
    assert not Aim(0.85, at_least=True).met(0.8)
    assert str(Aim(0.85, at_least=True)) == "≥ 0.85"


def test_a_figure_without_an_aim_is_neither_met_nor_missed() -> None:
    assert Figure("listing", "304", "requests/s", ours=(1,)).met is None


def test_unequal_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values beside 1"):
        Figure("listing", "new", "ms", ours=(1, 2), beside=(1,))


def test_a_summary_holds_median_and_spread() -> None:
    assert summary([3, 1, 2, 10]) == {"median": 2.5, "min": 1, "max": 10, "repetitions": 4}
