"""Warm starts between the metrics of a run: whose points, in which order, and resumed."""

import shutil
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from helpers.radii import WIDE, examples, linear

import hauberk as hb
from hauberk.evaluation.core.verify import verify
from hauberk.evaluation.radii.question import found_before
from hauberk.maths.norms import norm
from hauberk.solvers.fmn import FMN
from hauberk.solvers.line_search import LineSearch
from hauberk.solvers.portfolio import Phase, Portfolio
from hauberk.store.ledger import MemoryLedger


class Noting(FMN):
    """FMN, noting what it is given to begin at, by metric."""

    from_others = True
    jobs: ClassVar[list] = []

    def run(self, victim, job):
        self.jobs.append(job)
        return super().run(victim, job)


def test_a_metric_begins_at_what_those_before_found_for_the_same_examples():
    net = linear(4)
    x, y = examples(net, n=7, wrong=[2])
    Noting.jobs.clear()
    found = hb.radius(net, x, y, ["l1", "linf", "l2"], solver=Noting(steps=30), box=WIDE, block=4)
    names = [str(job.threat) for job in Noting.jobs]
    assert names == ["linf", "l2", "l1"] * 2
    assert list(found) == ["l1", "linf", "l2"]  # as asked
    assert Noting.jobs[0].warm is None
    assert Noting.jobs[3].warm is None  # a block of its own
    for job, before in ((Noting.jobs[2], ["linf", "l2"]), (Noting.jobs[4], ["linf"])):
        for number, name in enumerate(before):
            rows = job.example_ids
            assert torch.equal(job.warm.points[:, number], found[name].points[rows])
            assert torch.equal(job.warm.mask[:, number], found[name].found[rows])


def test_points_go_to_the_examples_that_they_were_found_for():
    x, store = torch.arange(8.0).view(4, 2), MemoryLedger({})
    columns = {"id": [11, 7, 5], "broken": [True, False, True], "row": [0, -1, 1]}
    points = torch.tensor([[0.5, 0.6], [0.7, 0.8]])
    store.write("one", {k: np.array(v) for k, v in columns.items()}, {"points": points})
    block = SimpleNamespace(
        ids=torch.tensor([5, 7, 9, 11]), x=x, store=store, taken=[(None, "one", None)]
    )
    warm = found_before(block, torch.tensor([0, 1, 3]))
    assert warm.mask.tolist() == [[True], [False], [True]]
    assert torch.equal(warm.points[[0, 2], 0], points[[1, 0]])
    block.taken = []
    assert found_before(block, torch.tensor([0])) is None


def test_other_solvers_and_single_metrics_begin_at_the_clean_input():
    net = linear(4)
    x, y = examples(net, n=4)
    alone = hb.radius(net, x, y, "l1", solver="fmn", budget=60, box=WIDE)
    beside = hb.radius(net, x, y, ["linf", "l1"], solver="fmn", budget=60, box=WIDE)["l1"]
    assert torch.equal(alone.distance, beside.distance)


@pytest.mark.parametrize("budget", [60, 100, 300])
def test_order_resuming_and_verifying_make_no_difference(tmp_path, budget):
    net = linear(4, dtype=torch.float32)
    x, y = examples(net, n=6)
    options = {"budget": budget, "box": WIDE, "block": 3}
    whole = hb.radius(net, x, y, ["l0", "l1", "linf"], out=tmp_path / "run", **options)
    turned = hb.radius(net, x, y, ["linf", "l0", "l1"], **options)
    assert all(torch.equal(whole[name].points, turned[name].points) for name in whole)
    assert all((r.forwards + r.backwards <= budget).all() for r in whole.values())
    assert verify(tmp_path / "run", net).ok
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    for file in (tmp_path / "cut" / "parts").glob("radius-l0-*"):
        file.unlink()
    again = hb.radius(net, x, y, ["l0", "l1", "linf"], out=tmp_path / "cut", resume=True, **options)
    assert torch.equal(again["l0"].points, whole["l0"].points)
    assert again["l0"].solver == whole["l0"].solver


def test_the_nearest_warm_start_that_fools_is_kept_and_costs_a_pass():
    net = linear(2)
    x, y = examples(net, n=4)
    near = Portfolio(budget=100)(net, x, y, "l2", box=WIDE)
    far = x + 3 * (near.points - x)
    still = x + 0.5 * (near.points - x)  # fools nobody
    given = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    warm = torch.stack((far, near.points), 1)
    only = Portfolio(plan=(Phase(LineSearch(steps=1), start="best"),))
    kept = only(net, x, y, "l2", box=WIDE, warm=warm, has_warm=given)
    # Half of the far one fools as well.
    expected = torch.where(given[:, 1], near.distance, norm(far - x, 2) / 2)[:3]
    torch.testing.assert_close(kept.distance[:3], expected, rtol=1e-4, atol=0)
    turned = only(net, x, y, "l2", box=WIDE, warm=warm.flip(1), has_warm=given.flip(1))
    assert torch.equal(turned.points, kept.points)
    assert kept.by[0] == "warm start"
    assert kept.fooled.tolist() == [True, True, True, False]
    assert kept.forwards.tolist() == [1 + 1 + 2] * 3 + [1]  # clean, warm, two
    assert torch.equal(kept.points[3], x[3])
    solver = Portfolio(budget=61)
    best = solver(net, x, y, "l2", box=WIDE, warm=warm, has_warm=given)
    assert (best.forwards + best.backwards <= 61).all()
    assert (best.distance <= norm(warm[:, 1] - x, 2) * (1 + 1e-5))[given[:, 1]].all()
    useless = solver(net, x, y, "l2", box=WIDE, warm=still[:, None])
    plain = Portfolio(budget=60)(net, x, y, "l2", box=WIDE)
    torch.testing.assert_close(useless.distance, plain.distance)
    assert "warm start" not in useless.by
