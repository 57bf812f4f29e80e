"""A solver as an attack: what lies in the ball fools, what lies beyond is projected."""

from math import inf

import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, Recorder

from hauberk import InputError
from hauberk.solvers.anpgd import ANPGD
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.ddn import DDN
from hauberk.solvers.fab import FAB
from hauberk.solvers.fmn import FMN
from hauberk.solvers.sigma_zero import SigmaZero
from hauberk.threats import L0, L1, L2, Linf, RotationTranslation

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


EARLY = [
    (DDN(steps=40), L2, 2),
    (FMN(steps=40), Linf, inf),
    (FAB(steps=20, targets=1), L1, 1),
    (SigmaZero(steps=40), L0, 0),
]


@pytest.mark.parametrize(("solver", "ball", "p"), EARLY)
def test_it_may_leave_as_soon_as_a_point_lies_in_the_ball(solver, ball, p):
    box = BOX if p else (0.0, 1.0)
    model = Recorder(Linear(12, dtype=torch.float64))
    x = inputs(9, (12,), dtype=torch.float64)
    y = model(x).argmax(1)
    radius = model.model.radius(x, y, p, box)
    eps = float(radius.median()) * (1.1 if p else 1)
    attack = AsAttack(solver=solver, early=True)
    late = AsAttack(solver=solver)(model, x, y, ball(eps), box=box)
    model.forwards = model.backwards = 0
    out = attack(model, x, y, ball(eps), box=box)
    assert 0 < out.fooled.sum() < 9
    assert torch.equal(out.fooled, late.fooled)
    assert ball(eps).contains(x, out.points, box=box).all()
    assert (model(out.points).argmax(1) != y)[out.fooled].all()
    assert (out.loss[out.fooled] >= 0).all()
    spent = out.forwards + out.backwards
    full = attack.passes + bool(solver.targets)
    assert (spent[~out.fooled] == full).all()
    assert (spent[out.fooled] < full / 2).any()
    assert int(spent.sum()) == model.forwards - 9 + model.backwards
    whole = attack(model, x, y, ball(eps), box=box, stop=False)
    assert (whole.forwards + whole.backwards == full).all()
    torch.testing.assert_close(whole.points, late.points)


def test_a_point_outside_of_the_ball_is_no_reason_to_leave():
    """DDN's first length overshoots; it comes back into the ball."""
    model = Linear(12, dtype=torch.float64)
    x = inputs(9, (12,), dtype=torch.float64)
    y = model(x).argmax(1)
    eps = float(model.radius(x, y, 2, BOX).max()) * 1.05
    out = AsAttack(solver=DDN(steps=100, eps=2 * eps), early=True)(model, x, y, L2(eps), box=BOX)
    assert out.fooled.all()
    assert (out.distance > 0.8 * eps).any()
    assert (out.forwards > 3).all()


def test_ddn_may_start_at_the_size_of_the_ball():
    x, y = inputs(4, (6,), dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    model = Recorder(Linear(6, dtype=torch.float64))
    AsAttack(solver=DDN(steps=2), near=0.5)(model, x, y, L2(0.4), box=BOX)
    fooled = model.model(x).argmax(1) != y
    moved = (model.asked[1] - x).norm(dim=1)
    first = torch.where(fooled, 0.95, 1.05).double() * 0.5 * 0.4
    torch.testing.assert_close(moved, first)


def test_ddn_goes_on_from_a_warm_point_at_its_distance():
    x, y = inputs(4, (6,), dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    model = Recorder(Linear(6, dtype=torch.float64))
    warm = (x + 0.1)[:, None]
    AsAttack(solver=DDN(steps=2), near=1.0, early=True)(
        model, x, y, L2(1e-3), box=BOX, warm=warm, has_warm=torch.ones(4, 1, dtype=torch.bool)
    )
    torch.testing.assert_close(model.asked[0], warm[:, 0])
    fooled = model.model(warm[:, 0]).argmax(1) != y
    moved = (model.asked[1] - x).norm(dim=1)
    torch.testing.assert_close(moved, torch.where(fooled, 0.95, 1.05).double() * 0.1 * 6**0.5)


@pytest.mark.parametrize("wrong", [{"near": -0.5}, {"near": inf}, {"near": 0.5, "solver": FMN()}])
def test_near_is_for_fab_and_ddn(wrong):
    with pytest.raises(InputError, match="share of the radius"):
        AsAttack(**wrong)


def test_a_solver_must_look_for_points_that_fool():
    AsAttack(solver=ANPGD(boundary="decision"))
    with pytest.raises(InputError, match="boundary='decision'"):
        AsAttack(solver=ANPGD(boundary="soft_margin"))
