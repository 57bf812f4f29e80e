"""Finite sets of inputs."""

from functools import partial

import pytest
import torch
from torch import nn

from hauberk import InputError
from hauberk.attacks import APGD, PGD
from hauberk.attacks.search import Grid
from hauberk.evaluation.core.judge import judge
from hauberk.maths.rng import Draws
from hauberk.threats import Box, Union
from hauberk.threats.finite import FiniteSet, Swaps
from hauberk.victims.victim import Victim

WHOLE = Box(-torch.inf, torch.inf)


def data(n=6, shape=(7,), dtype=torch.float32):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def every(region):
    """All members, as the region lists them."""
    index = torch.arange(region.count()).expand(len(region.x0), -1)
    return region.candidate(index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(7,), (7, 1, 1), (2, 2, 2)])
def test_swaps_are_swaps(shape, dtype):
    x = data(shape=shape, dtype=dtype)
    members = every(Swaps(4).at(x)).flatten(2)
    assert members.shape == (6, 4, x[0].numel())
    flat = x.flatten(1)
    assert torch.equal(members[:, 0], flat)
    for j in range(1, 4):
        expected = flat.clone()
        expected[:, 0], expected[:, j] = flat[:, j], flat[:, 0]
        assert torch.equal(members[:, j], expected)


def test_membership_is_equality_and_distance_is_the_rank():
    x = data()
    threat = Swaps(5)
    members = every(threat.at(x))
    for j in range(5):
        assert threat.contains(x, members[:, j]).all()
        assert threat.distance(x, members[:, j]).tolist() == [0.0 if j == 0 else j + 1.0] * 6
        assert not threat.contains(x, members[:, j] + 1e-6).any()
        smaller = threat.scaled((j + 1) / 5)
        assert smaller.contains(x, members[:, j]).all()
        if j:
            assert not threat.scaled((j + 0.9) / 5).contains(x, members[:, j]).any()
    other = x.clone()
    other[:, 0], other[:, 5] = x[:, 5], x[:, 0]
    assert not threat.contains(x, other).any()
    assert threat.distance(x, other).isinf().all()


def test_rounding_of_a_share_loses_no_member():
    for n in range(1, 60):
        for k in range(1, n + 1):
            assert Swaps(n).scaled(k / n).members == k


def test_the_nearest_member_is_found():
    x = data()
    region = Swaps(7).at(x)
    members = every(region)
    u = data(shape=(7,)).flip(0)
    nearest = (members - u.unsqueeze(1)).norm(dim=2).argmin(1)
    assert torch.equal(region.project_(u.clone()), members[torch.arange(6), nearest])
    for value in (torch.nan, torch.inf, -torch.inf):
        found = region.project_(torch.full_like(x, value))
        assert Swaps(7).contains(x, found).all()


def test_one_step_finds_the_best_member_of_a_linear_model():
    model = nn.Linear(7, 2)
    x = data()
    y = model(x).argmax(1)
    members = every(Swaps(7).at(x))
    logits = model(members)
    rows = torch.arange(6)
    margins = logits[rows, :, 1 - y] - logits[rows, :, y]
    for attack in (PGD(steps=2, loss="margin"), APGD(steps=3)):
        out = attack(model, x, y, Swaps(7), stop=False)
        torch.testing.assert_close(out.loss, margins.amax(1).detach())
        verdict = judge(Victim(model), Swaps(7), x, out.points, y, Box())
        assert verdict.allowed.all()
        assert torch.equal(verdict.distance, out.distance)


def test_a_grid_looks_at_every_member():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 3)).requires_grad_(False)
    x = data()
    y = model(x).argmax(1)
    logits = model(every(Swaps(7).at(x)))
    own = logits.gather(2, y.view(-1, 1, 1).expand(-1, 7, 1)).squeeze(2)
    others = logits.scatter(2, y.view(-1, 1, 1).expand(-1, 7, 1), -torch.inf).amax(2)
    out = Grid(counts=(7,), chunk=3)(model, x, y, Swaps(7), stop=False)
    torch.testing.assert_close(out.loss, (others - own).amax(1))


