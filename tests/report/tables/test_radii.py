"""Tables of radii, cell by cell, from numbers that all differ."""

import pytest

from hauberk.report.tables.radii import table

QUANTILES = {"0.05": 0.1234567, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "0.95": "inf"}


@pytest.fixture
def summary():
    metric = {
        "quantiles": QUANTILES, "largest": 0.9, "mean": 0.41, "mean_is_bound": True, "found": 17,
        "unfound": 3, "solvers": {"fmn": 11, "ddn": 6}, "nearest": None,
        "accuracies": {"0.5": 0.55, "0.25": 0.8}, "average_accuracy": 0.7,
        "average_robust_accuracy": 0.675,
    }  # fmt: skip
    union = {
        **metric, "mean_is_bound": False, "accuracies": None, "solvers": {},
        "nearest": {"linf:0.1": 4, "l2:1": 13},
    }  # fmt: skip
    return {
        "n": 20, "clean_accuracy": 0.95, "solver": "best", "budget": 1000, "seed": 7,
        "hauberk_version": "9.9", "cost": {"forwards": 600, "backwards": 400, "seconds": 2.5},
        "metrics": {"l2": metric, "union": union},
    }  # fmt: skip


def cells(text):
    return [line.split() for line in text.splitlines() if line and "─" not in line]


def test_radii_and_accuracies(summary):
    found = cells(str(table(summary)))
    row = ["0.1235", "0.25", "0.5", "0.75", ">", "0.9"]
    assert found[:3] == [
        ["radius", "5%", "25%", "median", "75%", "95%", "mean", "found", "none"],
        ["l2", *row, "≥", "0.41", "17", "3"],
        ["union", *row, "0.41", "17", "3"],
    ]
    assert found[3:9] == [
        ["accuracy", "at", "eps", "l2"],
        ["0", "(clean)", "95.0%"],
        ["0.25", "80.0%"],
        ["0.5", "55.0%"],
        ["AvgAcc", "70.0%"],
        ["AvgRobAcc", "67.5%"],
    ]


def test_notes(summary):
    text = " ".join(str(table(summary)).split())
    assert "20 examples, 95.0% correct, solver best, budget 1000, seed 7, hauberk 9.9" in text
    assert "cost: 30 F + 20 B passes per example, 2.5 s" in text
    assert "found by (l2): fmn 11, ddn 6" in text
    assert "found by (union): – nearest ball: linf:0.1 4, l2:1 13" in text
    assert "none: no point was found" in text
    for metric in summary["metrics"].values():
        metric["unfound"] = 0
    assert "none: no point was found" not in str(table(summary))


def test_more_metrics_than_fit_side_by_side(summary):
    summary["metrics"] = {f"l{p}": summary["metrics"]["l2"] for p in range(2, 10)}
    text = str(table(summary))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("AvgRobAcc") == 2
