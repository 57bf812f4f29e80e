"""Radius runs: closed forms, honest numbers, what the judge lets pass, resuming, verifying."""

import dataclasses
import json
from math import inf, isinf

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from safetensors.torch import load_file, save_file
from torch import nn

import hauberk as hb
from hauberk.engine.outcome import Outcome
from hauberk.evaluation.core.verify import verify
from hauberk.evaluation.radii.result import Radii, RadiiSet
from hauberk.solvers import SOLVERS, serving, solver_class, solver_for
from hauberk.solvers.base import Solver
from hauberk.solvers.fab import FAB
from hauberk.solvers.fmn import FMN
from hauberk.threats.measured import Measured
from hauberk.threats.metric import Metric
from hauberk.victims.victim import Victim

WIDE = (-50.0, 50.0)
DUAL = {"linf": 1, "l2": 2, "l1": inf, "l3": 1.5}


def linear(classes=2, features=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    net = nn.Linear(features, classes, dtype=dtype)
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype)
    return net


def examples(net, n=12, shape=(6,), seed=1, wrong=()):
    generator = torch.Generator().manual_seed(seed)
    dtype = next(net.parameters()).dtype
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        y = net(x).argmax(1)
    y[list(wrong)] = (y[list(wrong)] + 1) % net(x).shape[1]
    return x, y


def closed(net, x, y, dual):
    """Distance to the nearest boundary of a linear model in an unbounded box."""
    with torch.no_grad():
        z, rows = net(x).double(), net.weight.double()
    gaps = z.gather(1, y[:, None]) - z
    slopes = torch.stack([(rows[y] - row).norm(p=dual, dim=1) for row in rows], 1)
    ratio = (gaps / slopes).scatter(1, y[:, None], inf)
    return ratio.amin(1).clamp_min(0)


@pytest.mark.parametrize("metric", DUAL)
@pytest.mark.parametrize("classes", [2, 4])
def test_linear_models_have_their_closed_form(metric, classes):
    net = linear(classes)
    x, y = examples(net, wrong=[3])
    found = hb.radius(net, x, y, metric, solver="fab", budget=400, box=WIDE)
    assert isinstance(found, Radii)
    expected = closed(net, x, y, DUAL[metric])
    assert (expected[3], found.distance[3]) == (0, 0)
    # FAB steps a little over the boundary, and on a plane stays there.
    assert torch.allclose(found.distance, expected, rtol=1e-2)
    assert bool((found.distance >= expected * (1 - 1e-9)).all())
    assert found.points.dtype == torch.float64
    assert found.found.tolist() == found.correct.tolist()
    moved = (found.points - x).norm(p=Metric(float(metric[1:])).p, dim=1)
    assert torch.allclose(moved, found.distance)
    assert found.solver == ["" if i == 3 else "FAB" for i in range(12)]
    assert bool((net(found.points).argmax(1) != y)[found.correct].all())


def test_misclassified_examples_cost_nothing_and_stay_where_they_are():
    net = linear(dtype=torch.float32)
    x, y = examples(net, wrong=range(12))
    found = hb.radius(net, x, y, "l2", solver="fmn", budget=100, box=WIDE)
    assert found.distance.tolist() == [0] * 12
    assert int(found.forwards.sum() + found.backwards.sum()) == 0
    assert torch.equal(found.points, x)
    assert not found.found.any()
    assert found.summary["cost"]["forwards"] == 12
    assert found.summary["clean_accuracy"] == 0


def test_the_solver_sees_only_what_the_model_gets_right():
    net = linear()
    x, y = examples(net, wrong=[0, 5])
    seen = []

    class Spy(FMN):
        def run(self, victim, job):
            seen.append((job.x.clone(), job.ids.tolist()))
            return super().run(victim, job)

    ids = torch.arange(100, 112)
    hb.radius(net, x, y, "l2", solver=Spy(steps=5), box=WIDE, ids=ids)
    ((given_x, given_ids),) = seen
    right = [i for i in range(12) if i not in (0, 5)]
    assert torch.equal(given_x, x[right])
    assert given_ids == [100 + i for i in right]


