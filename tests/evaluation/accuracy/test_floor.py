"""The floor of a run: which points are drawn, what is done to them, resuming, verifying."""

import json

import numpy as np
import pytest
import torch
from helpers.accuracy import data, net
from torch import nn

import hauberk as hb
from hauberk.attacks import FGSM, Noise
from hauberk.errors import InputError
from hauberk.evaluation.accuracy import floor as floor_module
from hauberk.evaluation.accuracy import floor_searches
from hauberk.evaluation.accuracy.floor import draw, spent_on, standing
from hauberk.evaluation.accuracy.question import Accuracy
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.store.ledger import Ledger

WEAK = {"noise": Noise(steps=5)}
UNION = hb.Union(hb.Linf(0.08), hb.L2(0.3))


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Floors that take little time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floor_module, "LEAST", 200)
        yield


@pytest.fixture(scope="module")
def case():
    model, x = net(), data(40)
    y = model(x).argmax(1)
    y[:3] = (y[:3] + 1) % 3
    return model, x, y


@pytest.fixture(scope="module")
def made(case, tmp_path_factory):
    """A run with a floor under a union, in blocks smaller than the draw."""
    out = tmp_path_factory.mktemp("floor") / "run"
    ids = torch.arange(40) * 7 + 5
    return hb.evaluate(*case, UNION, suite=WEAK, floor=12, ids=ids, out=out, block=9, seed=4)


def test_every_subset_is_as_likely_and_a_larger_draw_holds_the_smaller_ones():
    ids, counts = np.arange(10, 30), np.zeros((20, 20))
    for seed in range(2000):
        drawn = draw(ids, 6, seed)
        assert len(set(drawn.tolist())) == 6
        assert drawn.tolist() == sorted(drawn.tolist())
        assert set(drawn) < set(draw(ids, 7, seed))
        counts[np.ix_(drawn - 10, drawn - 10)] += 1
    single, pairs = np.diag(counts) / 2000, counts[np.triu_indices(20, 1)] / 2000
    assert np.abs(single - 6 / 20).max() < 0.045  # 4.4 standard deviations
    assert np.abs(pairs - 6 * 5 / (20 * 19)).max() < 0.030


def test_only_seed_and_ids_decide_the_draw():
    ids = np.arange(50) * 3
    drawn = draw(ids, 20, 1)
    assert draw(ids, 20, 1).tolist() == drawn.tolist() != draw(ids, 20, 2).tolist()
    assert set(draw(ids[::-1].copy(), 20, 1)) == set(drawn)
    kept = ids[~np.isin(ids, drawn[:5])]  # the others keep their order
    assert set(draw(kept, 15, 1)) == set(drawn[5:])
    assert draw(ids, 99, 1).tolist() == ids.tolist()


def test_standing_points_are_right_and_unbroken():
    clean = {"id": np.array([4, 2, 9, 7]), "correct": np.array([True, True, False, True])}
    attacks = {"id": np.array([4, 2, 4]), "broken": np.array([False, True, False])}
    assert standing(clean, attacks).tolist() == [4, 7]
    assert standing(clean, {}).tolist() == [4, 2, 7]


def test_passes_are_those_of_the_standing_points():
    rows = {
        "id": np.array([1, 1, 2, 3]), "threat": np.array(["a", "b", "a", "a"]),
        "forwards": np.array([10, 1, 20, 500]), "backwards": np.array([5, 2, 15, 500]),
    }  # fmt: skip
    assert spent_on(rows, np.array([1, 2]), "a") == (15 + 35) / 2
    assert spent_on(rows, np.array([1, 2])) == (18 + 35) / 2
    assert spent_on(rows, np.array([1, 2, 4, 5])) == (18 + 35) / 4


def test_the_drawn_points_are_searched_under_every_threat(made):
    store, floor = made.store, made.summary["floor"]
    clean, attacks, rows = (store.rows(p) for p in ("clean-", "attack-", "floor-"))
    left = standing(clean, attacks)
    drawn = draw(left, 12, 4)
    assert (floor["standing"], floor["drawn"]) == (len(left), 12)
    assert set(rows["id"]) == set(drawn)
    plan = store.part("plan-floor")
    assert set(plan["threat"]) == set(map(str, UNION.parts))
    assert len(store.keys("floor-")) == len(plan["task"])
    lost = {}
    for key in store.keys("floor-"):  # a point is searched until it falls, and no longer
        part, k = store.part(key), int(key.removeprefix("floor-"))
        assert set(part["task"]) <= {plan["task"][k]}
        assert set(part["threat"]) <= {plan["threat"][k]}
        assert part["id"].tolist() == [id_ for id_ in drawn if id_ not in lost]
        lost |= {int(id_): plan["threat"][k] for id_ in part["id"][part["broken"].astype(bool)]}
    assert 0 < len(lost) == floor["broken"] < 12
    assert floor["threats"] == {t: list(lost.values()).count(t) for t in map(str, UNION.parts)}


