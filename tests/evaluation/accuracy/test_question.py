"""The walk's special stages: carried points, nearest points, and stages that hang on evidence."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers.models import Of, Wrapped, rounded
from helpers.suites import LAZY, Jump
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, PGD, Noise, RandomSearch, Square
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.evaluation.accuracy.summary import summarise
from hauberk.store.ledger import Ledger


class Guess(Jump):
    kind = "free"


def margin_of(function):
    """A model of two classes; the margin of class 0 is a function of the features."""
    return Of(lambda x: torch.stack([function(x), torch.zeros_like(function(x))], 1))


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def points(model, n=30):
    x = torch.rand(n, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    return x, model(x).argmax(1)


def rows(result, threat, attack):
    found = result.store.rows("attack-")
    mine = (found["threat"] == threat) & (found["task"] == attack)
    return {name: column[mine] for name, column in found.items()}


def zeros(x):
    return torch.zeros(len(x), dtype=torch.long)


# Points that broke under another threat.


def test_carried_points_break_at_once():
    """The l2 ball holds the linf ball: whatever broke there breaks here, at the first look."""
    model = linear()
    x, y = points(model)
    suite = {
        "apgd": Stage(attack=APGD(steps=10), threats=("linf",)),
        "lazy": Stage(attack=LAZY, threats=("l2",)),
        "carried": Stage(attack=LAZY, carry=True),
    }
    run = hb.evaluate(model, x, y, [hb.Linf(0.05), hb.L2(5.0)], suite=suite)
    first, second = run.points("linf:0.05"), run.points("l2:5")
    assert 0 < len(first[0]) < len(x)
    order = [first[0].tolist().index(i) for i in second[0].tolist()]
    assert sorted(order) == [*range(len(first[0]))]
    torch.testing.assert_close(second[1], first[1][order], rtol=0, atol=1e-6)
    there = rows(run, "l2:5", "carried")
    assert (there["forwards"] == 1).all()
    assert len(rows(run, "linf:0.05", "carried")["id"]) == 0  # nothing of its own is carried
    assert run.summary["finished"]


def test_carried_points_are_brought_into_the_threat():
    model = linear()
    x, y = points(model)
    suite = {"apgd": Stage(attack=APGD(steps=10), threats=("linf",)), "lazy": LAZY,
             "carried": Stage(attack=LAZY, carry=True)}  # fmt: skip
    run = hb.evaluate(model, x, y, [hb.Linf(0.1), hb.L2(0.15)], suite=suite)
    ids, at = run.points("l2:0.15")
    tried = rows(run, "l2:0.15", "carried")
    assert 0 < len(ids) < len(tried["id"])  # some break from there, some do not
    assert hb.L2(0.15).contains(x[ids], at).all()


CORNER = margin_of(lambda x: torch.minimum(0.85 - x[:, 0], 0.6 - x[:, 1]))
THREE = {
    "first": Stage(attack=Jump(way=(0.4, 0.0)), threats=("linf",)),
    "second": Stage(attack=Jump(way=(0.0, 0.2)), threats=("l1",)),
    "lazy": Stage(attack=LAZY, threats=("l2",)),
    "carried": Stage(attack=LAZY, carry=True),
}


def test_what_broke_under_every_other_threat_is_carried():
    """linf's point is pulled back over the boundary; l1's, the second, breaks."""
    x = torch.full((2, 2), 0.5)
    union = [hb.Linf(0.4), hb.L1(0.2), hb.L2(0.2)]
    run = hb.evaluate(CORNER, x, zeros(x), union, suite=THREE)
    there = rows(run, "l2:0.2", "carried")
    assert there["broken"].tolist() == [True, True]
    assert there["attempt"].tolist() == [1, 1]
    torch.testing.assert_close(run.points("l2:0.2")[1], torch.tensor([[0.5, 0.7]] * 2))


@pytest.mark.parametrize("all_attacks", [False, True])
def test_many_attacks_may_break_the_same_point(all_attacks):
    model = linear()
    x, y = points(model, 10)
    suite = {"a": APGD(steps=9), "b": APGD(steps=5), "c": PGD(steps=9), "lazy": LAZY,
             "carried": Stage(attack=LAZY, carry=True)}  # fmt: skip
    union = [hb.Linf(0.05), hb.L2(0.17), hb.L1(0.5)]
    run = hb.evaluate(model, x, y, union, suite=suite, all_attacks=all_attacks)
    assert run.summary["finished"]
    if all_attacks:
        broke = {t: set(run.points(t)[0].tolist()) for t in run.accuracy}
        for threat in run.accuracy:
            for name in suite.keys() - {"carried"}:
                assert sorted(rows(run, threat, name)["id"].tolist()) == [*range(10)]
            elsewhere = set().union(*(broke[other] for other in broke if other != threat))
            assert set(rows(run, threat, "carried")["id"].tolist()) <= elsewhere
        assert len(rows(run, "l1:0.5", "carried")["id"]) == len(
            broke["linf:0.05"] | broke["l2:0.17"]
        )


def test_a_carried_attack_never_starts_from_clean_points():
    """With all attacks it would break what no attack of the suite did, and move the union."""
    model = linear()
    x, y = points(model, 10)
    suite = {"lazy": LAZY, "one": Stage(attack=APGD(steps=9), threats=("l2",)),
             "carried": Stage(attack=APGD(steps=9), carry=True)}  # fmt: skip
    for sizes, moved in (([hb.Linf(0.05), hb.L1(0.5)], 0), ([hb.L2(0.17), hb.Linf(0.07)], 1)):
        plain, every = (
            hb.evaluate(model, x, y, sizes, suite=suite, all_attacks=all_) for all_ in (False, True)
        )
        assert (plain.union_accuracy < 1) == bool(moved)
        assert every.accuracy == plain.accuracy
        assert torch.equal(every.robust(), plain.robust())


def test_with_all_attacks_each_other_threat_hands_on_one_point():
    """What two attacks broke under the first threat must leave room for that of the second."""
    x = torch.full((2, 2), 0.5)
    sizes = [hb.L1(0.6), hb.Linf(0.4), hb.L2(0.2)]
    suite = {
        "a": Stage(attack=Jump(way=(0.6, 0.0)), threats=("l1",)),
        "b": Stage(attack=Jump(way=(0.5, 0.0)), threats=("l1",)),
        "c": Stage(attack=Jump(way=(0.0, 0.4)), threats=("linf",)),
        "carried": Stage(attack=LAZY, carry=True),
    }
    runs = [hb.evaluate(CORNER, x, zeros(x), sizes, suite=suite, all_attacks=a) for a in (0, 1)]
    there = [rows(run, "l2:0.2", "carried") for run in runs]
    assert there[0]["margin"].tolist() == there[1]["margin"].tolist()
    assert there[0]["forwards"].tolist() == there[1]["forwards"].tolist()


def test_nothing_is_carried_if_nothing_broke_or_union_only():
    model = linear()
    x, y = points(model)
    suite = {"apgd": APGD(steps=4), "carried": Stage(attack=LAZY, carry=True)}
    safe = hb.evaluate(model, x, y, [hb.Linf(0.0), hb.L2(0.0)], suite=suite)
    assert safe.union_accuracy == 1
    assert safe.summary["finished"]
    assert len(rows(safe, "l2:0", "carried")["id"]) == 0
    cheap = hb.evaluate(model, x, y, [hb.Linf(0.05), hb.L2(0.1)], suite=suite, union_only=True)
    full = hb.evaluate(model, x, y, [hb.Linf(0.05), hb.L2(0.1)], suite=suite)
    assert len(rows(cheap, "l2:0.1", "carried")["id"]) == 0
    assert cheap.union_accuracy == full.union_accuracy
    assert cheap.summary["finished"]


def test_no_point_is_carried_to_the_threat_that_it_broke_under():
    x = torch.full((2, 2), 0.5)
    run = hb.evaluate(CORNER, x, zeros(x), [hb.Linf(0.4), hb.L1(0.0)], all_attacks=True, suite={
        "lazy": LAZY, "jump": Stage(attack=Jump(way=(0.4, 0.0)), threats=("linf",)),
        "carried": Stage(attack=LAZY, carry=True),
    })  # fmt: skip
    assert rows(run, "linf:0.4", "jump")["broken"].all()
    assert not rows(run, "linf:0.4", "carried")["broken"].any()


# The nearest points.


def spread(n=16):
    """Points whose margins are 0.01, 0.02, ..., not in order, and where each lies in it."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(3))
    return (0.5 - 0.01 * (order + 1)).view(n, 1).float(), order.numpy()


