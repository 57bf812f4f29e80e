"""The first-order solver for any distance: closed forms of linear models, and what it returns."""

from math import inf

import pytest
import torch
from helpers import data
from helpers.models import Constant, Linear, Wrapped, network
from torch import nn

from hauberk import InputError
from hauberk.solvers.fmn import FMN
from hauberk.solvers.level_set import LevelSetFMN
from hauberk.solvers.pwcf import PWCFRadius
from hauberk.threats import Linf, Measured, Perceptual

BOX = (-1.0, 2.0)
SOLVERS = pytest.mark.parametrize(
    "solver", [LevelSetFMN(steps=150), PWCFRadius(steps=150)], ids=lambda s: type(s).__name__
)


def linear(features=8, classes=2, dtype=torch.float64):
    return Linear(features, classes, seed=1, dtype=dtype, drawn=torch.float64)


def radius(model, x, p, power=None):
    """The lp distance of ``power * x`` to the hyperplane between two classes, in the box."""
    return model.radius(x, model(x).argmax(1), p, BOX, power)


def curved(features=36):
    net = network(features, 12, 3, activation=nn.Tanh, dtype=torch.float64)
    return Wrapped(net, lambda x: 3 * x)


def inputs(n=5, shape=(8,), dtype=torch.float64, box=(-0.5, 1.0)):
    return data.inputs(n, shape, seed=2, box=box, dtype=dtype)


def ellipsoid(power):
    return Measured(lambda a, b: ((b - a).flatten(1) * power.to(b)).norm(dim=1), name="ellipsoid")


def smooth(a, b):
    """The l1.5 norm, made smooth at 0."""
    return ((b - a).flatten(1).square() + 1e-12).pow(0.75).sum(1).pow(2 / 3) - 1e-12**0.5 * 4


def similarity(a, b):
    """One less the structural similarity over windows of three by three, and half as it comes."""
    mean = nn.functional.avg_pool2d
    ma, mb = mean(a, 3, 1), mean(b, 3, 1)
    va, vb = mean(a * a, 3, 1) - ma * ma, mean(b * b, 3, 1) - mb * mb
    both = mean(a * b, 3, 1) - ma * mb
    like = (2 * ma * mb + 1e-2) * (2 * both + 1e-2)
    like = like / ((ma * ma + mb * mb + 1e-2) * (va + vb + 1e-2))
    return (1 - like.flatten(1).mean(1)).clamp_min(0)


def variation(a, b):
    """Total variation of the change, and a little of its size."""
    d = b - a
    rough = d.diff(dim=-1).abs().flatten(1).sum(1) + d.diff(dim=-2).abs().flatten(1).sum(1)
    return rough + 0.1 * d.abs().flatten(1).sum(1)


@SOLVERS
def test_an_ellipsoid_reaches_the_linear_radius(solver):
    model, x = linear(), inputs()
    power = torch.linspace(0.3, 3, 8, dtype=torch.float64)
    true = radius(model, x, 2, power)
    found = solver(model, x, model(x).argmax(1), ellipsoid(power), box=BOX)
    assert found.fooled.all()
    assert (found.distance >= true * (1 - 1e-8)).all()
    assert (found.distance <= true * 1.04).all(), found.distance / true


@SOLVERS
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, inf])
def test_norms_reach_the_linear_radius(solver, p):
    model, x = linear(), inputs()
    true = radius(model, x, p)
    found = solver(model, x, model(x).argmax(1), f"l{p}", box=BOX)
    assert (found.distance >= true * (1 - 1e-9)).all()
    # A subgradient of l1 or linf says little about which features to move.
    most = {1: 1.3, inf: 1.3}.get(p, 1.02) if isinstance(solver, LevelSetFMN) else 1.02
    assert (found.distance <= true * most).all(), found.distance / true


@SOLVERS
def test_a_norm_given_as_a_callable_reaches_the_linear_radius(solver):
    model, x = linear(), inputs()
    true = radius(model, x, 1.5)
    found = solver(model, x, model(x).argmax(1), Measured(smooth), box=BOX)
    assert (found.distance <= true * 1.02).all(), found.distance / true
    assert (found.distance >= true * (1 - 1e-4)).all()  # of the smoothing


