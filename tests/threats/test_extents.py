"""Units of features in measured threats: how far each may go alone."""

from math import inf

import pytest
import torch

import hauberk as hb
from hauberk.threats.box import Box
from hauberk.threats.extents import units
from hauberk.threats.measured import Measured

SIZES = torch.tensor([1e-3, 0.5, 1.0, 1e3])


def weighted(p, sizes=SIZES):
    def distance(x0, x):
        change = ((x - x0) / sizes.to(x)).flatten(1).abs()
        return change.amax(1) if p == inf else change.pow(p).sum(1).pow(1 / p)

    return distance


def found(threat, box=(-inf, inf), features=4, shape=(2,)):
    region = threat.at(torch.zeros(*shape, features), Box.of(box))
    return region.unit[0] if region.unit else None


@pytest.mark.parametrize("p", [1, 2, inf])
@pytest.mark.parametrize("half", [inf, 1e5, [1e3, 9.0, 99.0, 1e5]], ids=str)
@pytest.mark.parametrize("eps", [0.3, inf])
def test_units_are_what_a_feature_may_do_alone_to_a_factor_of_two(p, half, eps):
    unit = found(Measured(weighted(p), eps), (-torch.as_tensor(half), torch.as_tensor(half)))
    ratio = unit / SIZES
    assert (unit.log2() == unit.log2().round()).all()
    assert float(ratio.max() / ratio.min()) <= 2.0001
    if eps == 0.3:
        assert (unit <= 0.3 * SIZES * 1.0001).all()
        assert (unit * 2 > 0.3 * SIZES).all()


def test_a_box_far_from_zero_costs_no_digits():
    unit = found(Measured(weighted(2), 0.3), (1e6 - 5e4, 1e6 + 5e4))
    assert (unit * 2 > 0.3 * SIZES).all()
    assert (unit <= 0.3 * SIZES * 1.0001).all()


def test_features_that_are_alike_and_images_keep_their_numbers():
    """So that nothing changes where nothing was wrong."""
    alike = Measured(weighted(2, torch.tensor([0.5, 1.0, 2.0, 3.0])), 0.3)
    assert found(alike, (0, 1)) is None
    assert found(alike, (-inf, inf)) is None
    assert found(Measured(weighted(2), 0.3), shape=(2, 3)) is not None  # (S, C, L)
    image = Measured(lambda x0, x: ((x - x0) * SIZES).flatten(1).norm(dim=1), 0.3)
    assert not image.at(torch.zeros(2, 3, 4, 4)).unit
    assert units(image.at(torch.zeros(2, 3, 4, 4)), 0.3) is None


def test_a_box_without_ends_takes_its_units_from_the_distance_alone():
    large = Measured(weighted(2, torch.full((4,), 1e4)), 0.3)
    assert found(large, (-inf, inf)).unique().tolist() == [2048.0]
    assert found(large, (-1e6, 1e6)) is None  # the box says it


def test_a_feature_that_the_distance_ignores_or_the_box_stops():
    def blind(x0, x):
        return ((x - x0)[:, 1:] / SIZES[1:].to(x)).norm(dim=1)

    assert found(Measured(blind, 1.0)).tolist() == [512.0, 0.5, 1.0, 512.0]
    stopped = found(Measured(weighted(2, torch.ones(4)), 8.0), (0, [1e-3, 2.0, 20.0, 20.0]))
    assert stopped.tolist() == [2.0**-11, 1.0, 8.0, 8.0]


def test_a_distance_that_is_nowhere_finite_in_the_middle_keeps_its_numbers():
    def relative(x0, x):
        return ((x - x0) / x0).abs().amax(1)

    threat = Measured(relative, 0.1)
    region = threat.at(torch.ones(2, 3), Box(-inf, inf))
    assert not region.unit  # where everything is infinitely far from 0
    assert threat.at(torch.ones(2, 3), Box(torch.zeros(3), torch.tensor([1e-3, 1, 1e3]))).unit


def test_a_region_in_units_is_the_same_threat():
    threat, box = Measured(weighted(2), 0.3), Box(-4 * SIZES, 4 * SIZES)
    x0 = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)) * SIZES
    x = x0 + 0.1 * torch.randn(20, 4, generator=torch.Generator().manual_seed(1)) * SIZES
    region = threat.at(x0, box)
    assert region.unit
    far = ((x - x0).double() / SIZES.double()).norm(dim=1)
    torch.testing.assert_close(region.distance(x), far, rtol=1e-5, atol=0)
    torch.testing.assert_close(region.measure(region.encode(x)).double(), far, rtol=1e-5, atol=0)
    assert torch.equal(region.decode(region.start()), x0)
    assert torch.equal(region.contains(x), region.distance(x) <= 0.3)
    beyond = x0.clone()
    beyond[:, 0] = 4.0001 * SIZES[0]
    assert not region.contains(beyond).any()
    assert (region.keep_in_box(beyond)[:, 0] == 4 * SIZES[0]).all()
    points = threat.project(x0, x0 + 9 * SIZES, box)
    assert threat.contains(x0, points, box=box).all()
    assert (region.distance(points) > 0.25).all()


@pytest.mark.parametrize(("p", "scale"), [(1, 1e3), (2, 1e-3), (inf, 1.0)])
def test_attacks_and_radii_of_a_linear_model_whatever_the_scale(p, scale):
    """Closed form: the margin falls by eps times the dual norm of the weights in standard units."""
    x, y, net, sizes, radii = table(p, scale, n=8)
    eps = 1.2 * float(radii.median())
    attack = hb.attacks.PWCF(steps=60)
    threat = Measured(weighted(p, sizes), eps)
    assert torch.equal(attack(net, x, y, threat, box=(-inf, inf)).fooled, radii <= eps)
    threat, ends = Measured(weighted(p, sizes), name="d"), (-99 * sizes, 99 * sizes)
    solver = hb.solvers.PWCFRadius(steps=150 if p == inf else 80)
    solved = solver(net, x, y, threat, box=ends).distance
    assert float((solved / radii).min()) > 0.999
    assert float((solved / radii).median()) < 1.15


def table(p, scale, n=20):
    """Rows of features over six orders of magnitude, a linear model, and its radii."""
    draw = torch.Generator().manual_seed(0)
    sizes = scale * 10 ** (torch.rand(12, generator=draw) * 6 - 3)
    z, weight = torch.randn(n, 12, generator=draw), torch.randn(12, generator=draw)
    x, net = z * sizes, torch.nn.Linear(12, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.stack((weight, -weight)) / sizes)
    dual = {1: inf, 2: 2, inf: 1}[p]
    return (
        x,
        net(x).argmax(1),
        net,
        sizes,
        (z @ weight).abs() / torch.linalg.vector_norm(weight, dual),
    )


def test_an_evaluation_over_unlike_features_is_right():
    """Once the suites found nothing here: 100% where half of the points can be broken."""
    x, y, net, sizes, radii = table(2, 1.0)
    eps = float(radii.sort().values[9:11].mean())
    threat = Measured(weighted(2, sizes), eps, name="d")
    result = hb.evaluate(net, x, y, threat, suite="fast", box=(-inf, inf))
    assert result.union_accuracy == 0.5


def test_radii_in_a_box_without_ends_are_warned_of():
    x, y, net, sizes, _ = table(2, 1.0)
    with pytest.warns(hb.HauberkWarning, match="radii in d may be far too large. Give box="):
        found = hb.radius(net, x[:1], y[:1], Measured(weighted(2, sizes), name="d"), budget=60,
                          box=(-inf, inf))  # fmt: skip
    assert any("the box has no ends" in text for text in found.summary["warnings"])