def test_what_the_floor_broke_is_broken(made):
    floor, rows = made.summary["floor"], made.store.rows("floor-")
    assert made.union_accuracy == (floor["standing"] - floor["broken"]) / 40
    assert made.union_accuracy >= floor["lowest"]
    assert int(made.robust().sum()) == floor["standing"] - floor["broken"]
    fell = set(rows["id"][rows["broken"].astype(bool)])
    for name, threat in made.summary["threats"].items():
        assert float(made.robust(name).float().mean()) == pytest.approx(threat["accuracy"])
        assert threat["attacks"]["floor"]["broke"] == floor["threats"][name]
        ids, points = made.points(name)
        assert len(ids) == len(points) == sum(a["broke"] for a in threat["attacks"].values())
        assert len(fell & set(ids.tolist())) == floor["threats"][name]
    assert int(made.robust(attacks=["noise"]).sum()) == floor["standing"]


def test_it_spends_about_ten_times_the_suite_or_the_least(case):
    one = hb.evaluate(*case, hb.Linf(0.01), suite=hb.attacks.APGD(steps=50), floor=5)
    floor = one.summary["floor"]
    assert floor["passes"]["suite"] == 101
    assert 8 * 101 < floor["passes"]["floor"] < 13 * 101
    small = hb.evaluate(*case, hb.Linf(0.01), suite=FGSM(), floor=5).summary["floor"]
    assert 150 < small["passes"]["floor"] < 270
    assert one.cost["forwards"] < 40 * (1 + 51) + 1  # the floor's passes are apart
    assert floor["cost"]["forwards"] > 5 * 400
    more = hb.evaluate(*case, hb.Linf(0.01), suite=hb.attacks.APGD(steps=50))
    assert more.cost["forwards"] == one.cost["forwards"]


def test_a_run_without_a_floor_is_as_it_was(case):
    found = hb.evaluate(*case, UNION, suite=WEAK)
    assert "floor" not in found.summary
    assert "floor" not in found.store.manifest
    assert all("floor" not in threat["attacks"] for threat in found.summary["threats"].values())
    assert not [key for key in found.store.keys("") if "floor" in key]


def test_an_interrupted_floor_goes_on(case, made, tmp_path):
    x = {"suite": WEAK, "floor": 12, "ids": torch.arange(40) * 7 + 5, "block": 9, "seed": 4}

    def stop(event):
        if "floor-dlr" in event.doing:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hb.evaluate(*case, UNION, out=tmp_path / "r", progress=stop, **x)
    begun = Ledger.open(tmp_path / "r")
    assert 0 < len(begun.keys("floor-")) < len(made.store.keys("floor-"))
    assert begun.summary() is None
    assert hb.verify(tmp_path / "r", case[0]).ok
    whole = hb.evaluate(*case, UNION, out=tmp_path / "r", resume=True, **x)
    for key in made.store.keys("floor-"):
        for name, column in made.store.part(key).items():
            if name != "seconds":
                np.testing.assert_array_equal(column, whole.store.part(key)[name], err_msg=key)
    assert whole.union_accuracy == made.union_accuracy
    with pytest.raises(InputError, match="floor"):
        hb.evaluate(*case, UNION, out=tmp_path / "r", resume=True, **x | {"floor": 11})


def test_progress_comes_to_its_end(case):
    seen = []
    hb.evaluate(*case, hb.Linf(0.01), suite=WEAK, floor=5, progress=lambda p: seen.append(p.done))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_it_is_verified(case, made):
    found = hb.verify(made.path, case[0])
    assert found.ok, str(found)
    rows, suite = made.store.rows("floor-"), made.store.rows("attack-")
    assert found.points == int(rows["broken"].sum()) + int(suite["broken"].sum())


def test_a_point_left_out_of_the_floor_is_seen(case, made, tmp_path):
    """Dropping a drawn point that fell would make the bound smaller."""
    other = MemoryCopy.of(made.store)
    question = Accuracy.of(made.store.manifest)
    lost = other.rows("floor-")
    lost = int(lost["id"][lost["broken"].astype(bool)][0])
    other.change(lambda key, part: part["id"] != lost if key.startswith("floor-") else None)
    summary = question.summarise(other)
    assert not summary["finished"]
    assert summary["floor"]["bound"] >= made.summary["floor"]["bound"]


def test_a_point_that_was_not_drawn_is_refused(made):
    other = MemoryCopy.of(made.store)
    drawn = set(other.rows("floor-")["id"])
    stands = standing(other.rows("clean-"), other.rows("attack-"))
    strange = next(id_ for id_ in stands if id_ not in drawn)
    key = other.keys("floor-")[0]
    other.parts[key] = {**other.parts[key], "id": other.parts[key]["id"].copy()}
    other.parts[key]["id"][0] = strange
    with pytest.raises(InputError, match=f"example {strange}, which was not drawn"):
        Accuracy.of(made.store.manifest).summarise(other)