def test_the_union_radius_is_the_least_over_its_balls():
    net = linear(3)
    x, y = examples(net, wrong=[2])
    union = hb.Union(hb.Linf(0.3), hb.L2(0.5), hb.L1(1.0))
    every = hb.radius(net, x, y, ["l1", union], solver="fab", budget=200, box=WIDE)
    assert isinstance(every, RadiiSet)
    assert list(every) == ["l1", "linf", "l2", "union"]
    found = every["union"]
    scales = torch.stack(
        [every[m].distance / eps for m, eps in (("linf", 0.3), ("l2", 0.5), ("l1", 1.0))]
    )
    assert torch.equal(found.distance, scales.amin(0))
    names = [str(ball) for ball in union.parts]
    for i, nearest in enumerate(found.nearest):
        assert nearest == ("" if i == 2 else names[int(scales[:, i].argmin())])
        if i != 2:
            ball = union.parts[names.index(nearest)].scaled(float(found.distance[i]) * (1 + 1e-9))
            assert bool(ball.contains(x[i : i + 1], found.points[i : i + 1], box=WIDE))
    assert found.distance[2] == 0
    exact = torch.stack(
        [closed(net, x, y, DUAL[m]) / e for m, e in (("linf", 0.3), ("l2", 0.5), ("l1", 1.0))]
    ).amin(0)
    assert torch.allclose(found.distance, exact, rtol=1e-2)
    alone = hb.radius(net, x, y, union, solver="fab", budget=200, box=WIDE)
    assert isinstance(alone, Radii)
    assert torch.equal(alone.distance, found.distance)
    assert set(alone.parts) == {"linf", "l2", "l1"}
    assert "nearest ball" in alone.table()


def beyond_reach():
    """Label 0 for good at feature 0 above 0.5, for which no point of the box makes up."""
    net = nn.Linear(2, 2, dtype=torch.float64)
    net.weight.data = torch.tensor([[0.0, 0.0], [-1.0, 0.1]], dtype=torch.float64)
    net.bias.data = torch.tensor([0.0, -0.2], dtype=torch.float64)
    return net


def test_what_is_not_found_is_infinite_and_said_so():
    net = beyond_reach()
    x = torch.rand(5, 2, dtype=torch.float64)
    y = torch.zeros(5, dtype=torch.int64)
    found = hb.radius(net, x, y, "linf", solver="fmn", budget=50)
    assert found.distance.tolist() == [inf] * 5
    assert not found.found.any()
    assert found.solver == [""] * 5
    assert torch.equal(found.points, x)
    assert set(found.quantiles().values()) == {inf}
    assert (found.largest, found.mean, found.mean_is_bound) == (0, 0, True)
    assert found.accuracy(1e9) == 1
    assert found.summary["metrics"]["linf"]["unfound"] == 5
    shown = found.table()
    assert "> 0" in shown
    assert "none" in shown


def radii_of(distance, correct=None):
    distance = torch.tensor(distance, dtype=torch.float64)
    n = len(distance)
    right = distance > 0 if correct is None else torch.tensor(correct)
    return Radii(
        metric="l2", ids=torch.arange(n), correct=right, found=right & (distance < inf),
        distance=distance, solver=[""] * n, forwards=torch.zeros(n), backwards=torch.zeros(n),
    )  # fmt: skip


def test_quantiles_are_radii_of_examples_and_infinite_beyond_those_found():
    found = radii_of([0.0, 3.0, 1.0, inf, 2.0, inf, 4.0, 5.0, 6.0, 7.0])
    assert found.quantiles((0, 0.1, 0.11, 0.5, 0.8, 0.81, 1)) == {
        0: 0.0, 0.1: 0.0, 0.11: 1.0, 0.5: 4.0, 0.8: 7.0, 0.81: inf, 1: inf,
    }  # fmt: skip
    assert found.median == 4
    assert found.largest == 7
    assert found.mean == pytest.approx((0 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 7 + 7) / 10)
    assert found.mean_is_bound
    assert not radii_of([1.0, 2.0]).mean_is_bound
    with pytest.raises(hb.InputError, match="shares in"):
        found.quantiles((1.5,))


ROWS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, inf]), min_size=1, max_size=30)


@given(ROWS, st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0, 3.0]), min_size=1, max_size=4))
def test_accuracies_curves_and_areas_agree_with_counting(row, sizes):
    found, n = radii_of(row), len(row)
    counted = [sum(r > eps for r in row) / n for eps in sizes]
    assert [found.accuracy(eps) for eps in sizes] == counted
    assert found.accuracy(torch.tensor(sizes)).tolist() == counted
    clean = sum(r > 0 for r in row) / n
    assert found.average_robust_accuracy(sizes) == pytest.approx(np.mean(counted))
    assert found.average_accuracy(sizes) == pytest.approx(np.mean([clean, *counted]))
    eps, accuracy = found.curve()
    assert eps[0] == 0
    assert bool((eps.diff() > 0).all())
    assert bool((accuracy.diff() <= 0).all())
    # The area under the staircase, step by step.
    top = 1.75
    ends = torch.cat((eps, eps.new_tensor([inf]))).clamp(max=top)
    assert found.area(top) == pytest.approx(float((ends.diff() * accuracy).sum()))
    counts, edges = found.histogram(7)
    assert (len(counts), len(edges)) == (7, 8)
    assert int(counts.sum()) == sum(0 < r < inf for r in row)
    for q, value in found.quantiles().items():
        assert sum(r <= value for r in row) / n >= q - 1e-9
        assert value in row


