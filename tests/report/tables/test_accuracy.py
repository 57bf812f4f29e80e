import io

import pytest
from rich.console import Console

from hauberk.report.tables.accuracy import compare, table


@pytest.fixture
def summary():
    return {
        "hauberk_version": "0.1.0",
        "n": 200,
        "clean_accuracy": 0.98,
        "clean_interval": [0.95, 0.993],
        "union_accuracy": 0.25,
        "union_interval": [0.195, 0.314],
        "average_accuracy": 0.375,
        "threats": {
            "linf:8/255": {
                "accuracy": 0.5,
                "interval": [0.431, 0.569],
                "upper_bound": False,
                "attacks": {
                    "apgd[ce]": {"accuracy_after": 0.6, "broke": 76, "broke_alone": None},
                    "apgd-targeted[dlr]": {
                        "accuracy_after": 0.5,
                        "broke": 20,
                        "broke_alone": None,
                    },
                },
            },
            "l1:12": {
                "accuracy": 0.25,
                "interval": [0.195, 0.314],
                "upper_bound": True,
                "attacks": {"apgd": {"accuracy_after": 0.25, "broke": 50, "broke_alone": None}},
            },
        },
        "cost": {"forwards": 50500, "backwards": 40000, "seconds": 12.34},
        "suite": "standard",
        "seed": 0,
        "all_attacks": False,
        "finished": True,
        "near_boundary": [{"id": 3, "threat": "l1:12"}],
        "rejected": 2,
        "warnings": ["the model's gradient vanishes on 12 examples [check it]: run hauberk lint"],
    }


def line(text, start):
    return next(row for row in text.splitlines() if row.strip().startswith(start))


def test_table_tells_all_in_80_columns(summary):
    text = str(table(summary))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert line(text, "clean").split() == ["clean", "98.0%", "95.0–99.3"]
    assert line(text, "linf").split() == ["linf:8/255", "50.0%", "43.1–56.9"]
    assert line(text, "apgd[ce]").split() == ["apgd[ce]", "60.0%", "76"]
    assert line(text, "apgd-targeted").split() == ["apgd-targeted[dlr]", "50.0%", "20"]
    assert line(text, "l1:12").split() == ["l1:12", "≤", "25.0%", "19.5–31.4"]
    assert line(text, "union").split() == ["union", "25.0%", "19.5–31.4"]
    assert line(text, "average").split() == ["average", "≤", "37.5%"]
    assert "252.5 F + 200 B passes per example, 12.3 s" in text
    assert "200 examples, suite standard, seed 0, hauberk 0.1.0" in text
    assert "[check it]" in line(text, "warning:")
    assert "an attack called broken and the judge did not: 2" in text
    assert "within rounding of the decision boundary: 1" in text
    assert "≤ upper bound" in text


def test_long_names_are_kept_whole(summary):
    name = "an-attack-" * 9
    attack = {"accuracy_after": 0.1, "broke": 1, "broke_alone": None}
    summary["threats"]["l1:12"]["attacks"] = {name: attack}
    text = str(table(summary))
    assert max(map(len, text.splitlines())) <= 80
    rows = [row.strip().split(" ")[0] for row in text.splitlines()]
    assert name in "".join(rows)


def test_all_attacks_get_a_column(summary):
    summary["all_attacks"] = True
    summary["threats"]["l1:12"]["attacks"]["apgd"]["broke_alone"] = 77
    text = str(table(summary))
    assert "alone" in text.splitlines()[0]
    assert line(text, "apgd  ").split() == ["apgd", "25.0%", "50", "77"]


def test_an_empty_or_unfinished_run(summary):
    summary.update(n=0, clean_accuracy=None, clean_interval=None, union_accuracy=None)
    summary.update(union_interval=None, average_accuracy=None, finished=False)
    for threat in summary["threats"].values():
        threat.update(accuracy=None, interval=None, attacks={})
    summary["cost"]["seconds"] = None
    text = str(table(summary))
    assert line(text, "union").split() == ["union", "–"]
    assert "– F + – B passes per example" in text
    assert "unfinished" in text
    assert "–" in str(compare({"a": summary}))


def test_many_examples_get_a_second_digit(summary):
    summary.update(n=10000, union_accuracy=0.2512)
    assert "25.12%" in line(str(table(summary)), "union")


def test_piped_and_without_colour(summary, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    table(summary).print()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "98.0%" in out


def test_a_terminal_without_unicode(summary):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    summary["warnings"] = ["naïve"]
    table(summary).print(Console(file=stream, width=80))
    compare({"a": summary}).print(Console(file=stream, width=80))
    stream.flush()
    assert "<= 25.0%" in raw.getvalue().decode("ascii")


def test_comparison_has_a_column_a_model(summary):
    other = {**summary, "union_accuracy": 0.4, "union_interval": [0.33, 0.47], "warnings": []}
    other["threats"] = {"linf:8/255": summary["threats"]["linf:8/255"]}
    text = str(compare({"plain [x]": summary, "hardened": other}))
    assert max(map(len, text.splitlines())) <= 80
    assert "plain [x]" in text.splitlines()[0]
    assert "hardened" in text.splitlines()[0]
    assert "25.0% (19.5–31.4)" in line(text, "union")
    assert "40.0% (33.0–47.0)" in line(text, "union")
    assert line(text, "l1:12").split()[-1] == "–"
    assert "plain [x]: warning:" in text
    assert "not comparable" not in text
    assert "numbers of examples differ (a: 200, b: 10)" in str(
        compare({"a": summary, "b": {**summary, "n": 10}})
    )


def test_five_models_fit(summary):
    text = str(compare({f"model-{i}": summary for i in range(5)}))
    assert max(map(len, text.splitlines())) <= 80
    assert line(text, "union").split() == ["union", *["25.0%"] * 5]


def floor(**other):
    return {
        "drawn": 60, "standing": 120, "broken": 3, "exact": False, "confidence": 0.95,
        "bound": 0.124, "lowest": 0.22, "passes": {"suite": 1000.0, "floor": 9800.0},
        "cost": {"forwards": 300000, "backwards": 240000, "seconds": 60.0},
    } | other  # fmt: skip


def test_the_floor_is_one_line_and_its_cost_another(summary):
    text = str(table(summary | {"floor": floor()})).replace("\n", " ")
    assert (
        "floor: 3 of 60 of 120 standing points fell to 9.8 times the passes (drawn at random): "
        "with 95% confidence at most 12.4% would, and the union is at least 22.0%"
    ) in text
    assert "floor's cost: 5,000 F + 4,000 B passes per drawn point, 60 s" in text
    exact = str(table(summary | {"floor": floor(exact=True, drawn=120)})).replace("\n", " ")
    assert "3 of all 120 standing points fell to 9.8 times the passes, so the union is at" in exact
    none = floor(drawn=0, standing=0, broken=0, exact=True, lowest=0.0)
    assert "floor: no point stands" in str(table(summary | {"floor": none}))
    fallen = floor(passes={"suite": 1000.0, "floor": 0.0})
    assert "fell to more passes" in str(table(summary | {"floor": fallen})).replace("\n", " ")
    assert "floor" not in str(table(summary))
