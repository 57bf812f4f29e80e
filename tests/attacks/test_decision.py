"""Attacks that see decisions alone: noise, pointwise, boundary and HopSkipJump."""

from dataclasses import replace
from math import inf

import pytest
import torch
from helpers import oracles
from helpers.data import inputs
from helpers.models import Constant, Recorder, above
from helpers.walks import Plane, plane
from torch import nn

from hauberk import InputError
from hauberk.attacks.base import which_lie_in
from hauberk.attacks.boundary import Boundary
from hauberk.attacks.decision import between, salt_and_pepper
from hauberk.attacks.hopskipjump import HopSkipJump
from hauberk.attacks.noise import Noise
from hauberk.attacks.pointwise import Pointwise
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.threats import L0, L1, L2, Box, Linf, Lp
from hauberk.victims.victim import Victim

BALLS = Linf(0.1), L2(0.5), L1(1.5), L0(3)
ATTACKS = (
    Noise(steps=3, sizes=4),
    Noise(steps=3, sizes=4, noise="uniform"),
    Noise(steps=3, sizes=4, noise="salt_and_pepper"),
    Pointwise(steps=8, trials=5),
    Boundary(steps=8, trials=6),
    HopSkipJump(steps=8, trials=6, first=12),
)
WALKS = tuple(attack for attack in ATTACKS if not isinstance(attack, Noise))


def data(n=6, shape=(20,), dtype=torch.float32, box=(0.0, 1.0)):
    x = inputs(n, shape, dtype=dtype) * 0.4
    return x * (box[1] - box[0]) + box[0], torch.zeros(n, dtype=torch.int64)


def judged(model, threat, x, out, y, box=(0.0, 1.0)):
    verdict = oracles.judged(model, threat, x, y, out, box)
    assert torch.equal(verdict.wrong, out.fooled)


def name(value):
    kind = f"-{value.noise}" if isinstance(value, Noise) else ""
    return f"{type(value).__name__}{kind}" if hasattr(value, "steps") else str(value)


each = pytest.mark.parametrize("attack", ATTACKS, ids=name)
walks = pytest.mark.parametrize("attack", WALKS, ids=name)
threats = pytest.mark.parametrize("threat", BALLS, ids=name)


class NoBall:
    """A region that attacks cannot walk in: it has no edges."""

    members = None

    def __init__(self, x):
        self.x0 = x

    def at_variant(self, number):
        return self


