"""The price of multi-robustness, against tables 1 and 2 of Tramèr & Boneh 2019 and by hand."""

import json

import pytest
from helpers.oracles import refusal

from hauberk.analysis import optimum, price, price_of


def run(union=None, n=1000, suite="s", clean=0.99, **accuracy):
    """A summary with accuracies in per cent; the union is the least if it is not given."""
    threats = {name: {"accuracy": value / 100} for name, value in accuracy.items()}
    shares = [found["accuracy"] for found in threats.values()]
    return {
        "n": n, "suite": suite, "clean_accuracy": clean, "threats": threats,
        "union_accuracy": min(shares) if union is None else union / 100,
        "union_interval": [0.0, 1.0], "average_accuracy": sum(shares) / len(shares),
    }  # fmt: skip


# Linf and RT on MNIST; linf and l1 on CIFAR-10: accuracies, union, and the printed OPT.
MNIST = {
    "inf": run(0.2, linf=91.4, rt=0.2), "rt": run(0.0, linf=0.0, rt=94.6),
    "avg": run(82.9, linf=88.2, rt=86.4), "max": run(83.8, linf=89.6, rt=85.6),
}  # fmt: skip
CIFAR = {
    "inf": run(16.4, linf=71.0, l1=16.4), "one": run(53.1, linf=53.4, l1=66.2),
    "avg": run(59.4, linf=64.1, l1=60.8), "max": run(61.1, linf=65.7, l1=62.5),
}  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "single", "union", "average"),
    [(MNIST, ["inf", "rt"], 91.4, 93.0), (CIFAR, ["inf", "one"], 66.2, 68.6)],
)
def test_the_printed_optima(runs, single, union, average):
    found = price(runs, single)
    assert 100 * found.optimum_union == pytest.approx(union)
    assert 100 * found.optimum_average == pytest.approx(average)
    assert found.paid.keys() == runs.keys()
    for name, paid in found.paid.items():
        own = runs[name]
        assert 100 * paid.union == pytest.approx(union - 100 * own["union_accuracy"])
        assert 100 * paid.average == pytest.approx(average - 100 * own["average_accuracy"])


def test_what_each_model_pays_by_hand():
    """MNIST, Adv_max: 91.4 - 83.8 on the union, 93.0 - 87.6 on average, 1.8 and 9.0 by threat."""
    found = price(MNIST, ["inf", "rt"])
    paid = found.paid["max"]
    assert 100 * paid.union == pytest.approx(7.6)
    assert 100 * paid.average == pytest.approx(5.4)
    assert 100 * paid.threats["linf"] == pytest.approx(1.8)
    assert 100 * paid.threats["rt"] == pytest.approx(9.0)
    assert found.best_of == {"linf": "inf", "rt": "rt"}
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["risk_optimum_max"] == pytest.approx(1 - 0.914)  # max of the risks R_i
    assert plain["risk_optimum_average"] == pytest.approx((0.086 + 0.054) / 2)
    assert plain["price"]["max"]["threats"]["rt"] == pytest.approx(0.09)
    assert plain["single"] == ["inf", "rt"]


def test_single_runs_may_know_their_own_threat_only():
    few = {"inf": run(linf=91.4), "rt": run(rt=94.6), "max": MNIST["max"]}
    found = price(few, ["inf", "rt"])
    assert found.paid.keys() == {"max"}
    assert found.paid["max"] == price(MNIST, ["inf", "rt"]).paid["max"]


def test_without_single_runs_the_best_of_all_counts():
    runs = {"one": run(5, linf=60, l1=70), "two": run(5, linf=50, l1=80)}
    assert price(runs).best_of == {"linf": "one", "l1": "two"}
    assert price(runs, ["two"]).optimum_union == pytest.approx(0.5)
    assert price(runs, ["two"]).paid["one"].union == pytest.approx(0.45)
    assert price(runs, ["two"]).paid["one"].threats["linf"] == pytest.approx(-0.1)


def test_optimum():
    assert optimum({"a": 0.9, "b": 0.5, "c": 0.7}) == pytest.approx((0.5, 0.7))


def test_refusals():
    two = {"a": run(linf=60, l1=70)}
    assert "no runs" in refusal(price, {})
    assert "none of the runs" in refusal(price, two, ["b"])
    assert "other examples" in refusal(price, {**two, "b": run(linf=60, l1=70, n=10)})
    crc = {name: {**two["a"], "images_crc": number} for number, name in enumerate("ab")}
    assert "other examples" in refusal(price, crc)
    assert "under the same threats" in refusal(price, {**two, "b": run(linf=60)})
    assert "was evaluated under l1" in refusal(price, {**two, "b": run(linf=60)}, ["b"])
    bound = run(linf=60)
    bound["threats"]["linf"]["upper_bound"] = True
    assert "--union-only" in refusal(price, {"a": bound})
    assert "no run of hauberk evaluate" in refusal(price, {"a": {"n": 3, "threats": {}}})
    assert "no examples" in refusal(price, {"a": run(linf=60, n=0)})
    assert price({**two, "b": run(linf=1, l1=1, suite="t")}).notes == ["suites differ: s, t"]


def test_runs_on_disk_are_called_by_their_folders(tmp_path):
    for name, found in MNIST.items():
        folder = tmp_path / name / "standard"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(found))
        (folder / "manifest.json").write_text(json.dumps({"n": 1000, "images_crc": 7}))
    several = [tmp_path / name / "standard" for name in MNIST]
    single = [tmp_path / "inf" / "standard" / "summary.json", tmp_path / "rt" / "standard"]
    found = price_of(several, single)
    assert list(found.runs) == [f"{name}/standard" for name in MNIST]
    assert found.single == ("inf/standard", "rt/standard")
    assert found.optimum_average == pytest.approx(0.93)
    assert list(price_of(several[:1]).runs) == ["standard"]
    (several[0] / "manifest.json").write_text(json.dumps({"n": 1000, "images_crc": 8}))
    assert "other examples" in refusal(price_of, several)
    (several[0] / "summary.json").write_text("[1]")
    assert "no summary" in refusal(price_of, several)
    (several[0] / "summary.json").write_text("{")
    assert "cannot be read" in refusal(price_of, several)
    assert "no finished run" in refusal(price_of, [tmp_path / "other"])
    assert "no runs" in refusal(price_of, [])
