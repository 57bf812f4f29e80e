from hauberk.analysis import price
from hauberk.report.tables.price import table


def run(linf, rt, union):
    threats = {"linf:0.3": {"accuracy": linf}, "rt:30,3": {"accuracy": rt}}
    return {
        "n": 200, "clean_accuracy": 0.95, "threats": threats, "union_accuracy": union,
        "union_interval": None, "average_accuracy": (linf + rt) / 2,
    }  # fmt: skip


def test_shows_accuracies_the_optimum_and_the_price():
    runs = {"inf": run(0.9, 0.1, 0.1), "rt": run(0.0, 0.8, 0.0), "max": run(0.7, 0.6, 0.5)}
    lines = [line.split() for line in str(table(price(runs, ["inf", "rt"]).to_dict())).splitlines()]
    assert ["max", "95.0%", "70.0%", "60.0%", "50.0%", "65.0%"] in lines
    assert ["OPT", "–", "90.0%", "80.0%", "80.0%", "85.0%"] in lines
    assert ["max", "20.0", "20.0", "30.0", "20.0"] in lines


def test_a_run_under_its_own_threat_has_no_union():
    one = run(0.9, 0.1, 0.1)
    del one["threats"]["rt:30,3"]
    runs = {"inf": one, "rt": run(0.0, 0.8, 0.0), "max": run(0.7, 0.6, 0.5)}
    lines = [line.split() for line in str(table(price(runs, ["inf", "rt"]).to_dict())).splitlines()]
    assert ["inf", "95.0%", "90.0%", "–", "–", "–"] in lines
    assert not any(line[:1] == ["inf"] and len(line) == 5 for line in lines)
