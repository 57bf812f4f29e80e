"""Auto-PGD in l1: larger balls first, in which nothing counts."""

import torch
from helpers.models import Linear
from helpers.oracles import judged, queries
from torch import nn

from hauberk.attacks import (
    APGD,
)
from hauberk.attacks.apgd_l1 import schedule
from hauberk.threats import L1


def asked_by(*args, **options):
    return torch.stack(queries(*args, **options))


def test_apgd_in_l1_walks_through_larger_balls():
    plan = schedule(100, 3)
    assert plan.enter.nonzero()[0].tolist() == [30, 60]
    assert (plan.phase[:30] == 0).all()
    assert (plan.phase[60:] == 2).all()
    for steps in range(1, 12):
        for phases in (1, 2, 3):
            plan = schedule(steps, phases)
            assert plan.phase[steps] == phases - 1  # the last look is in the threat itself
    model = Linear()
    x = torch.full((4, 20), 0.5)
    y = model(x).argmax(1)
    asked = asked_by(APGD(steps=10), L1(0.5), model, x, y)
    distance = (asked - x).abs().sum(2)
    assert (distance[:3] > 1.0).all()
    assert (distance[3:6] <= 1.0 + 1e-5).all()
    assert (distance[6:] <= 0.5 + 1e-5).all()
    asked = asked_by(APGD(steps=10, enlarge=(1,)), L1(0.5), model, x, y)
    assert ((asked - x).abs().sum(2) <= 0.5 + 1e-5).all()


def test_what_fools_in_a_larger_ball_alone_fools_nobody():
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
        model.bias.copy_(torch.tensor([2.5, 0.0]))
    x, y = torch.full((5, 4), 0.5), torch.zeros(5, dtype=torch.int64)  # 0.5 from the boundary
    for steps in (1, 2, 3, 10, 50):
        for stop in (True, False):
            out = APGD(steps=steps, restarts=2)(model, x, y, L1(0.4), stop=stop)
            assert not out.fooled.any()
            judged(model, L1(0.4), x, y, out)
    assert APGD(steps=50)(model, x, y, L1(0.51)).fooled.all()
