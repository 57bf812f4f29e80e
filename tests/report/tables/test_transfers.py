"""Tables of transfer, cell by cell, from numbers that all differ."""

import pytest

from hauberk.report.tables.transfer import table as short
from hauberk.report.tables.transfers import table


def cells(text):
    return [line.split() for line in text.splitlines() if line and "─" not in line]


@pytest.fixture
def summary():
    case = {
        "whitebox": {"a": 0.6, "b": 0.5}, "combined": {"a": 0.55, "b": 0.25},
        "gap": {"a": 0.05, "b": 0.25}, "combined_interval": {"a": [0.45, 0.65], "b": [0.2, 0.3]},
        "broke": {},
    }  # fmt: skip
    return {
        "n": 100, "seed": 2, "hauberk_version": "9.9", "clean": {"a": 0.9, "b": 0.8},
        "avg_acc": {"a": 0.7, "b": 0.4}, "avg_rob_acc": {"a": 0.55, "b": 0.25},
        "threats": {"l2:1": case}, "cost": {"forwards": 300, "backwards": 200, "seconds": 4.0},
    }  # fmt: skip


def test_averages_and_cases(summary):
    text = str(table(summary))
    assert cells(text)[:6] == [
        ["model", "clean", "AvgAcc", "AvgRobAcc"],
        ["a", "90.0%", "70.0%", "55.0%"],
        ["b", "80.0%", "40.0%", "25.0%"],
        ["l2:1", "white-box", "combined", "95%", "interval", "gap"],
        ["a", "60.0%", "55.0%", "45.0–65.0", "5.0%"],
        ["b", "50.0%", "25.0%", "20.0–30.0", "25.0%"],
    ]
    assert "100 examples, seed 2, hauberk 9.9" in text
    assert "3 F + 2 B passes per example, 4 s" in text


def test_a_check_by_another_attack(summary):
    row = {"broke": 7, "broke_more": 2}
    summary["check"] = {"attack": "spsa", "n": 50, "threats": {"l2:1": {"a": row, "b": row}}}
    text = " ".join(str(table(summary)).split())
    assert "spsa on the first 50 examples broke 14, of which white-box attacks did not 4" in text


def test_the_short_table():
    report = {
        "threat": "l2:1", "clean": {"a": 0.91, "b": 0.82}, "whitebox": {"a": 0.6, "b": 0.5},
        "combined": {"a": 0.55, "b": 0.25}, "gap": {"a": 0.05, "b": 0.25},
        "broke": {"a": {"a": 0.31, "b": 0.57}, "b": {"a": 0.123, "b": 0.32}},
    }  # fmt: skip
    assert cells(short(report)) == [
        ["l2:1"],
        ["model", "clean", "white-box", "combined", "gap"],
        ["1", "a", "91.00", "60.00", "55.00", "5.00"],
        ["2", "b", "82.00", "50.00", "25.00", "25.00"],
        ["points", "of,", "broke", "1", "2"],
        ["1", "a", "31.00", "57.00"],
        ["2", "b", "12.30", "32.00"],
    ]