def test_sizes_that_make_no_sense_are_refused():
    found = radii_of([1.0, 2.0])
    for call in (
        lambda: found.accuracy(-1.0), lambda: found.accuracy(float("nan")),
        lambda: found.area(inf), lambda: found.average_accuracy([]), lambda: found.histogram(0),
        lambda: found.points,
    ):  # fmt: skip
        with pytest.raises(hb.InputError):
            call()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(Solver):
    """Claims a point of the tester's own."""

    make: object = None
    by: tuple | None = None

    def serve(self, metric):
        return metric

    passes = 5

    def within(self, budget, classes):
        return self

    def run(self, victim, job):
        n = len(job)
        outcome = Outcome(
            points=self.make(job.x), loss=torch.zeros(n), fooled=torch.ones(n, dtype=torch.bool),
            distance=torch.full((n,), 1e-6, dtype=torch.float64), attempt=torch.zeros(n),
            forwards=torch.full((n,), 3), backwards=torch.full((n,), 2),
        )  # fmt: skip
        return outcome if self.by is None else dataclasses.replace(outcome, by=self.by)


@pytest.mark.parametrize(
    "make", [lambda x: x + 1000, lambda x: x, lambda x: x * torch.nan, lambda x: x + inf]
)
def test_points_outside_the_box_or_decided_rightly_are_rejected(make):
    net = linear()
    x, y = examples(net, n=6, wrong=[1])
    found = hb.radius(net, x, y, "l2", solver=Fixed(make=make), box=WIDE)
    assert found.rejected == 5
    assert found.summary["rejected"] == 5
    assert [isinf(d) for d in found.distance] == [i != 1 for i in range(6)]
    assert not found.found.any()
    assert bool(found.points.isfinite().all())
    assert "the judge did not: 5" in found.table()


def test_distances_are_measured_again_and_passes_reported():
    net = linear()
    x, y = examples(net, n=4)
    with torch.no_grad():
        way = (net.weight[1] - net.weight[0]) * 20 * (1 - 2 * y[:, None])
    solver = Fixed(make=lambda x: x + way, by=("A", "B", None, "A"))
    found = hb.radius(net, x, y, "l2", solver=solver, box=(-1000, 1000))
    assert found.rejected == 0
    assert torch.allclose(found.distance, way.norm(dim=1))
    assert found.solver == ["A", "B", "Fixed", "A"]
    assert found.forwards.tolist() == [3] * 4
    cost = found.summary["cost"]
    assert (cost["forwards"], cost["backwards"], cost["judge_forwards"]) == (4 + 12, 8, 4)
    assert found.summary["metrics"]["l2"]["solvers"] == {"A": 2, "B": 1, "Fixed": 1}


def test_a_measured_distance_of_any_size_is_a_metric():
    net = linear()
    x, y = examples(net, n=4)
    with torch.no_grad():
        way = (net.weight[1] - net.weight[0]) * 20 * (1 - 2 * y[:, None])
    double = Measured(lambda a, b: 2 * (a - b).flatten(1).norm(dim=1), eps=0.1, name="double")
    solver = Fixed(make=lambda x: x + way)
    found = hb.radius(net, x, y, double, solver=solver, box=(-1000, 1000))
    assert found.metric == "double"
    assert torch.allclose(found.distance, 2 * way.norm(dim=1))
    assert double.eps == 0.1


