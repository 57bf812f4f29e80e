"""Each sign of an unbelievable number, on both sides of its threshold; columns made by hand."""

import json

import numpy as np
import pytest
import torch
from helpers.models import Recorder, Wrapped, noisy, rounded
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, PGD, Noise, SparseL1Descent, Square
from hauberk.attacks.unbounded import Unbounded
from hauberk.evaluation import SUITES
from hauberk.evaluation.accuracy.evidence import evidence
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import prepare

N = 100
T = "linf:0.1"
EXACT = Stage(attack=APGD(steps=20))
SOFT = Stage(attack=APGD(steps=20, soften=0.1))
FREE = Stage(attack=Square(steps=20))
MANY = Stage(attack=APGD(steps=20, restarts=3))


def transfer():
    return EXACT.describe() | {"kind": "transfer"}


class Rows:
    """The rows of a run on points that all have a clean margin of 1."""

    def __init__(self, **stages):
        told = {k: v if isinstance(v, dict) else v.describe() for k, v in stages.items()}
        self.manifest = {
            "schedule": [{"threat": T, "attack": name} for name in told],
            "attacks": json.loads(json.dumps(told)),
        }
        self.rows = []
        self.clean = {
            "id": np.arange(N), "correct": np.ones(N, dtype=bool), "margin": np.ones(N),
        }  # fmt: skip

    def add(self, attack, ids, broken=(), threat=T, **columns):
        """Rows of an attack; a column is a number or one number for each id."""
        plain = {"margin": 0.5, "distance": 0.1, "loss": -0.5, "worst": -0.6, "zero": 0.0,
                 "huge": 0.0}  # fmt: skip
        ids = list(ids)
        own = {k: np.broadcast_to(np.asarray(v, dtype=float), len(ids))
               for k, v in (plain | columns).items()}  # fmt: skip
        for k, i in enumerate(ids):
            row = {name: float(column[k]) for name, column in own.items()}
            self.rows.append({"id": i, "threat": threat, "task": attack, "attacked": True,
                              "broken": i in broken, **row})  # fmt: skip
        return self

    def found(self):
        columns = {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]}
        return evidence(self.clean, columns, self.manifest)

    def codes(self):
        return [found.code for found in self.found()]


def rest(broken):
    return [i for i in range(N) if i not in broken]


def test_nothing_without_rows_or_by_honest_rows():
    assert evidence({}, {}, {}) == []
    run = Rows(apgd=EXACT, soft=SOFT, square=FREE)
    assert evidence(run.clean, {"id": np.zeros(0)}, run.manifest) == []
    run.add("apgd", range(N), broken=range(60)).add("soft", range(60, N)).add(
        "square", range(60, N)
    )
    assert run.found() == []


@pytest.mark.parametrize(("broke", "sign"), [(0, False), (1, False), (2, True), (3, True)])
def test_an_attack_without_gradients_beats_gradients(broke, sign):
    """Two in a hundred that gradients had left are enough."""
    run = Rows(apgd=EXACT, square=FREE)
    run.add("apgd", range(N), broken=range(50))
    run.add("square", range(50, N), broken=range(50, 50 + broke))
    assert run.codes() == ["gradient-free beats gradients"] * sign
    for found in run.found():
        assert found.masked
        assert found.threat == T
        assert f"square, which uses no gradients, broke {broke} of 50 points" in found.observed
        assert str(found).startswith(f"{T}: ")
        assert json.dumps(found.plain())


def test_examples_are_counted_and_not_the_rows_of_several_attacks():
    run = Rows(a=EXACT, b=EXACT, c=EXACT)
    for name in "abc":
        run.add(name, range(N), zero=[0.9] * 20 + [0.0] * 80, huge=[0.2] * 30 + [0.0] * 70)
    told = {found.code: found.observed for found in run.found()}
    assert told["zero gradients"].startswith("on 20 of 100 standing points")
    assert told["exploding gradients"].startswith("on 30 of 100 standing points")
    many = Rows(a=MANY, b=MANY)
    for name in "ab":
        many.manifest["attacks"][name]["loss"] = "margin"
        many.add(name, range(N), loss=-0.2, worst=-0.9)
    (found,) = [f for f in many.found() if f.code == "restarts disagree"]
    assert found.observed.startswith("on 100 standing points")