LINE = margin_of(lambda x: 0.5 - x[:, 0])


def test_the_nearest_first_until_a_portion_breaks_none():
    """A reach of 0.065 breaks six of sixteen: 4 of the first 4, 2 of the next, none of the third"""
    x, order = spread()
    suite = {"lazy": LAZY, "near": Stage(attack=APGD(steps=3), portion=0.25)}
    run = hb.evaluate(LINE, x, zeros(x), hb.Linf(0.065), suite=suite)
    near = rows(run, "linf:0.065", "near")
    assert order[near["id"]].tolist() == [*range(12)]
    assert near["broken"].tolist() == [True] * 6 + [False] * 6
    assert run.summary["finished"]
    ids, at = run.points("linf:0.065")
    assert sorted(order[ids.numpy()].tolist()) == [*range(6)]
    assert (at > 0.5).all()


def test_a_dry_first_portion_ends_it_and_all_attacks_do_not():
    x, order = spread()
    suite = {"lazy": LAZY, "near": Stage(attack=LAZY, portion=0.01)}
    run = hb.evaluate(LINE, x, zeros(x), hb.Linf(0.065), suite=suite)
    tried = order[rows(run, "linf:0.065", "near")["id"]].tolist()
    assert tried in ([0], [0, 1])
    run = hb.evaluate(LINE, x, zeros(x), hb.Linf(0.065), suite=suite, all_attacks=True)
    assert len(rows(run, "linf:0.065", "near")["id"]) == 16


