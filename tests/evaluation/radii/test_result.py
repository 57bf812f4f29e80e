"""Quantiles, accuracies and areas of radii."""

from math import inf

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from helpers.radii import WIDE, examples, linear
from hypothesis import given

import hauberk as hb
from hauberk.evaluation.radii.result import Radii
from hauberk.threats.metric import Metric


def radii_of(distance, correct=None):
    distance = torch.tensor(distance, dtype=torch.float64)
    n = len(distance)
    right = distance > 0 if correct is None else torch.tensor(correct)
    return Radii(
        metric="l2", ids=torch.arange(n), correct=right, found=right & (distance < inf),
        distance=distance, solver=[""] * n, forwards=torch.zeros(n), backwards=torch.zeros(n),
    )  # fmt: skip


def test_quantiles_are_radii_of_examples_and_infinite_beyond_those_found():
    found = radii_of([0.0, 3.0, 1.0, inf, 2.0, inf, 4.0, 5.0, 6.0, 7.0])
    assert found.quantiles((0, 0.1, 0.11, 0.5, 0.8, 0.81, 1)) == {
        0: 0.0, 0.1: 0.0, 0.11: 1.0, 0.5: 4.0, 0.8: 7.0, 0.81: inf, 1: inf,
    }  # fmt: skip
    assert found.median == 4
    assert found.largest == 7
    assert found.mean == pytest.approx((0 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 7 + 7) / 10)
    assert found.mean_is_bound
    assert not radii_of([1.0, 2.0]).mean_is_bound
    with pytest.raises(hb.InputError, match="shares in"):
        found.quantiles((1.5,))


ROWS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, inf]), min_size=1, max_size=30)


@given(ROWS, st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0, 3.0]), min_size=1, max_size=4))
def test_accuracies_curves_and_areas_agree_with_counting(row, sizes):
    found, n = radii_of(row), len(row)
    counted = [sum(r > eps for r in row) / n for eps in sizes]
    assert [found.accuracy(eps) for eps in sizes] == counted
    assert found.accuracy(torch.tensor(sizes)).tolist() == counted
    clean = sum(r > 0 for r in row) / n
    assert found.average_robust_accuracy(sizes) == pytest.approx(np.mean(counted))
    assert found.average_accuracy(sizes) == pytest.approx(np.mean([clean, *counted]))
    eps, accuracy = found.curve()
    assert eps[0] == 0
    assert bool((eps.diff() > 0).all())
    assert bool((accuracy.diff() <= 0).all())
    # The area under the staircase, step by step.
    top = 1.75
    ends = torch.cat((eps, eps.new_tensor([inf]))).clamp(max=top)
    assert found.area(top) == pytest.approx(float((ends.diff() * accuracy).sum()))
    counts, edges = found.histogram(7)
    assert (len(counts), len(edges)) == (7, 8)
    assert int(counts.sum()) == sum(0 < r < inf for r in row)
    for q, value in found.quantiles().items():
        assert sum(r <= value for r in row) / n >= q - 1e-9
        assert value in row


def test_sizes_that_make_no_sense_are_refused():
    found = radii_of([1.0, 2.0])
    for call in (
        lambda: found.accuracy(-1.0), lambda: found.accuracy(float("nan")),
        lambda: found.area(inf), lambda: found.average_accuracy([]), lambda: found.histogram(0),
        lambda: found.points,
    ):  # fmt: skip
        with pytest.raises(hb.InputError):
            call()


def test_a_set_names_its_metrics():
    net = linear()
    x, y = examples(net, n=3)
    found = hb.radius(net, x, y, ["l2"], solver="fmn", budget=30, box=WIDE)
    assert found[Metric(2)] is found["l2"]
    assert found.get("l1") is None
    with pytest.raises(hb.InputError, match="it has l2"):
        found["l1"]
    assert "median" in str(found)