def test_no_gradients_before_or_only_some_say_nothing_of_gradients():
    run = Rows(square=FREE, apgd=EXACT)
    run.add("square", range(N), broken=range(50)).add("apgd", range(50, N))
    assert run.codes() == []
    near = Rows(apgd=EXACT, few=Stage(attack=APGD(), portion=0.1), square=FREE)
    near.add("apgd", range(N)).add("few", range(10)).add("square", range(N), broken=range(20, 30))
    assert near.codes() == ["gradient-free beats gradients"]


def test_a_carried_attack_without_gradients_owes_its_success_to_its_start():
    run = Rows(apgd=EXACT, carried=Stage(attack=Square(steps=9), carry=True))
    run.add("apgd", range(N)).add("carried", range(20), broken=range(10))
    assert run.codes() == []


@pytest.mark.parametrize(("broke", "sign"), [(1, False), (2, True)])
def test_transfer_beats_the_attacks_on_the_model_itself(broke, sign):
    carried = Stage(attack=APGD(), carry=True)
    for others in ({"apgd": EXACT}, {"apgd": EXACT, "carried": carried}):
        run = Rows(**others, surrogate=transfer())
        run.add("apgd", range(N), broken=range(50))
        if "carried" in others:
            run.add("carried", range(90, N))
        run.add("surrogate", range(50, N), broken=range(50, 50 + broke))
        assert run.codes() == ["transfer beats white-box"] * sign


@pytest.mark.parametrize(
    ("left", "broke", "sign"),
    [
        (15, 3, False),
        (15, 4, True),
        (50, 9, False),
        (50, 10, True),
        (90, 17, False),
        (90, 18, True),
    ],
)
def test_softened_gradients_beat_exact_ones(left, broke, sign):
    """A fifth of what exact gradients left, and four points at least."""
    first = range(N - left)
    run = Rows(apgd=EXACT, soft=SOFT)
    run.add("apgd", range(N), broken=first)
    run.add("soft", rest(first), broken=range(N - left, N - left + broke))
    assert run.codes() == ["softened gradients beat exact ones"] * sign


def test_softened_gradients_are_held_against_exact_ones_on_all_points():
    """An exact stage for some points only must not hide what softened gradients found."""
    for options in ({"carry": True}, {"portion": 0.1}):
        run = Rows(apgd=EXACT, some=Stage(attack=APGD(), **options), soft=SOFT)
        run.add("apgd", range(N)).add("some", range(2)).add("soft", range(N), broken=range(50))
        assert run.codes() == ["softened gradients beat exact ones"]
    carried = Rows(apgd=EXACT, soft=Stage(attack=APGD(soften=0.1), carry=True))
    assert carried.add("apgd", range(N)).add("soft", range(50), broken=range(50)).codes() == []
    alone = Rows(soft=SOFT)
    assert alone.add("soft", range(N), broken=range(50)).codes() == []


@pytest.mark.parametrize("column", ["zero", "huge"])
@pytest.mark.parametrize(("many", "sign"), [(4, False), (5, True)])
def test_gradients_that_vanish_or_explode_on_a_tenth_of_the_standing(column, many, sign):
    """Points that broke do not count: 50 stand, and 5 are a tenth."""
    code = {"zero": "zero gradients", "huge": "exploding gradients"}[column]
    limit = {"zero": 0.5, "huge": 0.1}[column]
    for value, counts in ((limit, False), (limit + 0.01, True)):
        values = np.zeros(N)
        values[:50] = 1.0
        values[50 : 50 + many] = value
        run = Rows(apgd=EXACT).add("apgd", range(N), broken=range(50), **{column: values})
        assert run.codes() == [code] * (sign and counts)


def test_vanishing_gradients_that_are_the_fault_of_the_loss_or_the_softening():
    for stage in (Stage(attack=APGD(loss="ce")), SOFT):
        assert Rows(apgd=stage).add("apgd", range(N), zero=1.0).codes() == []
    blind = Rows(square=FREE).add("square", range(N), zero=1.0, huge=1.0)
    assert blind.codes() == []
    unknown = Rows(apgd=EXACT).add("apgd", range(N), zero=np.nan, huge=np.nan, worst=np.nan)
    assert unknown.codes() == []