def test_nearness_is_that_of_the_best_point_so_far():
    """Earlier stages brought some points nearer than others: margin a - x1 b, where a = 0.5."""
    slope = torch.tensor([0.3, 0.9, 0.1, 0.5, 0.7, 0.2])
    x = torch.stack([torch.full((6,), 0.5), torch.zeros(6), slope], 1)
    model = margin_of(lambda x: x[:, 0] - x[:, 1] * x[:, 2])
    suite = {"jump": Jump(way=(0.0, 0.1, 0.0)), "near": Stage(attack=LAZY, portion=0.5)}
    run = hb.evaluate(model, x, zeros(x), hb.Linf(0.1), suite=suite)
    assert rows(run, "linf:0.1", "near")["id"].tolist() == [1, 4, 3]


def test_stages_on_nobody():
    """All points broke before, or there is but one."""
    x, _ = spread()
    suite = {"apgd": APGD(steps=3), "near": Stage(attack=LAZY, portion=0.25),
             "near carried": Stage(attack=LAZY, portion=0.25, carry=True)}  # fmt: skip
    run = hb.evaluate(LINE, x.double(), zeros(x), [hb.Linf(0.4), hb.L2(0.4)], suite=suite)
    assert run.union_accuracy == 0
    assert run.summary["finished"]
    assert len(rows(run, "linf:0.4", "near")["id"]) == 0
    one = hb.evaluate(LINE, x[:1], zeros(x)[:1], [hb.Linf(0.0), hb.L2(0.4)], suite=suite)
    assert one.accuracy == {"linf:0": 1.0, "l2:0.4": 0.0}


# Evidence.


SUITE = {
    "apgd": APGD(steps=5),
    "noise": Noise(steps=5),
    "long": Stage(attack=APGD(steps=8), portion=0.2, when="unmasked"),
    "carried": Stage(attack=APGD(steps=4), carry=True),
    "square": Stage(attack=Square(steps=30), when="masked"),
    "random": Stage(attack=RandomSearch(samples=20), when="masked", threats=("linf",)),
    "carried last": Stage(attack=LAZY, when="masked", carry=True),
}
UNION = [hb.Linf(0.06), hb.L2(0.15)]


@pytest.fixture
def blind():
    model = Wrapped(linear(), rounded(12))
    return model, *points(model)


