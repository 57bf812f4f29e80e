"""The line search: to the boundary along the way to a warm start, and no further."""

from math import inf

import pytest
import torch
from torch import nn

from hauberk.maths.norms import norm
from hauberk.solvers.line_search import LineSearch

P = {"l0": 0, "l1": 1, "l1.5": 1.5, "l2": 2, "linf": inf}


class Plane(nn.Module):
    """Class 1 where the features sum to more than 1; takes inputs in ``dtype``."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.one = nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, x):
        z = x.flatten(1).sum(1) - self.one
        return torch.stack((-z, z), 1)


def case(n=5, shape=(8,), dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(n, *shape, generator=rng, dtype=dtype) * 0.1
    far = torch.rand(n, *shape, generator=rng, dtype=dtype) * 0.5 + 0.4
    return x, far, torch.zeros(n, dtype=torch.long)


@pytest.mark.parametrize("metric", ["l1", "l1.5", "l2", "linf"])
@pytest.mark.parametrize("steps", [1, 5, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_halves_the_way_to_the_boundary(metric, steps, dtype):
    x, far, y = case(dtype=dtype)
    whole = norm((far - x).double(), P[metric])
    share = ((1 - x.sum(1)) / (far - x).sum(1)).double()
    found = LineSearch(steps=steps)(Plane(dtype), x, y, metric, warm=far[:, None])
    assert found.fooled.all()
    assert found.points.dtype == dtype
    rounding = 1e-6 if dtype == torch.float32 else 1e-12
    over = found.distance / whole - share
    assert (over >= -rounding).all()
    assert (over <= 2.0**-steps + rounding).all()
    # On the segment: all features by the same share.
    along = ((found.points - x) / (far - x)).double()
    spread = along.amax(1) - along.amin(1)
    assert (spread <= (1e-5 if dtype == torch.float32 else 1e-12)).all()


def test_in_l0_it_keeps_the_largest_changes_and_as_few_as_fool():
    x, _, y = case(3)
    delta = torch.tensor([0.05, 0.6, 0.0, 0.3, 0.5, 0.1, 0.4, 0.2], dtype=torch.float64)
    far = x + delta * torch.tensor([[1.0], [1.0], [-1.0]], dtype=torch.float64)
    found = LineSearch(steps=8)(Plane(), x, y, "l0", warm=far[:, None], box=(-1, 2))
    assert found.fooled.tolist() == [True, True, False]
    ranked = delta.sort(descending=True).values.cumsum(0)
    for row in (0, 1):
        need = float(1 - x[row].sum())
        count = int((ranked < need).sum()) + 1
        changed = found.points[row] != x[row]
        assert int(changed.sum()) == count == found.distance[row]
        assert delta[changed].min() >= delta[~changed].max()
        assert torch.equal(found.points[row][changed], far[row][changed])


def test_passes_are_forwards_alone():
    x, far, y = case()
    found = LineSearch(steps=7)(Plane(), x, y, "l2", warm=far[:, None])
    assert (found.forwards == 8).all()
    assert (found.backwards == 0).all()
    assert LineSearch(steps=7).passes == 8


def test_rows_are_each_their_own():
    x, far, y = case(6, (2, 2, 2))
    has = torch.tensor([1, 1, 0, 1, 1, 1]).bool()[:, None]
    far[4] = x[4]  # does not fool
    whole = LineSearch()(Plane(), x, y, "l1", warm=far[:, None], has_warm=has)
    assert whole.fooled.tolist() == [True, True, False, True, False, True]
    assert (whole.loss[[2, 4]] == -inf).all()
    parts = LineSearch()(Plane(), x, y, "l1", warm=far[:, None], has_warm=has, batch_size=2)
    assert torch.equal(whole.points, parts.points)
    one = LineSearch()(Plane(), x[3:4], y[3:4], "l1", warm=far[3:4, None])
    assert torch.equal(one.points, whole.points[3:4])


def test_without_a_warm_start_the_clean_inputs_are_all_there_is():
    x, _, y = case(3)
    y[1] = 1
    found = LineSearch()(Plane(), x, y, "l2")
    assert found.fooled.tolist() == [False, True, False]
    assert torch.equal(found.points, x)
    assert len(LineSearch()(Plane(), x[:0], y[:0], "l2")) == 0


def test_warm_points_outside_the_box_are_clipped_first():
    x, far, y = case(4)
    found = LineSearch(steps=20)(Plane(), x, y, "l2", warm=(far + 5)[:, None], box=(0, 0.5))
    assert ((found.points >= 0) & (found.points <= 0.5)).all()
    assert found.fooled.all()