def test_one_point_is_no_sign():
    run = Rows(apgd=EXACT).add("apgd", range(N), broken=range(99), zero=1.0, huge=1.0, margin=2.0)
    assert run.codes() == []


@pytest.mark.parametrize(("stuck", "sign"), [(9, False), (10, True)])
def test_a_loss_that_does_not_rise_on_a_fifth_of_the_standing(stuck, sign):
    margins = np.full(N, 0.9)
    margins[50 : 50 + stuck] = 1.0  # what it is on the clean input
    run = Rows(apgd=EXACT).add("apgd", range(N), broken=range(50), margin=margins)
    assert run.codes() == ["the loss does not rise"] * sign
    both = Rows(apgd=EXACT, pgd=Stage(attack=PGD()))
    both.add("apgd", range(N), broken=range(50), margin=margins).add("pgd", range(50, N))
    assert both.codes() == []  # one of them got somewhere


def test_no_headway_in_a_ball_of_size_zero_or_without_gradients():
    assert Rows(apgd=EXACT).add("apgd", range(N), margin=1.0, distance=0.0).codes() == []
    assert Rows(square=FREE).add("square", range(N), margin=1.0).codes() == []


def test_a_margin_that_is_not_a_number_is_no_headway():
    run = Rows(apgd=EXACT).add("apgd", range(N), margin=np.nan)
    assert run.codes() == ["the loss does not rise"]


@pytest.mark.parametrize(("worst", "sign"), [(-0.74, False), (-0.76, True)])
def test_random_starts_that_disagree_by_half_of_what_the_best_gained(worst, sign):
    """The clean loss is -1, the best -0.5: the worst must have gained half of that."""
    run = Rows(apgd=MANY).add("apgd", range(N), loss=-0.5, worst=worst)
    assert run.codes() == ["restarts disagree"] * sign


def test_when_restarts_say_nothing():
    bad = {"loss": -0.5, "worst": -1.0}
    assert Rows(apgd=MANY).add("apgd", range(N), **bad).codes() == ["restarts disagree"]
    for attack in (APGD(), APGD(restarts=3, targets=2), APGD(restarts=3, loss="ce"),
                   APGD(restarts=3, soften=0.1)):  # fmt: skip
        assert Rows(apgd=Stage(attack=attack)).add("apgd", range(N), **bad).codes() == []
    fell = Rows(apgd=MANY).add("apgd", range(N), broken=range(99), **bad)
    assert fell.codes() == []
    stuck = Rows(apgd=MANY).add("apgd", range(N), loss=-1.0, worst=-2.0)
    assert stuck.codes() == []
    half = np.where(np.arange(N) < 49, -1.0, -0.5)  # in the median, they agree
    assert Rows(apgd=MANY).add("apgd", range(N), loss=-0.5, worst=half).codes() == []


DEAR = Stage(attack=APGD(steps=100, targets=9), portion=0.1)


@pytest.mark.parametrize(("broke", "sign"), [(1, False), (2, True)])
def test_more_budget_helps(broke, sign):
    run = Rows(apgd=EXACT, deep=DEAR)
    run.add("apgd", range(N), broken=range(50))
    run.add("deep", range(50, 60), broken=range(50, 50 + broke))
    assert run.codes() == ["more budget helps"] * sign
    for found in run.found():
        assert not found.masked
        assert f"broke {broke} of the 10 points nearest" in found.observed
        assert "about 2.0 more points" in found.remedy


def test_more_budget_where_it_says_nothing():
    for stage in (
        Stage(attack=APGD(), portion=0.1, when="masked"),
        Stage(attack=APGD(), portion=0.1, carry=True),
        Stage(attack=APGD()),
        Stage(attack=SparseL1Descent()),  # its own setting "share" is another thing
        Stage(attack=PGD(share=0.1)),
    ):
        run = Rows(apgd=EXACT, other=stage)
        run.add("apgd", range(N)).add("other", range(20), broken=range(10))
        assert run.codes() == []


