"""The composition against exact radii, its budget, and what no example may have of another."""

from copy import deepcopy
from dataclasses import replace
from math import inf
from typing import ClassVar

import pytest
import torch
from helpers import data
from helpers.models import Constant, Linear, Recorder
from torch import nn

from hauberk import InputError
from hauberk.data import load_data
from hauberk.exact import solve as exact
from hauberk.maths.norms import norm
from hauberk.models.mlp import MLP
from hauberk.solvers.fmn import FMN
from hauberk.solvers.line_search import LineSearch
from hauberk.solvers.plans import plan
from hauberk.solvers.portfolio import Phase, Portfolio
from hauberk.threats import Linf, Measured, Metric, RotationTranslation
from hauberk.threats.base import Box

P = {"l0": 0, "l1": 1, "l1.5": 1.5, "l2": 2, "l3": 3, "linf": inf}
NORMS = ("l1", "l2", "linf")


def linear(features=8, classes=3, dtype=torch.float64):
    return Linear(features, classes, seed=1, dtype=dtype, drawn=torch.float64)


def inputs(n=5, shape=(8,), dtype=torch.float64, box=(-1.0, 2.0), seed=2):
    return data.inputs(n, shape, seed=seed, box=box, dtype=dtype)


def trained(classes, hidden=12, steps=120):
    """A small ReLU network, trained on the first digits in float64, and these digits."""
    data, rng = load_data("digits:train"), torch.Generator().manual_seed(0)
    keep = data.labels < classes
    x, y = data.images[keep][:400].double(), data.labels[keep][:400]
    model = MLP((64, hidden, classes)).double()
    with torch.no_grad():
        for layer in model.layers:
            for value in (layer.weight, layer.bias):
                noise = torch.rand(value.shape, generator=rng, dtype=torch.float64) * 2 - 1
                value.copy_(noise * layer.in_features**-0.5)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    right = model(x).argmax(1) == y
    return model.eval(), x[right], y[right]


@pytest.fixture(scope="module")
def nets():
    return {classes: trained(classes) for classes in (2, 3, 10)}


def check(found, model, x, y, p, box=(0.0, 1.0)):
    """The points are in the box, as far off as is said, and fool the model."""
    assert ((found.points >= box[0]) & (found.points <= box[1])).all()
    far = norm((found.points.double() - x.double()).flatten(1), p)
    torch.testing.assert_close(found.distance[found.fooled], far[found.fooled], rtol=0, atol=0)
    z = model(found.points)
    others = z.scatter(1, y[:, None], -inf).amax(1)
    margin = others - z.gather(1, y[:, None]).squeeze(1)
    rounding = 1e-12 if z.dtype == torch.float64 else 1e-5
    assert (margin >= -rounding * z.abs().amax(1))[found.fooled].all()
    assert [name is None for name in found.by] == (~found.fooled).tolist()


# Budget, classes, metric; how far above the exact radius the median and the worst may be.
CASES = [(300, c, m, 0.02, 1.1) for c in (2, 3, 10) for m in NORMS]
CASES += [(2000, 2, "l1", 1e-3, 1.05), (2000, 3, "l2", 1e-3, 1.05), (2000, 10, "linf", 1e-3, 1.05)]
CASES += [(2000, 10, "l1", 1e-3, 1.05)]
CASES += [(60, c, m, 0.2, 2.0) for c in (2, 3) for m in NORMS]