@SOLVERS
def test_linear_features_reach_the_linear_radius(solver):
    # With one position and features of constant length the perceptual distance is an ellipsoid.
    model, x = linear(), inputs()
    power = torch.linspace(0.3, 3, 8, dtype=torch.float64)
    long = 1e4

    def features(z):
        return torch.cat((z.flatten(1) * power.to(z), torch.full_like(z[:, :1], long)), 1)

    true = radius(model, x, 2, power) / long
    far = Perceptual(features)
    found = solver(model, x, model(x).argmax(1), far, box=BOX)
    assert (found.distance >= true * (1 - 1e-4)).all()
    assert (found.distance <= true * 1.03).all(), found.distance / true


@SOLVERS
@pytest.mark.parametrize("far", [similarity, variation], ids=lambda f: f.__name__)
def test_any_callable_gives_points_that_hold(solver, far):
    model, x = curved(), inputs(4, (1, 6, 6), box=(0.1, 0.9))
    y = model(x).argmax(1)
    found = solver(model, x, y, Measured(far, name="far"))
    assert found.fooled.all()
    assert (model(found.points).argmax(1) != y).all()
    assert ((found.points >= 0) & (found.points <= 1)).all()
    torch.testing.assert_close(found.distance, far(x, found.points))
    # Nearer than the point that is nearest in l2.
    other = FMN(steps=150)(model, x, y, "l2")
    assert other.fooled.all()
    assert found.distance.median() <= far(x, other.points).median()


@SOLVERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ordinary_inputs(solver, dtype):
    model = linear(12, 3, dtype)
    x = inputs(4, (3, 2, 2), dtype)
    y = model(x).argmax(1)
    y[1] = (y[1] + 1) % 3
    far = ellipsoid(torch.linspace(1, 2, 12))
    found = solver(model, x, y, far, box=BOX)
    assert found.fooled.all()
    assert found.points.dtype == dtype
    # PWCF begins beside the clean input, and never asks for it.
    assert found.distance[1] <= (0 if isinstance(solver, LevelSetFMN) else 0.01)
    one = solver(model, x[2:3], y[2:3], far, box=BOX, ids=torch.tensor([2]))
    torch.testing.assert_close(one.distance, found.distance[2:3], rtol=0.01, atol=0)
    assert len(solver(model, x[:0], y[:0], far, box=BOX)) == 0
    assert (found.forwards + found.backwards <= solver.passes).all()


@SOLVERS
def test_batches_do_not_matter(solver):
    model, x = curved(8), inputs(5)
    y = model(x).argmax(1)
    far = ellipsoid(torch.linspace(1, 2, 8))
    whole = solver(model, x, y, far, box=BOX, seed=1)
    parts = solver(model, x, y, far, box=BOX, seed=1, batch_size=2)
    torch.testing.assert_close(whole.distance, parts.distance, rtol=1e-4, atol=0)


@SOLVERS
def test_a_constant_model_yields_nothing(solver):
    x = inputs(3)
    y = torch.tensor([0, 1, 0])
    for far in (ellipsoid(torch.ones(8)), "l2", "linf"):
        found = solver(Constant(1.0, 0.0), x, y, far, box=BOX)
        assert found.fooled.tolist() == [False, True, False]
        assert torch.isfinite(found.points).all()


@SOLVERS
def test_balls_and_counts_are_refused(solver):
    x = inputs(2)
    y = torch.zeros(2, dtype=torch.long)
    with pytest.raises(InputError, match="does not measure"):
        solver(linear(), x, y, Linf(0.1), box=BOX)


def test_a_warm_start_is_never_lost():
    model, x = linear(), inputs()
    y = model(x).argmax(1)
    far = ellipsoid(torch.linspace(0.3, 3, 8, dtype=torch.float64))
    known = FMN(steps=20)(model, x, y, "l2", box=BOX)
    start = far.distance(x, known.points)
    found = LevelSetFMN(steps=2)(model, x, y, far, box=BOX, warm=known.points[:, None])
    assert (found.distance <= start * (1 + 1e-9)).all()
