"""Radius runs: closed forms, honest numbers, what the judge lets pass, resuming, verifying."""

import json

import pytest
import torch
from helpers.models import Wrapped
from helpers.radii import DUAL, WIDE, closed, examples, linear
from safetensors.torch import load_file, save_file
from torch import nn

import hauberk as hb
from hauberk.evaluation.core.verify import verify
from hauberk.evaluation.radii.result import Radii
from hauberk.solvers import SOLVERS, serving, solver_class, solver_for
from hauberk.solvers.base import Solver
from hauberk.solvers.fab import FAB
from hauberk.threats.metric import Metric
from hauberk.victims.victim import Victim


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


@pytest.mark.filterwarnings("ignore:the images look normalised")
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


def test_a_run_by_name_warns_of_what_its_budget_cuts_off(tmp_path):
    net = linear()
    x, y = examples(net, n=3)
    found = hb.radius(net, x, y, "l2", solver="cw", budget=200, box=WIDE, out=tmp_path / "run")
    (warning,) = found.warnings
    assert warning.startswith("l2: a budget of 200 passes leaves cw 1 of 9 rounds of 100 of 1000")
    assert "17991 passes" in warning
    assert warning in found.table().replace("\n", " ").replace("  ", " ")
    assert verify(tmp_path / "run", net).ok
    for options in ({"solver": "fmn", "budget": 200}, {"solver": hb.solvers.CW(steps=9)}):
        assert hb.radius(net, x, y, "l2", box=WIDE, **options).warnings == []


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


def test_a_model_with_random_numbers_is_averaged_and_verified(tmp_path):
    net = Wrapped(linear(dtype=torch.float32), after=lambda z: z + 0.05 * torch.randn(len(z), 2))
    x, y = examples(net.model, n=4)
    with pytest.warns(hb.HauberkWarning, match="changes between identical calls"):
        found = hb.radius(net, x, y, "l2", solver="fmn", budget=40, box=WIDE, out=tmp_path / "r")
    assert found.found.all()
    assert found.summary["cost"]["judge_forwards"] == 40  # ten draws each
    assert int(found.forwards.min()) >= 100
    assert verify(tmp_path / "r", net).ok


def test_an_empty_batch_is_refused():
    with pytest.raises(hb.InputError, match="no examples"):
        hb.radius(linear(), torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64), "l2")


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
