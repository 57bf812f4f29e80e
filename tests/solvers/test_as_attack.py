"""A solver as an attack: what lies in the ball fools, what lies beyond is projected."""

from math import inf

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear

from hauberk import InputError
from hauberk.solvers.anpgd import ANPGD
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.ddn import DDN
from hauberk.solvers.fab import FAB
from hauberk.solvers.fmn import FMN
from hauberk.threats import L1, L2, Linf, RotationTranslation

BOX = (-9.0, 9.0)


@pytest.mark.parametrize(("ball", "p"), [(Linf, inf), (L2, 2), (L1, 1)])
@pytest.mark.parametrize("solver", [FAB(steps=20), FMN(steps=100)], ids=["fab", "fmn"])
def test_it_fools_where_the_boundary_lies_in_the_ball(solver, ball, p):
    model = Linear(12, dtype=torch.float64)
    x = inputs(9, (12,), dtype=torch.float64)
    y = model(x).argmax(1)
    radius = model.radius(x, y, p, BOX)
    eps = float(radius.median()) * 1.02
    out = AsAttack(solver=solver)(model, x, y, ball(eps), box=BOX)
    clear = (radius - eps).abs() > 0.02 * eps
    assert clear.sum() >= 6
    assert torch.equal(out.fooled[clear], (radius <= eps)[clear])
    assert ball(eps).contains(x, out.points, box=BOX).all()
    assert torch.equal(out.fooled, model(out.points).argmax(1) != y)
    # The loss: by how much the ball is larger than the distance found.
    torch.testing.assert_close(out.loss[clear], (eps - radius)[clear], rtol=0, atol=0.02 * eps)


def test_it_costs_what_its_solver_costs():
    solver = FAB(steps=7, targets=2)
    attack = AsAttack(solver=solver)
    assert (attack.passes, attack.attempts(10)) == (solver.passes, solver.attempts(10))
    assert attack.describe()["solver"]["steps"] == 7


@pytest.mark.parametrize(
    ("solver", "threat", "says"),
    [
        (FAB(), RotationTranslation(), "needs an lp ball"),
        (DDN(), L1(1.0), "DDN does not measure in l1"),
    ],
)
def test_threats_that_its_solver_cannot_measure_are_refused(solver, threat, says):
    x = inputs(2, (1, 4, 4))
    with pytest.raises(InputError, match=says):
        AsAttack(solver=solver)(Linear(16), x, torch.tensor([0, 1]), threat)


def test_near_is_a_share_of_the_ball_within_which_fab_starts():
    x, y = inputs(4, (6,), dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    seen = []

    class Watch(Linear):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    model = Watch(6, dtype=torch.float64)
    for eps in (0.2, 0.8):
        seen.clear()
        attack = AsAttack(solver=FAB(steps=1, targets=0, restarts=2), near=0.5)
        attack(model, x, y, Linf(eps), box=BOX)
        starts = seen[0].view(2, 4, 6) - x
        far = starts.abs().amax(2)
        assert bool((far <= 0.5 * eps + 1e-9).all()), far
        assert bool((far > 0.25 * eps).all()), far  # of six features, the farthest
        assert not torch.equal(starts[0], starts[1])
    seen.clear()
    AsAttack(solver=FAB(steps=1, targets=0))(model, x, y, Linf(0.2), box=BOX)
    torch.testing.assert_close(seen[0][:4], x)


@pytest.mark.parametrize("wrong", [{"near": -0.5}, {"near": inf}, {"near": 0.5, "solver": DDN()}])
def test_near_is_for_fab(wrong):
    with pytest.raises(InputError, match="share of the radius"):
        AsAttack(**wrong)


def test_a_solver_must_look_for_points_that_fool():
    AsAttack(solver=ANPGD(boundary="decision"))
    with pytest.raises(InputError, match="boundary='decision'"):
        AsAttack(solver=ANPGD(boundary="soft_margin"))