def test_random_members_are_all_members():
    x = data(1, (7,)).expand(400, 7)
    region = Swaps(5).at(x)
    drawn = region.random(Draws.of(0, torch.arange(400)), 0)
    ranks = Swaps(5).distance(x, drawn)
    assert set(ranks.tolist()) == {0.0, 2.0, 3.0, 4.0, 5.0}
    few = region.scaled(torch.full((400,), 0.4)).random(Draws.of(0, torch.arange(400)), 0)
    assert set(Swaps(5).distance(x, few).tolist()) == {0.0, 2.0}


def test_members_outside_of_the_box_are_left_out():
    x = data()
    up, half = FiniteSet([lambda x: x + 2, lambda x: x / 2], name="up"), (0.0, 1.0)
    assert up.contains(x, x + 2, box=(-9, 9)).all()
    assert not up.contains(x, x + 2, box=half).any()
    assert up.contains(x, x / 2, box=half).all()
    members = every(up.at(x, Box()))
    assert (members <= 1).all()
    assert torch.equal(members[:, 1], x / 2)
    assert torch.equal(members[:, 2], x)  # and again from the first
    assert torch.equal(up.project(x, x + 2, box=half), x)


def test_a_set_of_ones_own():
    def shifts(x):
        return torch.stack([x.roll(1, -1), x.roll(-1, -1)], 1)

    threat = FiniteSet(shifts, size=3, name="shifts")
    x = data(shape=(1, 4, 4))
    assert threat.contains(x, x.roll(1, -1)).all()
    assert threat.contains(x, x.roll(-1, -1)).all()
    assert not threat.scaled(2 / 3).contains(x, x.roll(-1, -1)).any()
    assert str(threat) == "finite:shifts:3"
    same = FiniteSet([lambda x: x.roll(1, -1), lambda x: x.roll(-1, -1)])
    assert torch.equal(every(same.at(x)), every(threat.at(x)))
    assert not FiniteSet([]).contains(x, x + 0.1).any()


def test_sets_are_named_after_their_functions():
    def flips(x):
        return x.flip(1).unsqueeze(1)

    def turn(x):
        return x.flip(-1)

    def shift(x):
        return x.roll(1, -1)

    assert str(FiniteSet(flips, 2)) == "finite:flips:2"
    assert str(FiniteSet([turn, shift])) == str(FiniteSet((turn, shift))) == "finite:turn+shift:3"
    assert str(FiniteSet([turn, shift]).scaled(0.5)) == "finite:turn+shift:1.5"
    assert str(FiniteSet([turn, shift], name="own")) == "finite:own:3"
    for dull in ([lambda x: x], [turn, partial(torch.roll, shifts=1)], [turn] * 20, []):
        assert str(FiniteSet(dull)).startswith("finite:set:")
    both = Union(FiniteSet([turn]), FiniteSet([shift]))
    assert [str(part) for part in both.parts] == ["finite:turn:2", "finite:shift:2"]


def test_empty_batches_and_size_zero():
    model = nn.Linear(7, 3)
    x = data()
    y = model(x).argmax(1)
    out = PGD(steps=2)(model, x[:0], y[:0], Swaps(3))
    assert out.points.shape == (0, 7)
    for threat in (Swaps(0), Swaps(1), Swaps(5).scaled(0)):
        out = PGD(steps=2)(model, x, y, threat, stop=False)
        assert torch.equal(out.points, x)
        assert not out.distance.any()


def test_notation():
    assert str(Swaps(49)) == "swaps:49"
    assert str(Swaps(49).scaled(0.5)) == "swaps:24.5"
    assert Swaps(3) == Swaps(3.0)
    assert repr(Swaps(3)) == "Swaps(3)"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FiniteSet(lambda x: x.unsqueeze(1)), "give size="),
        (lambda: Swaps(-1), "size of the set is -1"),
        (lambda: Swaps(float("nan")), "size of the set is nan"),
        (lambda: Swaps(float("inf")), "size of the set is inf"),
        (lambda: Swaps(9).contains(data(), data()), "swaps:9 needs 9 features, but inputs have 7"),
        (
            lambda: FiniteSet(lambda x: x, size=2).contains(data(), data()),
            "the function must return",
        ),
    ],
)
def test_errors(make, says):
    with pytest.raises(InputError, match=says):
        make()
