"""What a region can do is a type: methods require it, and it answers what they used to guess."""

from math import inf

import pytest
import torch

from hauberk import InputError
from hauberk.maths.rng import Draws
from hauberk.threats import (
    L0,
    L1,
    L2,
    Affine,
    Box,
    Each,
    Linf,
    Lp,
    Measured,
    Metric,
    RotationTranslation,
    Shared,
    Swaps,
    Union,
    Whole,
)
from hauberk.threats.distances import (
    DistanceRegion,
    LpDistanceRegion,
    LpRegion,
    MeasuredDistanceRegion,
)
from hauberk.threats.region import CompoundRegion, Enumerable, InputRegion, Patchable


def away(x0, x):
    return (x - x0).flatten(1).abs().sum(1)


X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
BALL = {InputRegion, DistanceRegion, LpRegion, Patchable}
# One row a geometry: which of the types it is.
ROWS = [
    (Linf(0.1), BALL),
    (L1(2), BALL),
    (L0(3), BALL),
    (Metric(2), BALL | {LpDistanceRegion}),
    (Metric(inf), BALL | {LpDistanceRegion}),
    (Measured(away, 1.0), {InputRegion, DistanceRegion, MeasuredDistanceRegion}),
    (Swaps(3), {InputRegion, Enumerable}),
    (RotationTranslation(), {Patchable, Enumerable}),
    (Affine(Linf(0.1), L1(2)), set()),
    (Each(Linf(0.1), L1(2)), {CompoundRegion}),
    (Whole(Union(Linf(0.1), L1(2))), {CompoundRegion}),
]
TYPES = {kind for _, row in ROWS for kind in row}


@pytest.mark.parametrize(("threat", "can"), ROWS, ids=[repr(row[0]) for row in ROWS])
def test_a_type_is_required_and_given_or_refused(threat, can):
    region = threat.at(X)
    for kind in TYPES:
        if kind in can:
            assert kind.require(region, "MyAttack") is region
            continue
        with pytest.raises(InputError, match=r"MyAttack needs .*, which \w+ is not: ") as error:
            kind.require(region, "MyAttack")
        assert kind.wanted in str(error.value)
        assert kind.remedy in str(error.value)
        assert "\n" not in str(error.value)


def test_shared_perturbations_have_windows():
    groups = X.unsqueeze(0)
    assert Patchable.require(Shared(Linf(0.1)).at(groups), "Square")


def test_who_needs_it_may_be_an_object():
    with pytest.raises(InputError, match=r"^Draws needs"):
        InputRegion.require(RotationTranslation().at(X), Draws.of(0, torch.arange(1)))


def test_facts_about_the_geometry():
    facts = {t: t.at(X) for t in (Linf(0.1), L1(2), L0(3), Lp(1.5, 1), L2(1))}
    assert [t.kind for t, r in facts.items()] == [r.kind for r in facts.values()]
    assert [r.sparse for r in facts.values()] == [False, True, False, False, False]
    assert [r.discrete for r in facts.values()] == [False, False, True, False, False]
    assert [r.ball_is_box for r in facts.values()] == [True, False, False, False, False]
    assert Metric(inf).at(X).ball_is_box
    assert Metric(0).at(X).discrete
    warp = RotationTranslation().at(X)
    assert (warp.kind, warp.sparse, warp.discrete, warp.ball_is_box) == ("", False, False, False)
    assert warp.parts == (warp,)
    assert [r.kind for r in Whole(Linf(0.1) | L2(1)).at(X).parts] == ["linf", "l2"]


def test_ends_of_the_box():
    box = Box(torch.full((1, 4, 4), -1.0), 2.0)
    region = L2(1.0).at(X, box)
    lo, hi = region.ends()
    assert lo.shape == hi.shape == X.shape
    assert (lo == -1).all()
    assert (hi == 2).all()
    assert torch.equal(region.finite_ends("me")[0], lo)
    assert (region.mean_width == 3).all()
    assert (region.span == 3).all()
    points = torch.tensor([-3.0, 0.5, 9.0]).view(1, 3, 1, 1, 1).expand(3, 3, 1, 4, 4)
    clipped = region.clip(points)
    assert clipped[0, :, 0, 0, 0].tolist() == [-1, 0.5, 2]
    assert torch.equal(region.clip(points[:, 2]), clipped[:, 2])
    assert region.in_box(clipped[:, 0]).all()
    assert not region.in_box(points[:, 0]).any()


def test_a_box_without_ends():
    region = L2(1.0).at(X, Box(-inf, 2.0))
    with pytest.raises(InputError, match="the box is infinite: CW needs its ends"):
        region.finite_ends("CW")
    assert (region.span == 1).all()
    assert (region.mean_width == 1).all()


def test_budget_used_in_the_order_of_the_keys():
    delta = torch.tensor([[0.3, 0.0, -0.4, 0.5]])
    key = torch.tensor([[3.0, 1.0, 2.0, 4.0]])
    x = torch.full((1, 4), 0.5)
    expected = {
        Linf(0.1): [0.75, 0.25, 0.5, 1.0],
        L0(2): [1.0, 0.0, 0.5, 1.5],
        L1(0.5): [1.4, 0.0, 0.8, 2.4],
        L2(0.5): [1.0, 0.0, 0.64, 2.0],
    }
    for threat, shares in expected.items():
        used = threat.at(x).budget_used(delta, key)
        assert used.dtype == torch.float64
        assert torch.allclose(used, torch.tensor([shares], dtype=torch.float64))


def test_noise_of_full_size():
    noise = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Linf(0.25).at(X).full_size(noise), noise * 0.25)
    assert torch.allclose(L1(2.0).at(X).full_size(noise).flatten(1).abs().sum(1), torch.tensor(2.0))
    assert torch.equal(L0(3).at(X, Box(-1, 1)).full_size(noise), noise * 2)
    assert torch.equal(Measured(away, 0.5).at(X).full_size(noise), noise * 0.5)


def test_steps_of_the_parts_of_a_compound():
    region = Each(Linf(0.2), L2(1.0)).at(X)
    halved = region.with_step_shares([0.5, 1.0])
    u = region.start()
    grad = torch.ones_like(u)
    whole, half = region.ascent(u, grad, 1.0), halved.ascent(u, grad, 1.0)
    assert torch.allclose(half[:, :16] - u[:, :16], (whole[:, :16] - u[:, :16]) / 2)
    assert torch.equal(half[:, 16:], whole[:, 16:])
