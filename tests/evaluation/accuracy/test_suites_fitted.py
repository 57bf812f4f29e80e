"""The standard suite on tables and patches: masks, a size for each feature, rows of their own."""

import pytest
import torch
from tests.helpers.fits import cases, sizes
from tests.helpers.models import Linear
from torch import nn

import hauberk as hb
from hauberk.engine.targets import linearised
from hauberk.maths.norms import norm
from hauberk.threats.features import Features
from hauberk.victims.victim import Victim

CASES = cases()


def net(case, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(case.features, 16), nn.Tanh(), nn.Linear(16, 4))


@pytest.mark.parametrize(("name", "ball"), [("table", "l1:1"), ("patch", "linf:0.3")])
def test_a_suite_breaks_points_inside_and_leaves_the_rest(name, ball, tmp_path):
    case = CASES[name]
    model, x = net(case), case.inputs(4)
    y = model(x).argmax(1)
    fit = Features.of(case.options)
    own = torch.rand(x.shape, generator=torch.manual_seed(1)) > 0.4
    ball, other = hb.threat(ball).fitted(fit), hb.L2(0.6, mask=own)
    run = hb.evaluate(model, x, y, [ball, other], suite="standard", out=tmp_path / "run", block=3)
    ids, points = run.points(str(ball))
    length, stays = sizes(case, x[ids], points, ball.p)
    assert stays.all()
    assert (length <= ball.eps * (1 + 1e-12)).all()
    ids, points = run.points(str(other))
    assert not ((points != x[ids]) & ~own[ids]).any()
    assert (norm(points.double() - x[ids].double(), 2) <= 0.6).all()
    assert run.union_accuracy < 1
    assert hb.verify(tmp_path / "run", model).ok


def test_linearised_distances_are_those_of_the_features_that_may_change():
    case = CASES["table"]
    model, x = Linear(6, 4, seed=2), case.inputs(5)
    y = model(x).argmax(1)
    metrics = [hb.Metric(p, Features.of(case.options)) for p in (1, 2, torch.inf)]
    found = linearised(Victim(model), x, y, metrics, box=hb.Box(-99, 99))
    z, w = model(x).double(), model.weight.double()
    for metric, distances, dual in zip(metrics, found.distances, (torch.inf, 2, 1), strict=True):
        for place in range(3):
            aim = found.order[:, place]
            gap = z.gather(1, y[:, None]) - z.gather(1, aim[:, None])
            slope = (w[:, aim] - w[:, y]).T * case.scale * case.free
            exact = gap[:, 0] / torch.linalg.vector_norm(slope, ord=dual, dim=1)
            torch.testing.assert_close(
                distances[:, place], exact, rtol=1e-4, atol=1e-6, msg=str(metric)
            )