@each
@pytest.mark.parametrize("threat", [*BALLS, Lp(1.5, 0.7)], ids=name)
@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_feasible_and_honest_in_any_box(attack, threat, stop, dtype):
    """On a curved model of three classes, in the box [-1, 3]."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 3)).to(dtype)
    x, _ = data(6, (5, 2, 2), dtype, box := (-1.0, 3.0))
    y = model(x).argmax(1)
    out = attack(model, x, y, threat, box=box, stop=stop)
    judged(model, threat, x, out, y, box)
    assert out.points.dtype == dtype
    assert out.loss.isfinite().all()


@each
@threats
def test_boxes_of_tensors_and_single_examples(attack, threat):
    """An example alone takes the same path as among others."""
    model = plane()
    x, y = data()
    lo, hi = torch.linspace(-0.5, 0.0, 20), torch.linspace(1.0, 2.0, 20)
    out = attack(model, x, y, threat, box=(lo, hi), stop=False, batch_size=64)
    judged(model, threat, x, out, y, (lo, hi))
    one = attack(model, x[2:3], y[2:3], threat, box=(lo, hi), stop=False, ids=torch.tensor([2]))
    torch.testing.assert_close(one.points[0], out.points[2], rtol=1e-5, atol=1e-5)
    none = attack(model, x[:0], y[:0], threat, box=(lo, hi))
    assert len(none) == 0


@each
@threats
def test_no_radius_no_change(attack, threat):
    model = plane()
    x, y = data()
    for stop in (True, False):
        out = attack(model, x, y, threat.scaled(0), stop=stop)
        assert torch.equal(out.points, x)
        assert not out.fooled.any()
        wrong = attack(model, x, 1 - y, threat.scaled(0), stop=stop)
        assert torch.equal(wrong.points, x)
        assert wrong.fooled.all()


@each
@threats
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), -float("inf"), 1e30])
def test_models_that_ignore_their_input(attack, threat, value):
    flat, (x, _) = Constant(value, 0.0, -1.0, detached=True), data(4)
    y = torch.tensor([0, 0, 1, 2])
    out = attack(flat, x, y, threat)
    judged(flat, threat, x, out, y)
    assert out.points.isfinite().all()


@each
@threats
def test_the_passes_are_as_many_as_announced(attack, threat):
    """Forwards only, whatever happens between."""
    attack = replace(attack, restarts=2)
    x, y = data(3)
    model = Victim(plane())
    out = attack(model, x, y, threat, stop=False)
    assert out.forwards.tolist() == [2 * attack.passes] * 3
    assert not out.backwards.any()
    assert (model.forwards, model.backwards) == (6 * attack.passes, 0)
    assert attack.passes == attack.steps * (attack.rows + 1)


@walks
def test_what_fools_outside_the_threat_alone_fools_nobody(attack):
    """The nearest adversarial point of a plane is 0.5 away; the walk passes far beyond."""
    model, x = Plane(torch.ones(4) / 2, 1.5), torch.full((5, 4), 0.5)
    y = torch.zeros(5, dtype=torch.int64)
    recorder = Recorder(model)
    for stop in (True, False):
        out = replace(attack, steps=30)(recorder, x, y, L2(0.45), stop=stop)
        assert not out.fooled.any()
        judged(model, L2(0.45), x, out, y)
    asked = torch.cat(recorder.asked)
    assert (model(asked).argmax(1) == 1).any()


def optimum(x, model, p):
    """lp distance from ``x`` to the plane, in the box [0, 1], by bisection of the multiplier."""
    gap = (model.threshold - x.double() @ model.w.detach().double()).clamp(min=0)
    w, room = model.w.detach().double(), 1 - x.double()
    if p == 1:
        order = w.argsort(descending=True)
        cap = room[:, order] * w[order]
        used = torch.minimum(cap, (gap.unsqueeze(1) - cap.cumsum(1) + cap).clamp(min=0))
        return (used / w[order]).sum(1)
    if p == 0:
        gain = (room * w).sort(dim=1, descending=True).values.cumsum(1)
        return 1.0 + (gain < gap.unsqueeze(1)).sum(1)
    low, high = torch.zeros(len(x), 1).double(), torch.full((len(x), 1), 1e3).double()
    for _ in range(100):
        mid = (low + high) / 2
        moved = torch.minimum(mid * (w if p == 2 else torch.ones_like(w)), room)
        short = (moved @ w).unsqueeze(1) < gap.unsqueeze(1)
        low, high = torch.where(short, mid, low), torch.where(short, high, mid)
    return norm(torch.minimum(high * (w if p == 2 else torch.ones_like(w)), room), p)


@pytest.mark.parametrize(
    ("attack", "p", "slack"),
    [
        (HopSkipJump(steps=120, trials=20), 2, 1.05),
        (HopSkipJump(steps=120, trials=20), inf, 1.15),
        (Boundary(steps=150), 2, 1.1),
        (Pointwise(steps=60), 0, 1.7),
        (Pointwise(steps=60), 1, 1.7),
    ],
    ids=["hop-l2", "hop-linf", "boundary-l2", "pointwise-l0", "pointwise-l1"],
)
def test_distance_to_a_plane(attack, p, slack):
    """Nobody gets nearer than the plane is, and the walks get near that."""
    model = plane()
    x, y = data(2)
    nearest = optimum(x, model, p)
    assert (nearest > 0).all()
    for i in range(len(x)):

        def ball(factor, size=float(nearest[i])):
            if p == 0:
                return L0(int(size * factor) if factor > 1 else int(size) - 1)
            return {1: L1, 2: L2, inf: Linf}[p](size * factor)

        one = slice(i, i + 1)
        assert not attack(model, x[one], y[one], ball(0.999)).fooled.any()
        out = attack(model, x[one], y[one], ball(slack))
        assert out.fooled.all()
        judged(model, ball(slack), x[one], out, y[one])


def test_salt_and_pepper_spends_the_budget_in_the_order_of_the_keys():
    x = torch.tensor([[0.0, 1.0, 0.5, 0.25]])
    whole = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    key = torch.tensor([[0.4, 0.1, 0.2, 0.3]])
    one = L1(1.0).at(x)
    spent = one.budget_used(whole - x, key)
    torch.testing.assert_close(spent, torch.tensor([[1.75, 0.0, 0.5, 0.75]]).double())
    spent = L0(2).at(x).budget_used(whole - x, key)
    torch.testing.assert_close(spent, torch.tensor([[1.5, 0.0, 0.5, 1.0]]).double())
    spent = Linf(0.1).at(x).budget_used(whole - x, key)
    torch.testing.assert_close(spent, torch.tensor([[1.0, 0.25, 0.5, 0.75]]).double())
    ends = salt_and_pepper(
        L1(1.0).at(torch.zeros(50, 20), Box(-1, 2)), Draws.of(0, torch.arange(50)), 0
    )
    assert set(ends.unique().tolist()) == {-1.0, 2.0}
    assert 0.4 < (ends == 2).float().mean() < 0.6


@walks
def test_a_warm_start_outside_the_threat_is_where_the_walk_starts(attack):
    """Only one far corner fools, which no noise would hit; the warm point lies there."""

    corner = above(0.5, lambda x: (x.flatten(1)[:, :12] > 0.6).all(1).float())
    x, y = torch.full((3, 20), 0.5), torch.zeros(3, dtype=torch.int64)
    warm = torch.ones(3, 1, 20)
    attack = replace(attack, steps=60)
    cold = attack(corner, x, y, L2(0.6))
    assert not cold.fooled.any()
    has = torch.tensor([[True], [True], [False]])
    out = attack(corner, x, y, L2(0.6), warm=warm, has_warm=has)
    assert out.fooled.tolist() == [True, True, False]
    judged(corner, L2(0.6), x, out, y)


def test_helpers_of_the_walks():
    x0, x = torch.zeros(2, 3), torch.ones(2, 3)
    line = between(x0, x, torch.tensor([[0.25, 1.0], [0.5, 0.0]]))
    assert line[:, :, 0].tolist() == [[0.25, 1.0], [0.5, 0.0]]
    assert which_lie_in(L1(1.5).at(x0), line).tolist() == [[True, False], [True, True]]


@each
def test_random_numbers_follow_from_seed_and_example(attack):
    model, (x, y) = plane(), data()
    one, two, other = (
        attack(model, x, y, L2(0.4), stop=False, seed=seed).points for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Noise(noise="pink"), "unknown noise 'pink': choose one of gaussian"),
        (lambda: Noise(sizes=0), "sizes is 0: give 1 or more"),
        (lambda: Noise(steps=0), "steps is 0"),
        (lambda: Boundary(targets=3), "Boundary takes no targets"),
        (lambda: Boundary(trials=1), "trials is 1: give 2 or more"),
        (lambda: Boundary(around=0.0), "around is 0.0"),
        (lambda: Boundary(inwards=1.0), "inwards is 1.0"),
        (lambda: Boundary(rate=0.5), "rate is 0.5"),
        (lambda: Pointwise(rounds=0), "rounds is 0"),
        (lambda: Pointwise(precision=0.0), "precision is 0.0"),
        (lambda: Pointwise(reach=0.0), "reach is 0.0"),
        (lambda: HopSkipJump(first=0), "first is 0"),
        (lambda: HopSkipJump(first=10, most=9), "most is 9: give 10 or more"),
        (lambda: HopSkipJump(precision=0.0), "precision is 0.0"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()


@each
def test_a_box_without_ends_is_refused(attack):
    if isinstance(attack, Noise) and attack.noise != "salt_and_pepper":
        return
    x, y = data()
    with pytest.raises(InputError, match="finite box"):
        attack(plane(), x, y, L2(0.5), box=(-inf, inf))


@each
def test_what_is_no_ball_is_refused(attack, monkeypatch):
    monkeypatch.setattr(Linf, "at", lambda self, x, box: NoBall(x))
    x, y = data()
    with pytest.raises(InputError, match="needs a ball"):
        attack(plane(), x, y, Linf(0.5))


def test_attacks_are_values():
    for attack in ATTACKS:
        described = attack.describe()
        assert (
            type(attack)(**{k: v for k, v in described.items() if k not in ("attack", "kind")})
            == attack
        )
        assert attack.kind == "free"
