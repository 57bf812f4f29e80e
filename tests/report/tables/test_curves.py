"""The table of curves, cell by cell."""

import pytest

from hauberk.report.tables.curves import table


@pytest.fixture
def summary():
    accuracy = [
        {"eps": 0.25, "accuracy": {"a": 0.8, "b": 0.7}},
        {"eps": 1.5, "accuracy": {"a": 0.1, "b": 0.3}},
    ]
    crossing = {"before": "a", "after": "b", "eps": 0.98765}
    panel = {"by": "radius", "accuracy": accuracy, "crossings": [crossing]}
    return {
        "n": 50, "seed": 1, "hauberk_version": "9.9", "clean": {"a": 0.96, "b": 0.9},
        "least": 0.02, "panels": {"l2": panel},
    }  # fmt: skip


def test_cells(summary):
    text = str(table(summary))
    found = [line.split() for line in text.splitlines() if line and "─" not in line]
    assert found[:3] == [
        ["l2", "clean", "0.25", "1.5"],
        ["a", "96.0%", "80.0%", "10.0%"],
        ["b", "90.0%", "70.0%", "30.0%"],
    ]
    assert "50 examples, l2 by radius, seed 1, hauberk 9.9" in text
    assert "l2: a leads below 0.9877, b from there" in text


def test_crossings(summary):
    panel = summary["panels"]["l2"]
    panel["crossings"] *= 8
    assert "l2: 2 more crossings" in str(table(summary))
    panel["crossings"] = []
    assert "l2: no two models change places by more than 2.0%" in str(table(summary))
    summary["clean"] = {"a": 0.96}
    assert "change places" not in str(table(summary))
