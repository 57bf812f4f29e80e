"""The scheduler: its regression against scipy, its choices by hand, what a run makes of them."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import hauberk as hb
from hauberk.attacks import APGD, FGSM
from hauberk.evaluation import Stage, Suite
from hauberk.evaluation.accuracy.scheduler import SLOPES, Front, Odds, Scheduler


@dataclass(frozen=True)
class Arm:
    group: str = "linf:0.1"
    cost: float = 20.0
    odds: float = -3.0


def front(gaps, stands=None):
    """Points of clean margin 1 whose gaps are these."""
    gaps = np.asarray(gaps, dtype=float)
    best = gaps / (1 + gaps)
    return Front(np.ones(len(gaps)), best, np.ones(len(gaps), bool) if stands is None else stands)


def test_the_regression_is_at_the_mode_of_its_posterior():
    rng = np.random.default_rng(0)
    mean, spread = np.array([-1.0, 0.5, 0.0]), np.array([0.7, 1.5, 0.3])
    odds, rows = Odds(mean, spread), rng.normal(size=(40, 3))
    came = rng.random(40) < 0.3
    odds.learn(rows[:25], came[:25])
    odds.learn(rows[25:], came[25:])

    def loss(w):
        z = rows @ w
        fit = np.logaddexp(0, z) - came * z
        return fit.sum() + 0.5 * (((w - mean) / spread) ** 2).sum()

    best = minimize(loss, mean, tol=1e-12).x
    assert np.allclose(odds.weights, best, atol=1e-4)
    assert np.allclose(odds(rows), 1 / (1 + np.exp(-rows @ best)), atol=1e-4)


def test_the_regression_stays_finite_where_everything_breaks():
    odds = Odds(np.array([-3.0]), np.array([1.0]))
    odds.learn(np.ones((500, 1)), np.ones(500, dtype=bool))
    assert 0.9 < odds(np.ones((1, 1)))[0] < 1


def test_features_by_hand():
    points = Front(np.array([2.0, 4.0]), np.array([0.5, 4.0]), np.ones(2, dtype=bool))
    at = np.array([0, 1])
    # 0.5 left of 1.5 taken; nothing taken at all counts as the widest gap.
    assert points.features(at) == pytest.approx(
        np.array([[np.log(1 / 3) + 2, 0, 0], [np.log(3.0) + 2, 0, 0]])
    )
    points.update(at, np.array([False, True]), np.array([0.25, -0.1]))
    assert points.stands.tolist() == [True, False]
    assert points.best.tolist() == [0.25, 4.0]
    assert points.features(at[:1])[0] == pytest.approx(
        [np.log(0.25 / 1.75) + 2, np.log(2), 0.25 / 1.75]
    )


def test_a_worse_margin_does_not_count():
    points = front([1.0])
    points.update(np.array([0]), np.array([False]), np.array([0.9]))
    assert points.best[0] == 0.5
    assert points.fall[0] == 0
    points.update(np.array([0]), np.array([False]), np.array([np.nan]))
    assert points.best[0] == 0.5


def test_features_do_not_depend_on_the_scale_of_the_logits():
    clean, best = np.array([2.0, 3.0]), np.array([0.3, 2.0])
    small, large = (Front(c * clean, c * best, np.ones(2, dtype=bool)) for c in (1, 30))
    for one, c in ((small, 1), (large, 30)):
        one.update(np.arange(2), np.zeros(2, dtype=bool), c * np.array([0.2, 1.0]))
    assert small.features(np.arange(2)) == pytest.approx(large.features(np.arange(2)))


def test_it_takes_the_nearest_points_that_stand_and_no_more_than_a_portion():
    gaps = np.linspace(2.0, 0.01, 160)
    stands = np.ones(160, dtype=bool)
    stands[-3:] = False
    _, rows = Scheduler([Arm()], {"linf:0.1": front(gaps, stands)}, price=1e9).next()
    assert rows.tolist() == list(range(148, 157))  # the nearest sixteenth of the 157 that stand


def test_what_is_worth_its_passes():
    def chance(gap):
        return 1 / (1 + np.exp(3 - SLOPES["gap"][0] * (np.log(gap) + 2)))

    gaps = [0.01, 0.1, 1.0]
    # One more break at 20 passes a point: worth it for the first two at a price between.
    price = 20 / np.sqrt(chance(0.1) * chance(1.0))
    _, rows = Scheduler([Arm()], {"linf:0.1": front(gaps)}, price).next()
    assert rows.tolist() == [0, 1]
    assert Scheduler([Arm()], {"linf:0.1": front(gaps)}, 19.9 / chance(0.01)).next() is None


def test_of_two_arms_the_one_of_more_breaks_a_pass():
    cheap, dear, likely = Arm(cost=20), Arm(cost=60), Arm(cost=60, odds=-1.0)
    fronts = {"linf:0.1": front([0.1] * 4)}
    assert Scheduler([dear, cheap], fronts, 1e9).next()[0] is cheap
    assert Scheduler([cheap, likely], fronts, 1e9).next()[0] is likely


def test_an_arm_is_run_on_a_point_once_and_broken_ones_are_left():
    scheduler = Scheduler([Arm()], {"linf:0.1": front([0.1] * 9)}, 1e9)
    seen = []
    while (dealt := scheduler.next()) is not None:
        arm, rows = dealt
        seen += rows.tolist()
        broken = np.zeros(len(rows), dtype=bool)
        scheduler.learn(arm, rows, broken, np.full(len(rows), 0.05))
    assert sorted(seen) == list(range(9))
    other = Scheduler([Arm(), Arm(cost=30)], {"linf:0.1": front([0.1] * 4)}, 1e9)
    arm, rows = other.next()
    other.learn(arm, rows, np.array([True, True, True, False]), np.full(4, -1.0))
    assert other.next()[1].tolist() == [3]


def test_it_learns_which_arm_pays_and_stops_by_itself():
    """Of 160 points, the good arm breaks the nearest 60, the idle ones none."""
    good, idle = Arm(cost=50), [Arm(cost=50), Arm(cost=50, group="l2:1")]
    gaps = np.linspace(0.02, 2.0, 160)
    scheduler = Scheduler(
        [idle[0], good, idle[1]], {g: front(gaps) for g in ("linf:0.1", "l2:1")}, price=5000
    )
    tried, broke = dict.fromkeys(map(id, (good, *idle)), 0), 0
    while (dealt := scheduler.next()) is not None:
        arm, rows = dealt
        broken = (rows < 60) & (arm is good)
        tried[id(arm)] += len(rows)
        broke += int(broken.sum())
        scheduler.learn(arm, rows, broken, np.full(len(rows), 0.5))
    assert broke == 60
    assert tried[id(good)] >= 60
    assert max(tried[id(one)] for one in idle) < 60


def suite(**stages):
    return Suite("mine", 1, "", {"first": APGD(steps=2), **stages}, price=1e6)


ARMS = {
    "longer": Stage(attack=APGD(steps=10), adaptive=True),
    "fgsm": Stage(attack=FGSM(), adaptive=True),
}


@pytest.fixture
def task():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.ReLU(), torch.nn.Linear(24, 4))
    x = torch.rand(60, 6)
    return net, x, net(x).argmax(1)


def test_a_run_in_portions_counts_every_point_once_and_can_be_verified(task, tmp_path):
    net, x, y = task
    run = hb.evaluate(net, x, y, hb.Linf(0.2), suite=suite(**ARMS), out=tmp_path / "run", block=30)
    keys = run.store.keys("attack-")
    assert any(key.startswith("attack-00001-001-") for key in keys)
    rows = run.store.rows("attack-")
    for name in ("longer", "fgsm"):
        mine = rows["id"][rows["task"] == name]
        assert len(set(mine.tolist())) == len(mine)
    assert hb.verify(tmp_path / "run", net).ok
    assert run.summary["finished"]


def test_a_resumed_run_takes_the_same_portions(task, tmp_path):
    net, x, y = task
    whole = hb.evaluate(net, x, y, hb.Linf(0.2), suite=suite(**ARMS), out=tmp_path / "a")
    again = hb.evaluate(net, x, y, hb.Linf(0.2), suite=suite(**ARMS), out=tmp_path / "b")
    portions = [key for key in again.store.keys("attack-") if key.count("-") == 3]
    assert len(portions) > 2
    for key in portions[1:]:
        for file in (tmp_path / "b" / "parts").glob(f"{key}.*"):
            file.unlink()
    (tmp_path / "b" / "summary.json").unlink()
    resumed = hb.evaluate(
        net, x, y, hb.Linf(0.2), suite=suite(**ARMS), out=tmp_path / "b", resume=True
    )
    assert resumed.store.keys("attack-") == whole.store.keys("attack-")
    mine, theirs = (run.store.rows("attack-") for run in (resumed, whole))
    for name in ("id", "broken", "forwards", "task"):
        assert mine[name].tolist() == theirs[name].tolist()


def test_a_block_decides_by_itself(task):
    net, x, y = task
    several = hb.evaluate(net, x, y, hb.Linf(0.2), suite=suite(**ARMS), block=30)
    alone = hb.evaluate(
        net, x[30:], y[30:], hb.Linf(0.2), suite=suite(**ARMS), block=30, ids=torch.arange(30, 60)
    )
    rows = several.store.rows("attack-")
    mine = {k: v[rows["id"] >= 30] for k, v in rows.items()}
    theirs = alone.store.rows("attack-")
    assert sorted(zip(mine["id"], mine["task"], mine["forwards"], strict=True)) == sorted(
        zip(theirs["id"], theirs["task"], theirs["forwards"], strict=True)
    )


def test_with_all_attacks_every_arm_is_run_on_every_point(task):
    net, x, y = task
    run = hb.evaluate(net, x, y, hb.Linf(0.05), suite=suite(**ARMS), all_attacks=True)
    rows = run.store.rows("attack-")
    for name in ("first", "longer", "fgsm"):
        assert int((rows["task"] == name).sum()) == 60


def test_with_the_union_alone_what_breaks_anywhere_is_left(task):
    net, x, y = task
    threats = hb.Linf(0.2) | hb.L2(0.4)
    run = hb.evaluate(net, x, y, threats, suite=suite(**ARMS), union_only=True)
    rows = run.store.rows("attack-")
    broken = rows["id"][rows["broken"].astype(bool)].tolist()
    assert len(set(broken)) == len(broken)


def test_the_price_decides_what_is_spent(task):
    net, x, y = task
    spent = []
    for price in (1.0, 300.0, 1e6):
        mine = Suite("mine", 1, "", {"first": APGD(steps=2), **ARMS}, price=price)
        run = hb.evaluate(net, x, y, hb.Linf(0.05), suite=mine)
        assert run.store.manifest["suite_price"] == price
        spent.append(run.summary["cost"]["forwards"])
    assert spent[0] < spent[1] < spent[2]
    assert spent[0] <= 60 * (1 + 3)  # the clean look and the first stage


def test_what_an_adaptive_stage_cannot_be():
    with pytest.raises(hb.InputError, match="no portion"):
        Stage(attack=FGSM(), adaptive=True, carry=True)
    with pytest.raises(hb.InputError, match="price is 0"):
        Suite("mine", 1, "", {"a": FGSM()}, price=0)