def test_with_all_attacks_run_what_cheaper_ones_broke_is_no_merit():
    run = Rows(apgd=EXACT, deep=DEAR)
    run.add("apgd", range(N), broken=range(50)).add("deep", range(N), broken=range(51))
    assert run.codes() == []
    run = Rows(apgd=EXACT, deep=DEAR)
    run.add("apgd", range(N), broken=range(50)).add("deep", range(N), broken=range(52))
    assert run.codes() == ["more budget helps"]


def test_each_threat_is_looked_at_on_its_own():
    run = Rows(apgd=EXACT, square=FREE)
    run.manifest["schedule"] += [{"threat": "l2:1", "attack": name} for name in ("apgd", "square")]
    run.add("apgd", range(N)).add("square", range(N))
    run.add("apgd", range(N), threat="l2:1")
    run.add("square", range(N), threat="l2:1", broken=range(9))
    assert [(f.code, f.threat) for f in run.found()] == [("gradient-free beats gradients", "l2:1")]


def test_rows_that_were_not_attacked_and_the_order_of_ids_do_not_matter():
    run = Rows(apgd=EXACT, square=FREE)
    run.add("apgd", range(N), broken=range(50)).add("square", range(50, N), broken=range(50, 55))
    before = run.found()
    for row in run.rows[-45:]:
        row["attacked"] = False
    assert run.codes() == ["gradient-free beats gradients"]
    order = np.random.default_rng(0).permutation(N)
    run.clean = {name: column[order] for name, column in run.clean.items()}
    assert [f.code for f in run.found()] == [f.code for f in before]


@pytest.mark.parametrize(("broke", "sign"), [(5, False), (6, True)])
def test_two_in_a_hundred_are_counted_of_all_correct_examples(broke, sign):
    run = Rows(apgd=EXACT, square=FREE)
    correct = np.arange(400) < 300
    run.clean = {"id": np.arange(400), "correct": correct, "margin": np.where(correct, 1.0, -1.0)}
    run.add("apgd", range(300), broken=range(250))
    run.add("square", range(250, 300), broken=range(250, 250 + broke))
    assert run.codes() == ["gradient-free beats gradients"] * sign


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3))


