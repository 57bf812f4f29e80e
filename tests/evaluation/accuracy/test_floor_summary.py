"""What the floor adds up to, on rows that can be counted, and how often its bound holds."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.errors import InputError
from hauberk.evaluation.accuracy import floor as floor_module
from hauberk.evaluation.accuracy.floor import draw
from hauberk.evaluation.accuracy.floor_summary import with_floor
from hauberk.store.ledger import MemoryLedger

A, B = "linf:0.1", "l2:1"
SUITE = {
    "finished": True, "all_attacks": False, "union_accuracy": 0.0, "threats": {
        A: {"accuracy": 0.0, "attacks": {"x": {}}}, B: {"accuracy": 0.0, "attacks": {}},
    },
}  # fmt: skip


def rows(ids, threat, task, broken, forwards=60, backwards=40):
    many = len(ids)
    return {
        "id": np.asarray(ids, dtype=np.int64), "threat": np.full(many, threat),
        "task": np.full(many, task), "broken": np.isin(ids, list(broken)),
        "forwards": np.full(many, forwards), "backwards": np.full(many, backwards),
        "seconds": np.full(many, 0.5),
    }  # fmt: skip


def store(n=200, wrong=20, lost=range(20, 100), floor=30, seed=1, falls=(), parts=2, draws=1):
    """``falls``: of the points that stand at the end of the suite, those that a floor breaks."""
    made = MemoryLedger({"floor": floor, "seed": seed, "n": n, "draws": draws})
    ids = np.arange(n)
    made.write("clean-00000", {"id": ids, "correct": ids >= wrong})
    made.write("attack-00000-000", rows(ids[wrong:], A, "x", lost, 6, 4))
    left = np.setdiff1d(ids[wrong:], list(lost))
    drawn = draw(left, floor, seed)
    if parts:
        plan = {"threat": [A, B][:parts], "task": ["s", "t"][:parts]}
        made.write("plan-floor", {k: np.array(v) for k, v in plan.items()})
        even = {i for i in falls if i % 2 == 0}
        made.write("floor-000", rows(drawn, A, "s", even))
        if parts == 2:
            still = [i for i in drawn if i not in even]
            made.write("floor-001", rows(still, B, "t", set(falls) - even))
    return made, left, drawn


def test_the_numbers_of_a_floor():
    _, left, drawn = store()
    falls = [*drawn[:4], *(i for i in left if i not in drawn)][:50]
    made, left, drawn = store(falls=falls)
    mine = [i for i in drawn if i in falls]
    summary = with_floor(SUITE, made)
    floor = summary["floor"]
    assert (len(left), len(drawn), len(mine)) == (100, 30, 4)
    even = sum(i % 2 == 0 for i in mine)
    high = scipy.stats.beta.ppf(0.95, 5, 26)
    want = {
        "asked": 30, "standing": 100, "drawn": 30, "broken": 4, "confidence": 0.95,
        "exact": False, "bound": high, "loss": high / 2, "suite_accuracy": 0.5,
        "lowest": (1 - high) / 2, "threats": {A: even, B: 4 - even},
        "passes": {"suite": 10.0, "floor": 200.0},
    }  # fmt: skip
    for name, value in want.items():
        assert floor[name] == pytest.approx(value), name
    searched = 30 + 30 - even
    assert floor["cost"] == {
        "forwards": 30 + 60 * searched, "backwards": 40 * searched, "seconds": searched / 2,
        "judge_forwards": searched,
    }  # fmt: skip
    assert summary["union_accuracy"] == 96 / 200
    assert summary["threats"][A]["accuracy"] == (100 - even) / 200
    assert summary["threats"][B]["accuracy"] == (180 - (4 - even)) / 200
    assert summary["average_accuracy"] == pytest.approx((280 - 4) / 400)
    assert summary["union_interval"] == list(hb.evaluation.core.summary.wilson(96, 200))
    assert list(summary["threats"][A]["attacks"]) == ["x", "floor"]
    assert summary["threats"][A]["attacks"]["floor"] == {
        "accuracy_after": (100 - even) / 200, "broke": even, "broke_alone": None, "attacked": 30,
    }  # fmt: skip
    assert summary["finished"]


def test_none_of_sixty_leaves_at_most_a_twentieth():
    made, _, _ = store(floor=60)
    floor = with_floor(SUITE, made)["floor"]
    assert floor["bound"] == pytest.approx(1 - 0.05 ** (1 / 60))
    assert f"{floor['bound']:.3f}" == "0.049"


def test_of_a_stochastic_model_every_look_counts():
    made, _, _ = store(draws=5)
    cost = with_floor(SUITE, made)["floor"]["cost"]
    assert (cost["forwards"], cost["judge_forwards"]) == (5 * 30 + 60 * 60, 5 * 60)


def test_all_drawn_there_is_nothing_to_estimate():
    made, left, _ = store(floor=100, falls=range(100, 107))
    floor = with_floor(SUITE, made)["floor"]
    assert floor["exact"]
    assert floor["bound"] == 7 / 100
    assert floor["lowest"] == pytest.approx(93 / 200)
    none, left, _ = store(lost=range(20, 200), parts=0)
    floor = with_floor(SUITE, none)["floor"]
    assert len(left) == 0
    assert [floor[k] for k in ("bound", "loss", "lowest", "broken")] == [0, 0, 0, 0]
    assert with_floor(SUITE, none)["finished"]


def test_points_not_searched_to_the_end_count_as_fallen():
    for parts, undone in ((0, 30), (2, 0)):
        made, _, drawn = store(parts=parts)
        summary = with_floor(SUITE, made)
        assert summary["finished"] == (undone == 0)
        assert (summary["floor"]["bound"] == 1) == (undone == 30)
    some = rows(drawn[:20], A, "s", drawn[:3])
    half = MemoryLedger(made.manifest)
    for key in ("clean-00000", "attack-00000-000", "plan-floor"):
        half.write(key, made.part(key))
    half.write("floor-000", some)
    half.write("floor-001", rows(drawn[3:20], B, "t", ()))
    summary = with_floor(SUITE, half)
    assert not summary["finished"]
    assert summary["floor"]["broken"] == 3
    assert summary["floor"]["bound"] == pytest.approx(scipy.stats.beta.ppf(0.95, 14, 17))


def test_rows_that_the_plan_or_the_draw_do_not_have_are_refused():
    made, _, drawn = store()
    made.write("floor-002", rows(drawn, B, "u", ()))
    with pytest.raises(InputError, match=f"rows of u under {B}"):
        with_floor(SUITE, made)
    made, _, _ = store()
    made.write("floor-002", rows([25], B, "t", ()))
    with pytest.raises(InputError, match="example 25, which was not drawn"):
        with_floor(SUITE, made)


def test_the_bound_covers_the_truth_and_says_something():
    """900 draws from 500 standing points of which some fall, by which ids does not matter."""
    n, size = 600, 60
    for share in (0.02, 0.1, 0.3):
        falls = {i for i in range(100, n) if i >= n - 500 * share}  # as if ordered by margin
        bounds, found = [], []
        for seed in range(300):
            made, _, _ = store(
                n=n, wrong=50, lost=range(50, 100), floor=size, seed=seed, falls=falls
            )
            floor = with_floor(SUITE, made)["floor"]
            bounds.append(floor["bound"])
            found.append(floor["broken"] / size)
        held = np.mean(np.array(bounds) >= share)
        assert held >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 300)
        assert np.mean(found) == pytest.approx(share, abs=3 * np.sqrt(share / size / 300))
        assert np.mean(bounds) < share + 0.13  # not vacuous


class Rugged(nn.Module):
    """A class that bumps over the plane: one step uphill misses most of what breaks it."""

    def forward(self, x):
        z = x.flatten(1)
        score = torch.sin(40 * z[:, 0]) + torch.sin(37 * z[:, 1]) + 2.2 * torch.sin(3 * z[:, 2])
        return torch.stack([-score, score], 1)


def test_a_planted_weak_suite_is_found_out(monkeypatch):
    """What a sample loses is what it loses of all points; so the bound holds for real searches."""
    monkeypatch.setattr(floor_module, "LEAST", 150)
    model, x = Rugged().double(), torch.rand(150, 3, generator=torch.Generator().manual_seed(1))
    x, threat = x.double(), hb.Linf(0.05)
    y = model(x).argmax(1)
    weak = PGD(steps=1, step_share=0.5, random_start=False, loss="ce")

    def run(many, seed):
        return hb.evaluate(model, x, y, threat, suite=weak, floor=many, seed=seed)

    every = run(1000, 0)
    rows, floor = every.store.rows("floor-"), every.summary["floor"]
    fell = set(rows["id"][rows["broken"].astype(bool)].tolist())
    truth, left = floor["bound"], floor["standing"]
    assert floor["exact"]
    assert 0.05 < truth < 0.65
    assert left > 60
    for seed in (0, 1):
        some = run(30, seed).summary["floor"]
        assert some["suite_accuracy"] == floor["suite_accuracy"]
        assert truth <= some["bound"] < 1
        assert some["lowest"] <= every.union_accuracy
        if seed == 0:
            ids = draw(np.setdiff1d(np.arange(150), _lost(every)), 30, 0)
            assert some["broken"] == sum(int(i) in fell for i in ids)


def _lost(found):
    rows = found.store.rows("attack-")
    return rows["id"][rows["broken"].astype(bool)]