def test_the_plan_says_what_was_run(made):
    plan = made.store.part("plan-floor")
    described = [json.loads(text) for text in plan["attack"]]
    assert {d["attack"] for d in described} >= {"APGD", "Square"}
    assert all(passes > 0 for passes in plan["passes"])


def test_no_standing_point_and_more_asked_than_there_are(case):
    model, x, y = case
    none = hb.evaluate(model, x, (y + 1) % 3, hb.Linf(0.5), suite="fast", floor=5)
    floor = none.summary["floor"]
    assert none.union_accuracy == 0
    assert (floor["drawn"], floor["broken"], floor["lowest"]) == (0, 0, 0)
    assert none.summary["finished"]
    assert "floor: no point stands" in none.table()
    every = hb.evaluate(*case, hb.L2(0.15), suite=WEAK, floor=1000)
    floor = every.summary["floor"]
    assert floor["exact"]
    assert floor["drawn"] == floor["standing"]
    assert floor["lowest"] == pytest.approx(every.union_accuracy)


@pytest.mark.parametrize("text", ["rt:30,3", "affine(linf:0.05,l1:0.5)", "l0:1", "l1.5:0.2"])
def test_every_threat_has_a_floor(text):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(2 * 16, 3))
    x = torch.rand(12, 1, 6, 6)
    found = hb.evaluate(model, x, model(x).argmax(1), hb.threat(text), suite=FGSM(), floor=3)
    floor = found.summary["floor"]
    assert floor["drawn"] == min(3, floor["standing"])
    assert found.summary["finished"]


def test_a_perceptual_threat_has_a_floor():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(2 * 16, 3))
    x = torch.rand(6, 1, 6, 6)
    threat = hb.threat("perceptual(0+1):0.1")
    found = hb.evaluate(
        model, x, model(x).argmax(1), threat, suite=hb.attacks.LPA(steps=5), floor=2
    )
    plan = found.store.part("plan-floor")
    assert "floor-measured" in plan["task"]
    assert "floor-square" not in plan["task"]


@pytest.mark.filterwarnings("ignore:the gradient of the logit margin")
def test_a_model_without_gradients_is_searched_without(case):
    class Hard(nn.Module):
        def forward(self, x):
            with torch.no_grad():
                return case[0](x)

    found = hb.evaluate(Hard(), *case[1:], hb.Linf(0.05), suite=WEAK, floor=4)
    assert "floor-square" in found.store.part("plan-floor")["task"]
    assert "floor-targets" not in found.store.part("plan-floor")["task"]


def test_a_threat_without_a_search_is_refused_before_any_work(case, monkeypatch, tmp_path):
    only = {"floor-square": floor_module.SEARCHES["floor-square"]}
    monkeypatch.setattr(floor_searches, "SEARCHES", only)
    with pytest.raises(InputError, match="no search for rt:30,3"):
        hb.evaluate(*case, hb.threat("rt:30,3"), suite="fast", floor=4, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_wrong_numbers_and_names_are_refused(case):
    for bad in (-1, 2.5, True, "many"):
        with pytest.raises(InputError, match="floor is"):
            hb.evaluate(*case, UNION, suite=WEAK, floor=bad)
    with pytest.raises(InputError, match="called floor"):
        hb.evaluate(*case, UNION, suite={"floor": FGSM()}, floor=3)
    assert hb.evaluate(*case, UNION, suite={"floor": FGSM()}).union_accuracy < 1


@pytest.mark.parametrize("points", ["union_only", "all_attacks"])
def test_it_goes_with_the_other_ways_to_run(case, points):
    suite = {"noise": Stage(attack=Noise(steps=5)), "fgsm": FGSM()}
    found = hb.evaluate(*case, UNION, suite=suite, floor=6, **{points: True})
    floor = found.summary["floor"]
    assert floor["drawn"] == 6
    assert found.union_accuracy == (floor["standing"] - floor["broken"]) / 40
    assert found.summary["finished"]
    assert "floor" in found.table()


class MemoryCopy:
    """The parts of a store, to be changed."""

    def __init__(self, manifest, parts):
        self.manifest, self.parts = manifest, parts

    @classmethod
    def of(cls, store):
        return cls(store.manifest, {key: store.part(key) for key in store.keys("")})

    def change(self, keep):
        for key, part in self.parts.items():
            mask = keep(key, part)
            if mask is not None:
                self.parts[key] = {name: column[mask] for name, column in part.items()}

    def keys(self, prefix=""):
        return sorted(key for key in self.parts if key.startswith(prefix))

    def has(self, key):
        return key in self.parts

    def part(self, key):
        return self.parts[key]

    def rows(self, prefix=""):
        parts = [self.parts[key] for key in self.keys(prefix)]
        return {n: np.concatenate([p[n] for p in parts]) for n in parts[0]} if parts else {}