def points(model, n=40):
    x = torch.rand(n, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    return x, model(x).argmax(1)


@pytest.mark.parametrize("make", [linear, mlp])
def test_no_false_alarm_on_honest_models(make):
    """The radius leaves some points broken and some not."""
    model = make()
    x, y = points(model)
    union = [hb.Linf(0.02), hb.L2(0.08)]
    run = hb.evaluate(model, x, y, union, suite="standard")
    assert 0 < run.union_accuracy < 1
    assert not [e for e in run.summary["evidence"] if e["masked"]]
    assert not run.summary["escalated"]
    tried = hb.evaluate(model, x, y, union, all_attacks=True, suite={
        "apgd": APGD(steps=20), "soft": APGD(steps=10, soften=0.1), "square": Square(steps=20),
        "dear": Stage(attack=APGD(steps=40, targets=2), portion=0.1),
    })  # fmt: skip
    assert tried.summary["evidence"] == []


def test_that_rugged_threats_are_hard_to_climb_is_not_held_against_the_model():
    """Under rotations or in finite sets, a search beats gradients on the most honest of models."""
    for notation, sign in (("rt:30,3", False), ("swaps:2", False), ("l2:1", True)):
        run = Rows(apgd=MANY, soft=SOFT, square=FREE)
        run.manifest["schedule"] = [{"threat": notation, "attack": a} for a in ("apgd", "soft")]
        run.add("apgd", range(N), threat=notation, loss=-0.5, worst=-1.0)
        run.add("soft", range(N), broken=range(20), threat=notation)
        run.add("square", range(20, N), broken=range(20, 40), threat=notation)
        codes = {"gradient-free beats gradients", "softened gradients beat exact ones",
                 "restarts disagree"}  # fmt: skip
        assert set(run.codes()) == (codes if sign else set())
        run.add("apgd", range(N), threat=notation, zero=1.0)
        assert "zero gradients" in run.codes()


def test_rounding_is_found_out(tmp_path):
    model = Wrapped(linear(), rounded(12))
    x, y = points(model)
    suite = {"apgd": APGD(steps=6), "noise": Noise(steps=10),
             "last": Stage(attack=Square(steps=20), when="masked")}  # fmt: skip
    with pytest.warns(hb.HauberkWarning, match="exactly zero"):
        run = hb.evaluate(model, x, y, hb.Linf(0.06), suite=suite, out=tmp_path / "r")
    codes = {e["code"] for e in run.summary["evidence"]}
    assert codes >= {"zero gradients", "the loss does not rise"}
    assert run.summary["escalated"]
    assert [str(w) for w in run.summary["warnings"]][1:] == [
        f"{e['threat']}: {e['told']}. {e['remedy']}" for e in run.summary["evidence"]
    ]
    assert hb.verify(tmp_path / "r", model).ok


def test_a_stochastic_model_is_judged_by_its_mean(tmp_path):
    model = Recorder(Wrapped(linear(), noisy(0.02)))
    x, y = points(model.model.model, 24)
    with pytest.warns(hb.HauberkWarning, match="mean probability over 10 draws"):
        prepare({"model": model}, x, y, RunOptions())
    screened, model.forwards = model.forwards, 0
    with pytest.warns(hb.HauberkWarning, match="mean probability over 10 draws"):
        run = hb.evaluate(model, x, y, hb.Linf(0.03), suite={"apgd": APGD(steps=5)},
                          out=tmp_path / "r")  # fmt: skip
    rows = run.store.rows("attack-")
    assert (rows["forwards"] % 10 == 0).all()
    assert (rows["backwards"] % 10 == 0).all()
    assert rows["forwards"].max() == 10 * 6
    assert rows["backwards"].max() == 10 * 5
    judged = 10 * (len(x) + len(rows["id"]))
    assert model.forwards == screened + judged + rows["forwards"].sum()
    assert run.summary["cost"]["forwards"] >= rows["forwards"].sum()
    assert run.summary["cost"]["backwards"] == rows["backwards"].sum()
    assert run.store.manifest["draws"] == 10
    assert 0 < run.union_accuracy < 1
    found = hb.verify(tmp_path / "r", model)
    assert found.ok, str(found)
    assert found.points > 0
    ids, at = run.points("linf:0.03")
    mean = torch.stack([model(at).softmax(1) for _ in range(400)]).mean(0)
    other = mean.scatter(1, y[ids][:, None], 0).amax(1)
    assert (other > mean.gather(1, y[ids][:, None])[:, 0] - 0.1).all()


def test_the_catalogue_names_no_stage_in_two_ways():
    """What evidence goes by is there for every stage of every suite."""
    for suite in SUITES.values():
        for name, stage in suite.stages.items():
            told = suite.describe()[name]
            assert told["kind"] == type(stage.attack).kind
            assert told.get("portion", 1.0) == stage.portion
            assert told.get("carry", False) == stage.carry
            assert told.get("when", "always") == stage.when


@pytest.mark.parametrize(("won", "sign"), [(7, True), (8, False), (10, False)])
def test_an_attack_without_a_bound_must_succeed(won, sign):
    run = Rows(apgd=EXACT, unbounded=Stage(attack=Unbounded(), portion=0.05))
    run.add("apgd", range(N), broken=range(50))
    run.add("unbounded", range(50, 60), loss=np.arange(10) < won)
    assert run.codes() == ["larger threats do not help"] * sign


def test_without_a_bound_a_model_falls_and_a_constant_one_stands():
    x, y = torch.rand(8, 6), torch.zeros(8, dtype=torch.int64)
    model = nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0] * 6, [-1.0] * 6]))
        model.bias.copy_(torch.tensor([0.1, 0.0]))
    for threat in (hb.Linf(0.001), hb.L2(0.001), hb.L1(0.001)):
        out = Unbounded()(model, x, y, threat)
        assert not out.fooled.any()
        assert torch.equal(out.points, x)
        assert not out.loss.any()  # the least of the sum is 0, where the bias decides for class 0
    with torch.no_grad():
        model.bias.copy_(torch.tensor([-0.1, 0.0]))
    for threat in (hb.Linf(0.001), hb.L2(0.001), hb.L1(0.001)):
        assert Unbounded()(model, x, y, threat).loss.all()