@pytest.mark.parametrize(("budget", "classes", "metric", "median", "worst"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_near_the_exact_radius_and_never_below(nets, budget, classes, metric, median, worst, dtype):
    model, x, y = nets[classes]
    x, y = x[:5], y[:5]
    true = exact.radius(model, x, y, metric)
    assert true.proven.all()
    there = deepcopy(model).to(dtype)
    found = Portfolio(budget=budget)(there, x.to(dtype), y, metric)
    check(found, there, x.to(dtype), y, P[metric])
    assert found.fooled.all()
    ratio = found.distance / true.distance
    # In single precision the boundary itself moves by the rounding of the logits.
    assert (ratio >= 1 - (1e-9 if dtype == torch.float64 else 1e-5)).all(), ratio - 1
    assert ratio.median() <= 1 + median, ratio
    assert (ratio <= worst).all(), ratio
    assert (found.forwards + found.backwards <= budget).all()


SPENT = [(b, c, m) for b in (60, 61, 300) for c in (2, 3, 10) for m in ("l0", *NORMS, "l3")]
SPENT += [(1000, 3, m) for m in ("l0", "l1.5", "l2")] + [(1000, 2, "linf"), (1000, 10, "l1")]


@pytest.mark.parametrize(("budget", "classes", "metric"), SPENT)
def test_passes_stay_within_the_budget_and_are_what_the_model_saw(budget, classes, metric):
    model = Recorder(linear(classes=classes))
    x = inputs(3)
    y = model.model(x).argmax(1)
    found = Portfolio(budget=budget)(model, x, y, metric, box=(-1, 2))
    assert (found.forwards + found.backwards <= budget).all()
    assert int(found.forwards.sum()) == model.forwards


@pytest.mark.parametrize("budget", [60, 80, 100])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("metric", ["l0", *NORMS])
def test_something_is_found_at_small_budgets_whatever_the_classes(budget, classes, metric):
    model, x = linear(classes=classes), inputs(4)
    y = model(x).argmax(1)
    assert Portfolio(budget=budget)(model, x, y, metric, box=(-1, 2)).fooled.all()


@pytest.mark.parametrize("budget", [-5, 0, 1, 10, 59])
def test_a_budget_too_small_is_refused(budget):
    x = inputs(2)
    with pytest.raises(InputError, match="too small"):
        Portfolio(budget=budget)(linear(), x, torch.zeros(2, dtype=torch.long), "l2", box=(-1, 2))


@pytest.mark.parametrize("other", [Linf(0.1), RotationTranslation(30, 3)], ids=str)
def test_threats_that_are_no_distances_are_refused(other):
    with pytest.raises(InputError, match="does not measure"):
        Portfolio()(linear(), inputs(1), torch.zeros(1, dtype=torch.long), other, box=(-1, 2))


@pytest.mark.parametrize("metric", ["l0", *NORMS])
def test_neighbours_and_batches_do_not_matter(nets, metric):
    model, x, y = nets[3]
    x, y, solver = x[:5], y[:5], Portfolio(budget=300)
    whole = solver(model, x, y, metric, seed=3)
    again = solver(model, x, y, metric, seed=3)
    assert torch.equal(whole.points, again.points)
    assert whole.by == again.by
    parts = solver(model, x, y, metric, seed=3, batch_size=2)
    torch.testing.assert_close(whole.distance, parts.distance, rtol=1e-6, atol=0)
    rows = torch.tensor([3, 1])
    some = solver(model, x[rows], y[rows], metric, seed=3, ids=rows)
    torch.testing.assert_close(whole.distance[rows], some.distance, rtol=1e-6, atol=0)
    assert torch.equal(whole.forwards, parts.forwards)
    assert torch.equal(whole.backwards[rows], some.backwards)


def test_random_starts_depend_on_seed_and_id(nets):
    model, x, y = nets[3]
    plan_ = (Phase(FMN(steps=20)), Phase(FMN(steps=2, alpha=3.0), start="near"))
    x, y, solver = x[:1].repeat(2, 1, 1, 1), y[:1].repeat(2), Portfolio(plan=plan_)
    same = solver(model, x, y, "l2", ids=torch.tensor([7, 7]))
    assert torch.equal(same.points[0], same.points[1])
    alone = solver(model, x[:1], y[:1], "l2", ids=torch.tensor([7]))
    torch.testing.assert_close(same.distance[:1], alone.distance, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("metric", "off"), [("l0", 0.5), ("l1.5", 0.01), ("l3", 0.01)])
def test_other_norms_reach_the_linear_radius(metric, off):
    model, x = linear(), inputs(6)
    y = model(x).argmax(1)
    true = model.radius(x, y, P[metric], (-1, 2))
    found = Portfolio(budget=600)(model, x, y, metric, box=(-1, 2))
    check(found, model, x, y, P[metric], (-1, 2))
    assert (found.distance >= true * (1 - 1e-9)).all()
    assert (found.distance <= true + (off if metric == "l0" else off * true)).all()


def test_a_measured_distance_reaches_the_linear_radius():
    model, x = linear(), inputs(5)
    y = model(x).argmax(1)
    weight = torch.linspace(0.5, 3, 8, dtype=torch.float64)
    ellipsoid = Measured(lambda a, b: ((b - a) * weight).flatten(1).norm(dim=1))
    true = model.radius(x, y, 2, (-1, 2), weight)
    found = Portfolio(budget=600)(model, x, y, ellipsoid, box=(-1, 2))
    assert found.fooled.all()
    assert (found.distance >= true * (1 - 1e-7)).all()
    assert (found.distance <= true * 1.03).all(), found.distance / true
    assert (found.forwards + found.backwards <= 600).all()


@pytest.mark.parametrize("metric", ["l0", *NORMS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_example_no_example_and_wrong_ones(metric, dtype):
    model, x = linear(dtype=dtype), inputs(3, dtype=dtype, box=(-1, 1))
    y = model(x).argmax(1)
    solver = Portfolio(budget=100)
    none = solver(model, x[:0], y[:0], metric, box=(-1, 1))
    assert len(none) == 0
    assert none.points.shape == (0, 8)
    one = solver(model, x[:1], y[:1], metric, box=(-1, 1))
    assert one.fooled.all()
    assert one.points.dtype == dtype
    check(one, model, x[:1], y[:1], P[metric], (-1, 1))
    y[1] = (y[1] + 1) % 3
    found = solver(model, x, y, metric, box=(-1, 1))
    assert found.fooled[1] & (found.distance[1] == 0)
    assert torch.equal(found.points[1], x[1])


def test_half_precision_inputs_and_a_box_of_tensors():
    model, x = linear(12, dtype=torch.float32), inputs(3, (3, 2, 2), torch.float32, (0, 1))
    x = x.half()
    y = model(x.float()).argmax(1)
    lo = torch.tensor([0.0, -1.0, -0.5]).view(3, 1, 1)
    box = Box(lo, lo + 2)
    found = Portfolio(budget=100)(model, x, y, "l2", box=box)
    assert found.fooled.all()
    assert ((found.points >= lo) & (found.points <= lo + 2)).all()
    assert (model(found.points.float()).argmax(1) != y).all()


@pytest.mark.parametrize("metric", ["l0", *NORMS, "l1.5"])
@pytest.mark.parametrize("detached", [False, True], ids=["zero", "none"])
def test_a_constant_model_yields_nothing(metric, detached):
    x = inputs(3)
    y = torch.tensor([0, 0, 1])
    found = Portfolio(budget=700 if metric == "l2" else 100)(
        Constant(1.0, 0.0, detached=detached), x, y, metric, box=(-1, 2)
    )
    assert found.fooled.tolist() == [False, False, True]
    assert found.by[0] is None
    assert torch.equal(found.points, x)
    assert (found.loss[:2] == -inf).all()
    assert found.attempt.tolist() == [-1, -1, 0]
    assert found.distance[2] == 0


class Stairs(nn.Module):
    """Hidden units that are 0 or 1: no gradient anywhere, but a radius that a grid can find."""

    def __init__(self, units=9):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.first = nn.Linear(2, units).double()
        self.last = nn.Linear(units, 2).double()
        with torch.no_grad():
            for layer in (self.first, self.last):
                for value in (layer.weight, layer.bias):
                    noise = torch.randn(value.shape, generator=rng, dtype=torch.float64)
                    value.copy_(noise)

    def forward(self, x):
        return self.last((torch.sign(self.first(x)) + 1) / 2)


@pytest.mark.parametrize("metric", NORMS)
def test_softened_gradients_see_through_masked_ones(metric):
    model, box = Stairs(), (-2.0, 2.0)
    line = torch.linspace(-2, 2, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    wrong = model(grid).argmax(1)
    x = inputs(12, (2,), box=box, seed=5)
    y = model(x).argmax(1)
    away = (grid[None] - x[:, None]).flatten(0, 1)
    far = norm(away, P[metric]).view(len(x), -1)
    true = torch.where(wrong[None] != y[:, None], far, inf).amin(1)
    assert true.isfinite().all()
    plain = FMN(steps=100)(model, x, y, metric, box=box)
    found = Portfolio(budget=300)(model, x, y, metric, box=box)
    check(found, model, x, y, P[metric], box)
    assert found.fooled.sum() > plain.fooled.sum()
    ratio = found.distance / true
    # A grid of 0.01 may miss the nearest point by its diagonal.
    assert (found.distance >= true - 0.02)[found.fooled].all()
    assert found.fooled.double().mean() >= 0.9
    # Plateaus are not convex: a nearer one may hide behind others.
    assert ratio[found.fooled].median() <= 2, ratio


def test_names_are_those_of_the_phases_and_a_plan_can_be_given(nets):
    model, x, y = nets[2]
    x, y = x[:4], y[:4]
    plan = (Phase(FMN(steps=40)), Phase(LineSearch(steps=10), start="best"))
    found = Portfolio(plan=plan)(model, x, y, "l2")
    assert set(found.by) <= {"FMN", "LineSearch"}
    alone = FMN(steps=40)(model, x, y, "l2")
    assert (found.distance <= alone.distance * (1 + 1e-9)).all()
    assert (found.forwards == 1 + 41 + 11).all()
    assert (found.backwards == 40).all()
    # Nothing to refine from: nothing is spent on it.
    lone = Portfolio(plan=plan[1:])(model, x, y, "l2")
    assert not lone.fooled.any()
    assert (lone.forwards == 1).all()


def test_more_phases_never_lose_what_was_found(nets):
    model, x, y = nets[10]
    x, y = x[:4], y[:4]
    first = Phase(FMN(steps=20, targets=2))
    before = Portfolio(plan=(first,))(model, x, y, "linf")
    for more in ("clean", "near", "best"):
        after = Portfolio(plan=(first, Phase(FMN(steps=6, targets=1), start=more)))(
            model, x, y, "linf"
        )
        assert (after.distance <= before.distance * (1 + 1e-12)).all()


class Watched(FMN):
    """FMN, noting the width of its gradients and where its searches begin."""

    seen: ClassVar[list[tuple[float, torch.Tensor]]] = []

    def init(self, problem):
        state = super().init(problem)
        self.seen.append((self.soften, state.u.clone()))
        return state


def watched(plan, model, x, y, **options):
    Watched.seen.clear()
    found = Portfolio(plan=plan)(model, x, y, "l2", **options)
    return found, list(Watched.seen)


def test_where_a_phase_begins(nets):
    model, x, y = nets[3]
    x, y = x[:4], y[:4]
    near = Phase(FMN(steps=30))
    first, _ = watched((near,), model, x, y)
    for start, begin in (("best", first.points), ("any", first.points), ("clean", x)):
        _, ((_, u),) = watched((near, Phase(Watched(steps=1), start=start)), model, x, y)
        torch.testing.assert_close(u, begin, rtol=1e-4, atol=1e-4)
    # The latest search was no nearer: its own points count for "last", not the best ones.
    shift = Phase(Watched(steps=2, alpha=3.0, gamma=0.9), start="clean")
    _, seen = watched((near, shift, Phase(Watched(steps=1), start="last")), model, x, y)
    alone = Watched(steps=2, alpha=3.0, gamma=0.9)(model, x, y, "l2")
    assert (alone.distance > first.distance * 1.01).any()
    torch.testing.assert_close(seen[1][1], alone.points[alone.fooled])


def test_nothing_found_leaves_out_best_and_last_but_not_any():
    model, x = Constant(1.0, 0.0), inputs(2)
    y = torch.zeros(2, dtype=torch.long)
    for start, count in (("best", 0), ("last", 0), ("any", 1)):
        plan = (Phase(FMN(steps=2)), Phase(Watched(steps=2), start=start))
        _, seen = watched(plan, model, x, y, box=(-1, 2))
        assert len(seen) == count
        if seen:
            assert torch.equal(seen[0][1], x)


def test_gradients_are_softened_where_softened_ones_found_the_nearer_points():
    model, box = Stairs(), (-2.0, 2.0)  # no gradients but softened ones
    x = inputs(3, (2,), box=box, seed=5)
    y = model(x).argmax(1)
    first = (Phase(FMN(steps=10)), Phase(FMN(steps=40, soften=0.1)))
    last = Phase(Watched(steps=2), start="best", either=0.25)
    found, seen = watched((*first, last), model, x, y, box=box)
    assert found.fooled.any()
    assert [width for width, _ in seen] == [0.25]
    smooth = linear()
    x = inputs(3)
    y = smooth(x).argmax(1)
    _, seen = watched((Phase(FMN(steps=40)), last), smooth, x, y, box=(-1, 2))
    assert [width for width, _ in seen] == [0.0]


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, inf])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_plans_keep_within_the_budget_whatever_is_found(p, classes):
    for budget in (60, 61, 199, 200, 300, 999, 1000, 2000):
        phases = plan(budget, classes, Metric(p))
        most = sum(phase.solver.passes * phase.solver.attempts(classes) for phase in phases)
        assert most + 2 <= budget
        assert most >= 0.9 * budget - 10 or budget < 300


def test_the_width_asked_for_scales_all_widths():
    usual, wide = plan(2000, 10, Metric(1)), plan(2000, 10, Metric(1), soften=0.2)
    widths = {phase.solver.soften for phase in usual}
    assert {0.5, 0.3, 0.2, 0.0} <= widths
    for one, other in zip(usual, wide, strict=True):
        assert other.solver.soften == pytest.approx(2 * one.solver.soften)
        assert replace(other.solver, soften=one.solver.soften) == one.solver
    sparse = [plan(300, 10, Metric(0), soften=soften)[-2].either for soften in (0.1, 0.2)]
    assert sparse == pytest.approx([0.3, 0.6])


def test_it_goes_by_the_name_best_and_takes_its_budget():
    model, x = linear(), inputs(3)
    y = model(x).argmax(1)
    solver = replace(Portfolio(), budget=100)
    assert solver.within(77, 3).budget == 77
    found = solver(model, x, y, "l2", box=(-1, 2))
    assert len(found.by) == 3
