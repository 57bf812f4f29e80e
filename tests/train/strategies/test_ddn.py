"""DDN training (Ding et al. 2020, appendix B.1): which points count, how long, and what is left."""

from dataclasses import replace

import pytest
import torch
from helpers.strategies import batch, digits, loss_of, net
from torch.nn import functional as F

import hauberk as hb
from hauberk.engine.outcome import Outcome
from hauberk.solvers.base import Solver
from hauberk.solvers.ddn import DDN
from hauberk.solvers.fab import FAB
from hauberk.threats.metric import Metric
from hauberk.train import DDNTraining


class Given(Solver):
    """The points that the test gives."""

    passes = 1

    def serve(self, metric):
        assert metric == Metric(2)
        return metric

    def within(self, budget, classes):
        return self

    def run(self, victim, job):
        delta = torch.zeros_like(job.x)
        delta[:, 0, 0, :2] = torch.tensor([0.3, 0.4])
        delta[2] *= 3
        fooled = torch.tensor([True, False, True])
        distance = delta.flatten(1).norm(dim=1).double()
        n = len(job.x)
        return Outcome(
            points=job.x + delta, loss=torch.zeros(n), fooled=fooled, distance=distance,
            attempt=torch.zeros(n), forwards=torch.zeros(n), backwards=torch.zeros(n),
        )  # fmt: skip


def test_the_loss_is_at_the_points_capped_and_on_the_clean_image_where_there_is_none():
    model = net()
    x, y = torch.zeros(3, 1, 8, 8) + 0.1, torch.tensor([1, 2, 3])
    found = loss_of(DDNTraining(hb.L2(1.0), solver=Given()), batch(model, x, y))
    want = x.clone()
    want[0, 0, 0, :2] += torch.tensor([0.3, 0.4])  # of length 0.5: as it is
    want[2, 0, 0, :2] += torch.tensor([0.6, 0.8])  # of length 1.5: scaled to 1
    torch.testing.assert_close(found.value, F.cross_entropy(model(want), y))
    assert (found.forwards, found.backwards) == (3, 3)
    assert float(found.logs["norm"]) == pytest.approx((0.5 + 0 + 1) / 3)
    assert float(found.logs["found"]) == pytest.approx(2 / 3)
    grads = torch.autograd.grad(found.value, list(model.parameters()))
    torch.testing.assert_close(
        grads, torch.autograd.grad(F.cross_entropy(model(want), y), list(model.parameters()))
    )


def test_points_are_those_of_ddn():
    model, (x, y) = net(), digits(12)
    given = batch(model, x, y)
    solver = DDN(steps=20)
    nearest = solver(model, x, y, "l2")
    cap = float(nearest.distance[nearest.distance > 0].median())
    found = loss_of(DDNTraining(hb.L2(cap), solver=solver), given)
    delta = nearest.points - x
    scale = (cap / nearest.distance.clamp_min(1e-30)).clamp(max=1).float().view(-1, 1, 1, 1)
    want = torch.where(nearest.fooled.view(-1, 1, 1, 1), x + delta * scale, x)
    torch.testing.assert_close(found.value, F.cross_entropy(model(want), y))
    far = F.cross_entropy(model(nearest.points), y)
    assert found.value.item() != pytest.approx(far.item())


def test_where_nothing_is_found_the_training_is_clean():
    model, (x, _) = net(), digits(12)
    right = model(x).argmax(1)
    strategy = DDNTraining(hb.L2(1.0), solver=DDN(steps=1, eps=1e-9, alpha=1e-9))
    found = loss_of(strategy, batch(model, x, right))
    torch.testing.assert_close(found.value, F.cross_entropy(model(x), right))
    assert float(found.logs["found"]) == 0


def test_as_published():
    strategy = DDNTraining(hb.L2(2.4))
    assert strategy.solver == DDN(steps=100, eps=1.0, gamma=0.05, alpha=1.0, loss="ce")
    assert strategy.threats == (hb.L2(2.4),)
    assert strategy.describe()["strategy"] == "DDNTraining"
    model, (x, y) = net(), digits(4)
    empty = loss_of(strategy, replace(batch(model, x, y), x=x[:0], y=y[:0], ids=y[:0]))
    assert empty.value.isfinite()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DDNTraining(hb.Linf(0.1)), "DDN training is in l2, not on linf:0.1"),
        (lambda: DDNTraining(hb.L2(0)), "l2 ball"),
        (lambda: DDNTraining(hb.L2(1) | hb.L2(2)), "l2 ball"),
        (lambda: DDNTraining(Metric(2)), "l2 ball"),
    ],
)
def test_what_is_no_l2_ball_is_refused(make, says):
    with pytest.raises(hb.InputError, match=says):
        make()


def test_another_solver_may_search():
    model, (x, y) = net(), digits(6)
    found = loss_of(DDNTraining(hb.L2(1.0), solver=FAB(steps=3, targets=2)), batch(model, x, y))
    assert found.value.isfinite()