def stages_of(result):
    return set(result.store.rows("attack-")["task"].tolist())


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
def test_stages_for_masked_gradients_run_on_evidence_only(blind):
    run = hb.evaluate(*blind, UNION, suite=SUITE)
    assert run.summary["escalated"]
    assert run.summary["finished"]
    assert {"square", "random"} <= stages_of(run)
    assert "long" not in stages_of(run)
    assert len(rows(run, "l2:0.15", "random")["id"]) == 0
    honest = linear()
    run = hb.evaluate(honest, *points(honest), UNION, suite=SUITE)
    assert not run.summary["escalated"]
    assert run.summary["finished"]
    assert stages_of(run) <= {"apgd", "noise", "long", "carried"}
    assert "long" in stages_of(run)


def test_evidence_is_that_of_the_stages_that_always_run():
    """Else a run could find itself in both states, and run the stages for either."""

    def margin(x):  # gradients lead along the first feature; the second holds a trap
        trap = (x[:, 1] > 0.55) & (x[:, 2] > 0.5)
        return torch.where(trap, -1.0, 0.3 - 0.1 * x[:, 0])

    x = torch.full((8, 3), 0.5)
    x[:4, 2], x[4:, 2] = 0.8, 0.2
    pgd = PGD(steps=3, random_start=False)
    guess = Guess(way=(0.0, 0.1, 0.0))
    for when, state in (("always", "masked"), ("unmasked", "unmasked")):
        suite = {"pgd": pgd, "guess": Stage(attack=guess, when=when),
                 "masked": Stage(attack=LAZY, when="masked"),
                 "unmasked": Stage(attack=LAZY, when="unmasked")}  # fmt: skip
        run = hb.evaluate(margin_of(margin), x, zeros(x), hb.Linf(0.1), suite=suite)
        assert rows(run, "linf:0.1", "guess")["broken"].tolist() == [True] * 4 + [False] * 4
        assert stages_of(run) == {"pgd", "guess", state}
        # The whole run's rows are what the summary warns of.
        assert [e["code"] for e in run.summary["evidence"]] == ["gradient-free beats gradients"]


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
def test_progress_reaches_its_end_whatever_was_skipped(blind):
    for model in (blind[0], linear()):
        seen = []
        hb.evaluate(model, *points(model), UNION, suite=SUITE, progress=seen.append)
        assert [e.done for e in seen] == sorted(e.done for e in seen)
        assert seen[-1].done == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
def test_all_attacks_are_all_of_them_on_all_points(blind):
    for model, data in ((blind[0], blind[1:]), (linear(), points(linear()))):
        run = hb.evaluate(model, *data, UNION, suite=SUITE, all_attacks=True)
        assert stages_of(run) == set(SUITE)
        correct = [*range(len(data[0]))]
        for threat in run.accuracy:
            for name, stage in SUITE.items():
                carried = isinstance(stage, Stage) and stage.carry
                if (threat, name) != ("l2:0.15", "random") and not carried:
                    assert sorted(rows(run, threat, name)["id"].tolist()) == correct
        assert run.summary["finished"]
        for threat in run.summary["threats"].values():
            assert all(a["broke_alone"] >= a["broke"] for a in threat["attacks"].values())


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
def test_union_only_escalates_and_is_an_upper_bound(blind):
    full = hb.evaluate(*blind, UNION, suite=SUITE)
    cheap = hb.evaluate(*blind, UNION, suite=SUITE, union_only=True)
    assert cheap.summary["finished"]
    assert cheap.summary["escalated"]
    assert all(threat["upper_bound"] for threat in cheap.summary["threats"].values())
    found = cheap.store.rows("attack-")
    broke = found["id"][found["broken"].astype(bool)]
    assert len(broke) == len(set(broke.tolist()))  # nobody is broken twice
    assert cheap.summary["cost"]["forwards"] < full.summary["cost"]["forwards"]


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
def test_verify_confirms_an_escalated_run(blind, tmp_path):
    run = hb.evaluate(*blind, UNION, suite=SUITE, out=tmp_path / "r")
    found = hb.verify(tmp_path / "r", blind[0])
    assert found.ok, str(found)
    assert found.finished
    assert found.points == int(run.store.rows("attack-")["broken"].sum()) > 0


