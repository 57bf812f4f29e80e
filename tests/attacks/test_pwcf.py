"""PWCF inside a threat: linear optima, membership, and the cap on the loss."""

from math import inf, log

import pytest
import torch
from helpers import data
from helpers.models import Constant, Linear
from torch import nn

from hauberk import InputError
from hauberk.attacks import PGD
from hauberk.attacks.pwcf import PWCF
from hauberk.engine.state import BestSoFar, Clock, Response
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.threats import L0, L1, L2, Box, Linf, Lp, Measured, RotationTranslation

WIDE = (-50.0, 50.0)


def linear(features=8, dtype=torch.float64):
    return Linear(features, seed=1, dtype=dtype, drawn=torch.float64)


def inputs(n=5, shape=(8,), dtype=torch.float64):
    return data.inputs(n, shape, seed=2, dtype=dtype)


def sized(power):
    return lambda a, b: ((b - a).flatten(1) * power.to(b)).norm(dim=1)


BALLS = [(Linf(0.1), inf), (L2(0.3), 2), (L1(0.5), 1), (Lp(1.5, 0.4), 1.5), (Lp(3, 0.3), 3)]


EACH = [pytest.param(t, p, id=str(t)) for t, p in BALLS]


@pytest.mark.parametrize(("threat", "p"), EACH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_balls_reach_the_linear_optimum(threat, p, dtype):
    model, x = linear(dtype=dtype), inputs(dtype=dtype)
    y = model(x).argmax(1)
    # Far from the boundary, or the first point that fools would do.
    attack = PWCF(steps=150, cap=1e6)
    found = attack(model, x, y, threat, box=WIDE, stop=False)
    assert threat.at(x, Box(*WIDE)).contains(found.points).all()
    optimum = model.margin(x, y) + threat.eps * model.gain(p)
    reached = model.margin(found.points, y)
    rise = (reached - model.margin(x, y)) / (optimum - model.margin(x, y))
    assert (rise <= 1 + 1e-5).all()
    assert (rise >= 0.95).all(), rise


def test_a_measured_threat_reaches_the_linear_optimum():
    model, x = linear(), inputs()
    y = model(x).argmax(1)
    power = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    threat = Measured(sized(power), 0.3)
    found = PWCF(steps=150, cap=1e6)(model, x, y, threat, box=WIDE, stop=False)
    assert threat.at(x, Box(*WIDE)).contains(found.points).all()
    normal = (model.weight[:, 0] - model.weight[:, 1]).detach() / power
    rise = (model.margin(found.points, y) - model.margin(x, y)) / (0.3 * normal.norm())
    assert (rise <= 1 + 1e-9).all()
    assert (rise >= 0.95).all(), rise


@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_the_box_holds_where_it_cuts_the_ball(loss):
    model, x = linear(), inputs(6).round(decimals=1)
    y = model(x).argmax(1)
    threat = Linf(0.3)
    found = PWCF(steps=150, loss=loss, cap=1e6)(model, x, y, threat, stop=False)
    assert threat.at(x).contains(found.points).all()
    best = PGD(steps=50, loss=loss)(model, x, y, threat, stop=False)
    rise = model.margin(found.points, y) - model.margin(x, y)
    most = model.margin(best.points, y) - model.margin(x, y)
    assert (rise >= 0.9 * most).all(), rise / most


def test_it_fools_what_can_be_fooled_and_nothing_else():
    model, x = linear(), inputs(40)
    y = model(x).argmax(1)
    for threat, p in BALLS:
        found = PWCF(steps=80)(model, x, y, threat, box=WIDE)
        reach = model.margin(x, y) + threat.eps * model.gain(p)
        assert not found.fooled[reach < 0].any()
        clear = reach > 0.05 * threat.eps * model.gain(p)
        assert found.fooled[clear].all(), str(threat)
        assert (model.margin(found.points, y)[found.fooled] >= 0).all()


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.3)], ids=str)
def test_beyond_the_cap_there_is_nothing_to_gain(threat):
    x = inputs(4)
    attack = PWCF(cap=0.5)
    draws = Draws.of(0, torch.arange(4), 0, 0)
    asked = Problem(region=threat.at(x), y=torch.zeros(4).long(), target=None, draws=draws)
    state = attack.init(asked)
    grad = torch.ones_like(x)
    loss = torch.tensor([-3.0, 0.4, 0.6, 50.0]).double()
    response = Response(
        loss=loss, fooled=loss >= 0, gradient=grad, clock=Clock.zero(4), best=BestSoFar.none(x)
    )
    found = attack.values(asked.region, state, response)
    unit = grad.norm(dim=1)
    torch.testing.assert_close(found.f * unit, -loss.clamp(max=0.5))
    steep = found.slopes[:, 0].norm(dim=1)
    assert (steep[:2] > 0).all()
    assert (steep[2:] == 0).all()


def test_the_caps_by_default():
    assert PWCF()._cap == 0.01
    assert PWCF(loss="ce")._cap >= log(1000)
    assert PWCF(cap=3.0)._cap == 3.0


def test_a_bent_network_as_often_as_pgd():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 20), nn.ReLU(), nn.Linear(20, 4)).double()
    x = inputs(30, (1, 4, 4))
    y = net(x).argmax(1)
    for threat in (Linf(0.1), L2(0.4), L1(1.0)):
        found, other = PWCF(steps=100)(net, x, y, threat), PGD(steps=100)(net, x, y, threat)
        assert threat.at(x).contains(found.points).all()
        z = net(found.points)
        others = z.scatter(1, y[:, None], -inf).amax(1)
        assert (others >= z.gather(1, y[:, None]).squeeze(1))[found.fooled].all()
        assert found.fooled.sum() >= 0.85 * other.fooled.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ordinary_inputs(dtype):
    model, x = linear(12, dtype), inputs(4, (3, 2, 2), dtype)
    y = model(x).argmax(1)
    y[1] = 1 - y[1]
    threat = Linf(0.2)
    attack = PWCF(steps=30)
    found = attack(model, x, y, threat, seed=4)
    assert found.fooled[1]
    assert found.points.dtype == dtype
    one = attack(model, x[2:3], y[2:3], threat, seed=4, ids=torch.tensor([2]))
    assert one.fooled.tolist() == found.fooled[2:3].tolist()
    assert len(attack(model, x[:0], y[:0], threat)) == 0
    parts = attack(model, x, y, threat, seed=4, batch_size=3)
    assert torch.equal(parts.fooled, found.fooled)
    assert (found.forwards + found.backwards <= attack.passes).all()


def test_a_constant_model_and_a_ball_of_no_size():
    x = inputs(3)
    y = torch.tensor([0, 1, 0])
    for threat in (Linf(0.1), L2(0.0), Measured(sized(torch.ones(8)), 0.2)):
        found = PWCF(steps=20)(Constant(1.0, 0.0), x, y, threat)
        assert found.fooled.tolist() == [False, True, False]
        assert threat.at(x).contains(found.points).all()


def test_threats_without_a_distance_are_refused():
    model, x = linear(16), inputs(2, (1, 4, 4))
    for threat in (RotationTranslation(10, 1), L0(2)):
        with pytest.raises(InputError, match=r"needs a (threat with a differentiable )?distance"):
            PWCF()(model, x, model(x).argmax(1), threat)