def interrupted(calls):
    def progress(event):
        calls.append(event.done)
        if event.done > 0.5:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_resumes_to_the_same_arrays(tmp_path):
    net = linear(3)
    x, y = examples(net, n=10, wrong=[4, 5, 6, 7])  # a whole block of errors
    settings = {"solver": "fmn", "budget": 60, "box": WIDE, "seed": 3, "block": 4}
    whole = hb.radius(net, x, y, ["l2", "l1.5"], **settings)
    out, calls = tmp_path / "run", []
    with pytest.raises(KeyboardInterrupt):
        hb.radius(net, x, y, ["l2", "l1.5"], out=out, progress=interrupted(calls), **settings)
    kept = sorted(path.name for path in (out / "parts").glob("radius-*.parquet"))
    assert 0 < len(kept) < 6
    assert calls == sorted(calls)
    assert not (out / "summary.json").exists()
    assert verify(out, net).finished is False
    before = [(out / "parts" / name).read_bytes() for name in kept]
    with pytest.raises(hb.InputError, match="other settings"):
        hb.radius(net, x, y, ["l2", "l1.5"], out=out, resume=True, **{**settings, "budget": 61})
    again = hb.radius(net, x, y, ["l2", "l1.5"], out=out, resume=True, **settings)
    assert before == [(out / "parts" / name).read_bytes() for name in kept]
    for name in ("l2", "l1.5"):
        for field in ("distance", "points", "found", "correct", "forwards", "backwards", "ids"):
            assert torch.equal(getattr(whole[name], field), getattr(again[name], field)), field
        assert whole[name].solver == again[name].solver
    assert json.loads((out / "summary.json").read_text())["metrics"]["l2"]["found"] == 6


def test_batch_sizes_and_selections_do_not_change_radii():
    net = linear(3)
    x, y = examples(net, n=9)
    settings = {"solver": "fmn", "budget": 60, "box": WIDE}
    one = hb.radius(net, x, y, "l2", **settings)
    two = hb.radius(net, x, y, "l2", batch_size=2, **settings)
    some = hb.radius(net, x[4:6], y[4:6], "l2", ids=torch.tensor([4, 5]), **settings)
    assert torch.allclose(one.distance, two.distance, rtol=1e-9)
    assert torch.allclose(one.distance[4:6], some.distance, rtol=1e-9)
    assert some.ids.tolist() == [4, 5]


def test_images_and_float32_keep_shape_and_dtype():
    net = nn.Sequential(nn.Flatten(), linear(3, 8, dtype=torch.float32))
    x, y = examples(net, n=1, shape=(2, 2, 2))
    found = hb.radius(net, x, y, "linf", solver="fab", budget=100, box=WIDE)
    assert found.points.shape == x.shape
    assert found.points.dtype == torch.float32
    assert found.distance.dtype == torch.float64
    assert len(found) == 1


class Tampered:
    """A finished run, to change something in."""

    def __init__(self, folder):
        self.net = linear()
        self.x, self.y = examples(self.net, n=5, wrong=[2])
        self.out = folder / "run"
        hb.radius(
            self.net, self.x, self.y, ["l2", hb.Union(hb.Linf(0.5), hb.L2(1.0))], out=self.out,
            solver="fab", budget=100, box=WIDE, eps={"l2": [0.5]},
        )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    return Tampered(tmp_path)


def test_verify_confirms_every_point(run):
    found = verify(run.out, run.net)
    assert found.ok, str(found)
    assert (found.points, found.confirmed) == (8, 8)
    other = verify(run.out, linear(seed=7))
    assert not other.ok
    assert other.refuted


def test_verify_refutes_points_that_were_moved(run):
    file = run.out / "parts" / "radius-l2-00000.safetensors"
    points = load_file(file)["points"]
    points[0] = run.x[0]
    points[1] += 100
    points[2] = run.x[3] + 1.1 * (points[2] - run.x[3])  # still wrong, but further away
    save_file({"points": points}, file)
    found = verify(run.out, run.net)
    assert [point.id for point in found.refuted] == [0, 1]
    assert "for its label" in found.refuted[0].reason
    assert "leaves the box" in found.refuted[1].reason
    assert "example 3 has another distance than recorded" in " ".join(found.problems)