def test_resuming_costs_targeted_attacks_no_further_pass(tmp_path):
    model = linear()
    x, y = points(model)
    suite = {"targeted": APGD(steps=3, targets=2)}
    run = hb.evaluate(model, x, y, hb.Linf(0.02), suite=suite, out=tmp_path / "r")
    for file in ("summary.json", "parts/attack-00000-000.parquet"):
        (tmp_path / "r" / file).unlink()
    again = hb.evaluate(model, x, y, hb.Linf(0.02), suite=suite, out=tmp_path / "r", resume=True)
    assert torch.equal(run.robust(), again.robust())
    assert run.summary["cost"]["forwards"] == again.summary["cost"]["forwards"]


def comparable(path):
    ledger = Ledger.open(path)
    parts = {}
    for key in ledger.keys(""):
        part = ledger.part(key)
        part.pop("seconds")
        parts[key] = (part, ledger.tensors(key))
    summary = ledger.summary()
    summary["cost"].pop("seconds")
    return parts, summary


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("union_only", [False, True])
def test_resuming_after_any_part_gives_the_same_run(tmp_path, masked, union_only):
    """Whether gradients are masked is read from the same parts again."""
    model = Wrapped(linear(), rounded(12)) if masked else linear()
    x, y = points(model)

    def go(path, **more):
        given = {"suite": SUITE, "union_only": union_only, "block": 16, **more}
        hb.evaluate(model, x, y, UNION, out=path, **given)
        return comparable(path)

    whole, summary = go(tmp_path / "whole")
    keys = [*whole]
    assert sum(key.startswith("clean-") for key in keys) == 2
    keys.sort(key=lambda key: (key.split("-")[1], key.startswith("attack"), key))
    for kept in range(0, len(keys), 6):
        cut = tmp_path / f"cut-{kept}"
        shutil.copytree(tmp_path / "whole", cut)
        (cut / "summary.json").unlink()
        for key in keys[kept:]:
            for file in (cut / "parts").glob(f"{key}.*"):
                file.unlink()
        parts, told = go(cut, resume=True)
        assert told == summary
        assert [*parts] == [*whole]
        for key, (columns, tensors) in parts.items():
            for name, column in columns.items():
                np.testing.assert_array_equal(column, whole[key][0][name], err_msg=name)
            for name, tensor in tensors.items():
                assert torch.equal(tensor, whole[key][1][name])


@pytest.mark.filterwarnings("ignore::hauberk.errors.HauberkWarning")
def test_each_block_escalates_on_its_own_evidence():
    """Rounding sets in beyond 2 in the first feature: in the second block only."""
    inner = linear()

    class Half(nn.Module):
        def forward(self, x):
            far = x.flatten(1).amax(1).view(-1, 1, 1, 1) > 1.5
            x = torch.where(far, (x * 12).round() / 12, x)
            return inner(x) - inner(torch.full_like(x, 1.0))

    x = torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    x[20:] += 2
    model = Half()
    suite = {"apgd": APGD(steps=5), "square": Stage(attack=Square(steps=9), when="masked"),
             "long": Stage(attack=APGD(steps=9), when="unmasked")}  # fmt: skip
    y = model(x).argmax(1)
    run = hb.evaluate(model, x, y, hb.Linf(0.02), suite=suite, box=(0, 3), block=20)
    assert min(rows(run, "linf:0.02", "square")["id"]) >= 20
    assert max(rows(run, "linf:0.02", "long")["id"]) < 20
    assert run.summary["escalated"]
    assert run.summary["finished"]


# What is finished.


def test_a_run_is_finished_without_its_optional_stages(tmp_path):
    model = linear()
    x, y = points(model)
    run = hb.evaluate(model, x, y, UNION, suite=SUITE, out=tmp_path / "r")
    clean, attacks = run.store.rows("clean-"), run.store.rows("attack-")

    def without(*names):
        kept = ~np.isin(attacks["task"], names)
        left = {name: column[kept] for name, column in attacks.items()}
        return summarise(clean, left, run.store.manifest)

    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["schedule"][0] == {
        "threat": "linf:0.06", "attack": "apgd",
    }  # fmt: skip
    assert without()["finished"]
    less = without("long", "carried")
    assert less["finished"]
    assert not any(threat["upper_bound"] for threat in less["threats"].values())
    lacking = without("noise")
    assert not lacking["finished"]
    assert all(threat["upper_bound"] for threat in lacking["threats"].values())
