"""How far outside the threat a search ended, before its point was moved inside."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.models import Linear
from helpers.perceptual import ellipsoid, linear, middle, shear

import hauberk as hb
from hauberk.attacks import APGD, LPA, PGD, PWCF, Attack, Boundary, FastLPA, RandomSearch
from hauberk.engine import loop
from hauberk.engine.state import State
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.fab import FAB
from hauberk.threats import L0, L1, L2, Linf, Measured, RotationTranslation


@dataclass(frozen=True, kw_only=True)
class Stray(Attack[State]):
    """Walks away along the first feature by 0.1 a step, and says which points lie inside."""

    def init(self, problem):
        self.see(problem, state := State(u=problem.start()))
        return state

    def step(self, problem, state, response):
        first = torch.nn.functional.one_hot(torch.zeros(1).long(), 4).double()
        state.u = state.u + 0.1 * first
        self.see(problem, state)
        return state

    def see(self, problem, state):
        state.feasible = problem.region.contains(state.u)


def model_of(features=4):
    model = Linear(features, seed=3, dtype=torch.float64)
    return model, torch.full((3, features), 0.4).double()


@pytest.mark.parametrize(
    ("threat", "beyond"),
    [(Linf(0.05), 0.25), (L2(0.1), 0.2), (Linf(0.3001), 0.0), (Linf(1.0), 0.0)],
)
def test_it_is_the_distance_of_the_last_point_beyond_the_size(threat, beyond):
    model, x = model_of()
    y = model(x).argmax(1)
    found = Stray(steps=3)(model, x, y, threat, stop=False)
    expected = torch.full((3,), beyond).double()
    torch.testing.assert_close(found.violation, expected, rtol=1e-6, atol=1e-9)
    assert threat.contains(x, found.points).all()


def test_the_box_counts_as_well():
    model, x = model_of()
    y = model(x).argmax(1)
    found = Stray(steps=9)(model, x, y, Linf(0.85), stop=False)
    torch.testing.assert_close(found.violation, torch.full((3,), 0.3).double())


def test_slots_that_leave_one_by_one_have_their_own_last_point():
    """With a small batch, slots of different clocks run side by side."""
    model, x = model_of()
    x = x.repeat(4, 1)
    y = model(x).argmax(1)
    for steps in (1, 2, 5):
        found = Stray(steps=steps, restarts=2)(model, x, y, Linf(0.05), stop=False, batch_size=5)
        torch.testing.assert_close(found.violation, torch.full((12,), 0.1 * steps - 0.05).double())


def test_what_stops_at_a_hit_ended_inside():
    model, x = model_of()
    y = 1 - model(x).argmax(1)  # wrong to begin with
    found = Stray(steps=3)(model, x, y, Linf(0.05))
    assert found.fooled.all()
    assert (found.violation == 0).all()


def test_a_hit_ends_a_search_even_if_the_host_looks_later(monkeypatch):
    """As on a GPU, whose host looks at every eighth step."""
    begin = loop._Run.__init__

    def later(self, *args):
        begin(self, *args)
        self.look_every = 8

    monkeypatch.setattr(loop._Run, "__init__", later)
    model, x = model_of()
    found = Stray(steps=3)(model, x, 1 - model(x).argmax(1), Linf(0.05))
    assert found.fooled.all()
    assert (found.violation == 0).all()


@dataclass(frozen=True, kw_only=True)
class Lost(Stray):
    """Is never inside."""

    def init(self, problem):
        state = super().init(problem)
        state.u = state.u - 0.9
        self.see(problem, state)
        return state


def test_a_search_that_never_was_inside_has_one_too():
    model, x = model_of()
    found = Lost(steps=2)(model, x, model(x).argmax(1), Linf(0.1), stop=False, box=(-1, 1))
    torch.testing.assert_close(found.violation, torch.full((3,), 0.8).double())
    assert torch.equal(found.points, x)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.2), L1(0.3), L0(2)], ids=str)
@pytest.mark.parametrize("attack", [APGD(steps=5), PGD(steps=5)], ids=["apgd", "pgd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projected_attacks_end_inside(attack, threat, dtype):
    model = Linear(8, seed=1, dtype=dtype)
    x = torch.rand(5, 8, generator=torch.manual_seed(0)).to(dtype)
    found = attack(model, x, model(x).argmax(1), threat, stop=False)
    assert (found.violation == 0).all()


def test_fast_lpa_ends_outside_where_lpa_is_moved_inside():
    model, x = linear(), middle()
    y = model(x).argmax(1)
    threat = Measured(ellipsoid(shear()), 0.05)
    options = {"price": 1e-9, "step_share": 2.0, "relative": False}
    out = FastLPA(steps=5, **options)(model, x, y, threat, stop=False)
    assert (out.violation > 0.01).all()
    inside = LPA(steps=10, outer=2)(model, x, y, threat, stop=False)
    assert (inside.violation == 0).all()


def test_pwcf_ends_where_its_last_solve_stood():
    model = Linear(8, seed=1, dtype=torch.float64)
    x = torch.rand(5, 8, generator=torch.manual_seed(0)).double()
    y = model(x).argmax(1)
    early = PWCF(steps=2, starts=1, noise=0.9)(model, x, y, L2(0.01), stop=False)
    assert (early.violation > 0).any()
    late = PWCF(steps=150, cap=1e6)(model, x, y, L2(0.3), stop=False)
    assert (late.violation < 1e-3).all()


def test_decision_attacks_and_solvers_end_at_their_wrong_point():
    model = Linear(8, seed=1, dtype=torch.float64, centre=0.5)
    x = 0.5 + 0.2 * torch.rand(5, 8, generator=torch.manual_seed(0)).double()
    y = model(x).argmax(1)
    radius = model.radius(x, y, 2)
    threat = L2(0.01)
    walked = Boundary(steps=60)(model, x, y, threat, stop=False)
    assert (walked.violation >= radius - 0.01 - 1e-6).all()
    found = AsAttack(solver=FAB(steps=20))(model, x, y, threat, stop=False)
    torch.testing.assert_close(found.violation, radius - 0.01, rtol=0.05, atol=1e-4)


def test_warps_and_random_search():
    model = Linear(16, seed=1)
    x = torch.rand(3, 1, 4, 4, generator=torch.manual_seed(0))
    found = RandomSearch(steps=3)(model, x, model(x).argmax(1), RotationTranslation(10, 1))
    assert (found.violation == 0).all()


def test_the_ledger_and_the_summary_say_so(tmp_path, capsys):
    model, x = linear(), middle()
    y = model(x).argmax(1)
    threat = Measured(ellipsoid(shear()), 0.05, name="mine")
    suite = {
        "out": FastLPA(steps=5, price=1e-9, step_share=2.0, relative=False),
        "in": LPA(steps=10, outer=2),
    }
    found = hb.evaluate(model, x, y, threat, suite=suite, out=tmp_path, all_attacks=True)
    rows = hb.evaluation.Ledger.open(tmp_path).rows("attack-")
    outside = rows["violation"][rows["task"] == "out"]
    assert (outside[~rows["broken"][rows["task"] == "out"].astype(bool)] > 0).any()
    assert np.all(rows["violation"][rows["task"] == "in"] == 0)
    attacks = found.summary["threats"]["mine:0.05"]["attacks"]
    assert attacks["out"]["violated"] == int((outside > 0).sum())
    assert "violated" not in attacks["in"]
    said = str(found.table())
    assert f"ended outside the threat: out under mine:0.05: {(outside > 0).sum()} of 6" in said