def test_verify_finds_changed_summaries_and_unreadable_metrics(run):
    file = run.out / "summary.json"
    told = json.loads(file.read_text())
    told["metrics"]["l2"]["median"] = 99.0
    file.write_text(json.dumps(told))
    (problem,) = verify(run.out, run.net).problems
    assert "metrics.l2.median" in problem
    with pytest.raises(hb.InputError, match="does not exist"):
        verify(run.out / "nowhere", run.net)


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("l7x", {}, "write linf, l2"),
        ([], {}, "no metric"),
        (["l2", "l2"], {}, "name each once"),
        (hb.L2(1.0), {}, "has a size"),
        (3.0, {}, "is no metric"),
        ([3.0], {}, "is no metric"),
        (hb.Union(hb.L2(1.0), hb.RotationTranslation(10, 1)), {}, "balls of sizes above 0"),
        ([hb.Union(hb.L2(1.0)), hb.Union(hb.L2(2.0))], {}, "two unions"),
        ("l2", {"solver": "nothing"}, "choose one of .*fmn"),
        ("l2", {"solver": 3}, "give a name"),
        ("l1", {"solver": "ddn"}, "solvers for l1: .*fab"),
        ("l2", {"budget": 1}, "too small"),
        ("l2", {"budget": 0}, "1 or more"),
        ("l2", {"budget": 2.5}, "1 or more"),
        ("l2", {"eps": {"l1": [1]}}, "the run has l2"),
        ("l2", {"eps": [-1]}, "0 or more"),
        ("l2", {"resume": True}, "give out="),
        ("l2", {"ids": torch.zeros(3)}, "different integers"),
    ],
)
def test_bad_input_is_one_sentence(metric, options, message, tmp_path):
    net = linear()
    x, y = examples(net, n=3)
    if "resume" not in options:
        options = {**options, "out": tmp_path / "run"}
    with pytest.raises(hb.InputError, match=message):
        hb.radius(net, x, y, metric, **{"solver": "fmn", "budget": 30, "box": WIDE, **options})
    assert not (tmp_path / "run").exists()


class Noisy(nn.Module):
    """A linear model whose output changes from call to call."""

    def __init__(self):
        super().__init__()
        self.net = linear(dtype=torch.float32)

    def forward(self, x):
        return self.net(x) + 0.05 * torch.randn(len(x), 2)


def test_a_model_with_random_numbers_is_averaged_and_verified(tmp_path):
    net = Noisy()
    x, y = examples(net.net, n=4)
    with pytest.warns(hb.HauberkWarning, match="changes between identical calls"):
        found = hb.radius(net, x, y, "l2", solver="fmn", budget=40, box=WIDE, out=tmp_path / "r")
    assert found.found.all()
    assert found.summary["cost"]["judge_forwards"] == 40  # ten draws each
    assert int(found.forwards.min()) >= 100
    assert verify(tmp_path / "r", net).ok


def test_an_empty_batch_is_refused():
    with pytest.raises(hb.InputError, match="no examples"):
        hb.radius(linear(), torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64), "l2")


def test_a_set_names_its_metrics():
    net = linear()
    x, y = examples(net, n=3)
    found = hb.radius(net, x, y, ["l2"], solver="fmn", budget=30, box=WIDE)
    assert found[Metric(2)] is found["l2"]
    assert found.get("l1") is None
    with pytest.raises(hb.InputError, match="it has l2"):
        found["l1"]
    assert "median" in str(found)


def test_sizes_are_told_in_the_summary():
    net = linear()
    x, y = examples(net, n=8, wrong=[0])
    found = hb.radius(net, x, y, "l2", solver="fab", budget=60, box=WIDE, eps=[0.25, 1.0])
    told = found.summary["metrics"]["l2"]
    assert told["accuracies"] == {"0.25": found.accuracy(0.25), "1.0": found.accuracy(1.0)}
    assert told["average_accuracy"] == found.average_accuracy([0.25, 1.0])
    assert told["average_robust_accuracy"] == found.average_robust_accuracy([0.25, 1.0])
    assert told["curve"]["accuracy"][0] == found.accuracy(0.0)
    for word in ("AvgAcc", "AvgRobAcc", "0.25", "FAB 7"):
        assert word in found.table()


@pytest.mark.parametrize("name", SOLVERS)
def test_every_listed_solver_can_be_had(name):
    made = solver_class(name)
    assert issubclass(made, Solver)
    served = [metric for metric in ("linf", "l2", "l1", "l0") if name in serving(metric_of(metric))]
    assert served
    solver = solver_for(name, metric_of(served[0]), 2000, 10)
    assert isinstance(solver, made)
    assert solver.passes * solver.attempts(10) <= 2000


def metric_of(name):
    return Metric(float(name[1:]))


def test_solvers_are_offered_for_the_metrics_that_they_serve():
    assert {"fmn", "fab", "ddn"} <= set(serving(Metric(2)))
    assert "ddn" not in serving(Metric(1))
    given_one = FAB(steps=3)
    assert solver_for(given_one, Metric(2), 1, 10) is given_one
    assert solver_for("fmn", Metric(2), 100, 10, soften=0.2).soften == 0.2


def test_a_victim_counts_its_passes_as_before():
    victim = Victim(linear())
    x, y = examples(victim.model, n=3)
    hb.radius(victim, x, y, "l2", solver="fmn", budget=41, box=WIDE)
    assert victim.backwards >= 20 * 3
