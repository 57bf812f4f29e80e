"""What the radii of a run add up to."""

from math import inf

import torch
from helpers.radii import DUAL, WIDE, closed, examples, linear
from torch import nn

import hauberk as hb
from hauberk.evaluation.radii.result import Radii, RadiiSet


def test_the_union_radius_is_the_least_over_its_balls():
    net = linear(3)
    x, y = examples(net, wrong=[2])
    union = hb.Union(hb.Linf(0.3), hb.L2(0.5), hb.L1(1.0))
    every = hb.radius(net, x, y, ["l1", union], solver="fab", budget=200, box=WIDE)
    assert isinstance(every, RadiiSet)
    assert list(every) == ["l1", "linf", "l2", "union"]
    found = every["union"]
    scales = torch.stack(
        [every[m].distance / eps for m, eps in (("linf", 0.3), ("l2", 0.5), ("l1", 1.0))]
    )
    assert torch.equal(found.distance, scales.amin(0))
    names = [str(ball) for ball in union.parts]
    for i, nearest in enumerate(found.nearest):
        assert nearest == ("" if i == 2 else names[int(scales[:, i].argmin())])
        if i != 2:
            ball = union.parts[names.index(nearest)].scaled(float(found.distance[i]) * (1 + 1e-9))
            assert bool(ball.contains(x[i : i + 1], found.points[i : i + 1], box=WIDE))
    assert found.distance[2] == 0
    exact = torch.stack(
        [closed(net, x, y, DUAL[m]) / e for m, e in (("linf", 0.3), ("l2", 0.5), ("l1", 1.0))]
    ).amin(0)
    assert torch.allclose(found.distance, exact, rtol=1e-2)
    alone = hb.radius(net, x, y, union, solver="fab", budget=200, box=WIDE)
    assert isinstance(alone, Radii)
    assert torch.equal(alone.distance, found.distance)
    assert set(alone.parts) == {"linf", "l2", "l1"}
    assert "nearest ball" in alone.table()


def beyond_reach():
    """Label 0 for good at feature 0 above 0.5, for which no point of the box makes up."""
    net = nn.Linear(2, 2, dtype=torch.float64)
    net.weight.data = torch.tensor([[0.0, 0.0], [-1.0, 0.1]], dtype=torch.float64)
    net.bias.data = torch.tensor([0.0, -0.2], dtype=torch.float64)
    return net


def test_what_is_not_found_is_infinite_and_said_so():
    net = beyond_reach()
    x = torch.rand(5, 2, dtype=torch.float64)
    y = torch.zeros(5, dtype=torch.int64)
    found = hb.radius(net, x, y, "linf", solver="fmn", budget=50)
    assert found.distance.tolist() == [inf] * 5
    assert not found.found.any()
    assert found.solver == [""] * 5
    assert torch.equal(found.points, x)
    assert set(found.quantiles().values()) == {inf}
    assert (found.largest, found.mean, found.mean_is_bound) == (0, 0, True)
    assert found.accuracy(1e9) == 1
    assert found.summary["metrics"]["linf"]["unfound"] == 5
    shown = found.table()
    assert "> 0" in shown
    assert "none" in shown


def test_sizes_are_told_in_the_summary():
    net = linear()
    x, y = examples(net, n=8, wrong=[0])
    found = hb.radius(net, x, y, "l2", solver="fab", budget=60, box=WIDE, eps=[0.25, 1.0])
    told = found.summary["metrics"]["l2"]
    assert told["accuracies"] == {"0.25": found.accuracy(0.25), "1.0": found.accuracy(1.0)}
    assert told["average_accuracy"] == found.average_accuracy([0.25, 1.0])
    assert told["average_robust_accuracy"] == found.average_robust_accuracy([0.25, 1.0])
    assert told["curve"]["accuracy"][0] == found.accuracy(0.0)
    for word in ("AvgAcc", "AvgRobAcc", "0.25", "FAB 7"):
        assert word in found.table()
