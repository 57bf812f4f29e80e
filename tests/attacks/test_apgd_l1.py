"""Auto-PGD in l1: larger balls first, in which nothing counts."""

import pytest
import torch
from helpers.models import Linear, network
from helpers.oracles import judged, queries
from torch import nn

from hauberk.attacks import (
    APGD,
)
from hauberk.attacks.apgd_l1 import schedule
from hauberk.threats import L1, Box


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


class Sparse:
    """The algorithm of Croce & Hein 2021, appendix, for one example, from its first point on."""

    def __init__(self, model, threat, x, y, steps):
        self.model, self.threat, self.x, self.y, self.steps = model, threat, x, y, steps
        self.d = x.numel()
        third = -(-3 * steps // 10)
        self.starts = [min(k * third, steps) for k in range(3)]
        self.resets = self.near = 0

    def look(self, u):
        v = u.clone().requires_grad_()
        z = self.model(v)[0]
        other = max((z[j] for j in range(len(z)) if j != self.y), key=float)
        loss = other - z[self.y]
        return float(loss.detach()), torch.autograd.grad(loss, v)[0]

    def changed(self, u, eps):
        return int(((u - self.x).abs() > 1e-6 * eps).sum())

    def walk(self, u):
        ends = [*self.starts[1:], self.steps + 1]
        phase, best, count, share, size = 0, None, self.d, 0.2, 1.0
        eps = 3 * self.threat.eps
        for t in range(self.steps + 1):
            yield u
            loss, grad = self.look(u)
            if best is None or loss > best[0]:
                best = (loss, u, grad)
            since, length = t - self.starts[phase], ends[phase] - self.starts[phase]
            if since and since % max(int(0.04 * length), 1) == 0:
                now = self.changed(best[1], eps)
                self.near += 0.95 * count <= now < 0.99 * count  # not sparse enough
                if now < 0.95 * count:  # sparser: back to the best point, with the full step
                    size, self.resets = 1.0, self.resets + 1
                    u, grad = best[1], best[2]
                else:
                    size = max(size / 1.5, 0.1)
                count, share = now, now / self.d / 1.5
            region = self.threat.scaled(eps / self.threat.eps).at(self.x, BOX)
            moved = region.ascent(u, grad, size * region.eps, torch.tensor([share]).to(u))
            if phase < 2 and t + 1 == self.starts[phase + 1]:
                phase += 1
                eps, size = (3 - phase) * self.threat.eps, 1.0
                region = self.threat.scaled(eps / self.threat.eps).at(self.x, BOX)
                u = region.project_(best[1].clone())
                count = self.changed(u, eps)
                best, share = None, count / self.d / 1.5
            else:
                u = region.project_(moved)


BOX = Box.of((-1.0, 2.0))


@pytest.mark.parametrize(("steps", "features", "seed"), [(7, 60, 3), (60, 60, 3), (60, 120, 4)])
def test_apgd_in_l1_goes_step_by_step_as_published(steps, features, seed):
    model = network(features, 20, 3, dtype=torch.float64)
    x = torch.rand(3, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = model(x).argmax(1)
    asked = asked_by(APGD(steps=steps), L1(2.0), model, x, y, box=(-1.0, 2.0))
    assert len(asked) == steps + 1
    resets = near = 0
    for i in range(3):
        oracle = Sparse(model, L1(2.0), x[i : i + 1], int(y[i]), steps)
        for t, wanted in enumerate(oracle.walk(asked[0, i : i + 1])):
            torch.testing.assert_close(asked[t, i : i + 1], wanted, rtol=0, atol=1e-6, msg=str(t))
        resets, near = resets + oracle.resets, near + oracle.near
    assert resets > 3
    assert near > 0 or features == 60
