"""The table of a min-max run, cell by cell, from numbers that all differ."""

import pytest

from hauberk.report.tables.minmax import table


def side(a, b, rates, weights):
    return {
        "accuracy": {"A": a, "B": b}, "mean_weights": {"A": weights, "B": 1 - weights},
        "asr_all": rates[0], "asr_avg": rates[1], "asr_group": rates[2], "asr_any": rates[3],
        "cost": {"passes_per_example": 1234 * rates[0] * 10, "seconds": 1.25}, "refused": 1,
    }  # fmt: skip


@pytest.fixture
def summary():
    return {
        "n": 40, "threat": "linf:0.1", "group": None, "perturbations": 40, "seed": 3,
        "hauberk_version": "9.9", "parts": ["A", "B"], "clean_accuracy": {"A": 0.9, "B": 0.8},
        "attack": {"attack": "pgd", "steps": 50}, "binding": {"A": 0.625, "B": 0.375},
        "lift": {"asr_all": 0.25, "asr_avg": -0.04},
        "sides": {
            "average": side(0.2, 0.5, (0.4, 0.65, 0.35, 0.7), 0.5),
            "minmax": side(0.3, 0.35, (0.5, 0.675, 0.45, 0.8), 0.7),
        },
    }  # fmt: skip


def cells(text):
    return [line.split() for line in text.splitlines() if line and "─" not in line]


def test_cells(summary):
    assert cells(str(table(summary)))[:6] == [
        ["accuracy", "of", "clean", "average", "minmax", "weight", "hardest"],
        ["A", "90.0%", "20.0%", "30.0%", "0.700", "62.5%"],
        ["B", "80.0%", "50.0%", "35.0%", "0.300", "37.5%"],
        ["ASR_all", "40.0%", "50.0%", "lift", "+25.0%"],
        ["ASR_avg", "65.0%", "67.5%", "lift", "-4.0%"],
        ["passes", "4,936", "6,170"],
    ]
    text = " ".join(str(table(summary)).split())
    assert "40 examples under linf:0.1, pgd of 50 steps, seed 3, hauberk 9.9" in text
    assert "2.5 seconds, 2 points refused" in text
    assert "the one hardest to fool" in text


def test_groups(summary):
    summary |= {"group": 4, "perturbations": 10, "binding": None}
    summary["lift"] = {"asr_all": "inf"}
    text = str(table(summary))
    assert ["ASR_gp", "35.0%", "45.0%"] in cells(text)
    assert ["ASR_all", "40.0%", "50.0%", "lift", "–"] in cells(text)
    assert ["A", "90.0%", "20.0%", "30.0%"] in cells(text)
    assert "in 10 groups of 4" in text


def test_a_perturbation_for_each_threat(summary):
    summary |= {"threat": "each(linf:0.1, l2:1)"}
    summary["lift"]["asr_any"] = 0.125
    text = str(table(summary))
    assert ["ASR_any", "70.0%", "80.0%", "lift", "+12.5%"] in cells(text)
    assert ["ASR_all", "40.0%", "50.0%"] in cells(text)
    assert "that breaks most" in " ".join(text.split())


def test_more_domains_than_rows(summary):
    names = [f"d{k}" for k in range(30)]
    summary |= {"parts": names, "clean_accuracy": dict.fromkeys(names, 0.5), "binding": None}
    for one in summary["sides"].values():
        one["accuracy"] = dict.fromkeys(names, 0.25)
    found = cells(str(table(summary)))
    assert ["d23", "50.0%", "25.0%", "25.0%"] in found
    assert ["6", "more"] in found
    assert not any(row[0] == "d24" for row in found)
