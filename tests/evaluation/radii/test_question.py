"""What solvers are given, what of theirs counts, and how a run of radii resumes."""

import dataclasses
import json
from math import inf, isinf

import pytest
import torch
from helpers.radii import WIDE, examples, linear

import hauberk as hb
from hauberk.engine.outcome import Outcome
from hauberk.evaluation.core.verify import verify
from hauberk.solvers.base import Solver
from hauberk.solvers.fmn import FMN
from hauberk.threats.measured import Measured


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
