"""PWCFRadius for radii: against exact ones of small ReLU networks, DDN, and closed forms."""

from math import inf

import pytest
import torch
from helpers.models import Linear, Sphere, Wrapped
from torch import nn

from hauberk import InputError
from hauberk.exact import solve as exact
from hauberk.models.mlp import MLP
from hauberk.solvers.ddn import DDN
from hauberk.solvers.pwcf import PWCFRadius


def relu_net(sizes=(6, 10, 3)):
    rng = torch.Generator().manual_seed(0)
    model = MLP(sizes).double()
    with torch.no_grad():
        for layer in model.layers:
            for value, size in ((layer.weight, 1.5 * layer.in_features**-0.5), (layer.bias, 0.3)):
                noise = torch.randn(value.shape, generator=rng, dtype=torch.float64)
                value.copy_(noise * size)
    return model


def case(n=8, model=None):
    model = relu_net() if model is None else model
    x = torch.rand(n, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize(
    ("metric", "median", "worst"), [("l2", 1.005, 1.5), ("l1", 1.03, 2.5), ("linf", 1.03, 2.5)]
)
def test_near_the_exact_radius_and_never_below(metric, median, worst):
    model, x, y = case()
    true = exact.radius(model, x, y, metric)
    assert true.proven.all()
    found = PWCFRadius(steps=400)(model, x, y, metric)
    # The program is not convex: some end where no step leads to a boundary, or at a farther one,
    # and which ones do is a matter of the last bit.
    assert found.fooled.sum() >= 6
    ratio = (found.distance / true.distance)[found.fooled]
    assert (ratio >= 1 - 1e-9).all()
    assert ratio.median() <= median, ratio
    assert (ratio <= worst).all(), ratio


def test_as_near_as_ddn_in_the_median():
    model, x, y = case(12)
    other = DDN(steps=400)(model, x, y, "l2")
    found = PWCFRadius(steps=400)(model, x, y, "l2")
    both = found.fooled & other.fooled
    assert both.sum() >= 10
    assert (found.distance / other.distance)[both].median() <= 1.005


@pytest.mark.parametrize("dense", [0, 200], ids=["limited", "dense"])
@pytest.mark.parametrize("starts", [1, 3])
def test_the_radius_of_a_sphere_by_either_memory(dense, starts):
    rng = torch.Generator().manual_seed(3)
    x = torch.rand(5, 8, generator=rng, dtype=torch.float64) * 0.4 - 0.2
    true = 1 - x.norm(dim=1)
    solver = PWCFRadius(steps=200, dense=dense, starts=starts, tries=20)
    found = solver(Sphere(torch.float64), x, torch.zeros(5, dtype=torch.long), "l2", box=(-1, 1))
    assert (found.distance >= true * (1 - 1e-9)).all()
    assert (found.distance <= true * 1.002).all(), found.distance / true


UNITS = [(m, factor) for m in ("l1", "l2", "linf") for factor in (255.0, 1e-3)]


@pytest.mark.parametrize(("metric", "factor"), UNITS)
def test_the_unit_of_the_inputs_hardly_matters(metric, factor):
    rng = torch.Generator().manual_seed(3)
    x = torch.rand(5, 8, generator=rng, dtype=torch.float64) * 0.4 - 0.2
    model = Linear(8, dtype=torch.float64)
    model.weight = nn.Parameter(torch.randn(8, 2, generator=rng, dtype=torch.float64))

    y = model(x).argmax(1)
    small = PWCFRadius(steps=200)(model, x, y, metric, box=(-1, 1))
    other = Wrapped(model, lambda x: x / factor)
    large = PWCFRadius(steps=200)(other, x * factor, y, metric, box=(-factor, factor))
    torch.testing.assert_close(large.distance / factor, small.distance, rtol=0.02, atol=0)


@pytest.mark.parametrize("box", [(-inf, inf), (0.0, inf)])
def test_boxes_without_an_end(box):
    model, x, y = case()
    found = PWCFRadius(steps=200)(model, x, y, "l2", box=box)
    assert found.fooled.all()
    assert torch.isfinite(found.points).all()


def test_passes_are_what_was_said():
    model, x, y = case()
    solver = PWCFRadius(steps=60)
    found = solver(model, x, y, "l2")
    assert (found.forwards == 61 + solver.closing).all()
    assert (found.backwards == 60).all()
    small = solver.within(101, 3)
    found = small(model, x, y, "l2")
    assert (found.forwards + found.backwards <= 101).all()


def test_bad_numbers_are_refused():
    for bad in ({"starts": 0}, {"tries": 0}, {"pairs": 0}, {"steps": 0}):
        with pytest.raises(InputError):
            PWCFRadius(**bad)


def test_it_reports_feasibility_and_stationarity_of_every_point():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(6, 5, generator=rng, dtype=torch.float64) * 0.4 + 0.1
    away = x / x.norm(dim=1, keepdim=True)
    y = torch.zeros(6, dtype=torch.long)
    found = PWCFRadius(steps=150)(Sphere(torch.float64), 0.3 * away, y, "l2", box=(-1, 1))
    report = found.report
    assert set(report) == {"infeasibility", "stationarity"}
    assert all(values.shape == (6,) and values.isfinite().all() for values in report.values())
    assert (report["infeasibility"] < 0.05).all()
