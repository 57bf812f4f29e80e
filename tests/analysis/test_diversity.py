"""How far patterns differ: closed forms, and those of a recorded evaluation."""

import json

import pytest
import torch
from helpers.data import decided, inputs
from helpers.models import halfspace

import hauberk as hb
from hauberk import InputError
from hauberk.analysis import attack_runs, diversity, patterns, patterns_of_run
from hauberk.attacks import APGD, PGD
from hauberk.threats import L1, L2, Linf

WEIGHT = [1.0, -2.0, 0.5, 0.25]


def rows(*places):
    return torch.tensor(places)


def test_by_hand():
    found = diversity(
        {
            "a": (rows(0, 1), torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])),
            "b": (rows(1, 2, 0), torch.tensor([[1.0, 1, -1, -1], [9, 9, 9, 9], [-2, 0, 0, 0]])),
            "c": (rows(1), torch.tensor([[0.0, 3, 0, 0]])),
            "d": (rows(7), torch.tensor([[1.0, 0, 0, 0]])),
            "still": (rows(1), torch.zeros(1, 4)),
        }
    )
    pair = found.pairs["a", "b"]
    assert (pair.cosine, pair.ratio, pair.examples) == (-0.5, 1.0, 2)
    pair = found.pairs["a", "c"]
    assert (pair.cosine, pair.ratio, pair.examples) == (0.5, pytest.approx(2), 1)
    pair = found.pairs["b", "c"]
    assert (pair.cosine, pair.ratio, pair.examples) == (0.5, pytest.approx(2), 1)
    assert found.pairs["a", "d"].examples == found.pairs["a", "still"].examples == 0
    assert found.cosine == pytest.approx((-0.5 + 0.5 + 0.5) / 3)
    assert found.ratio == pytest.approx(2 ** (2 / 3))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["pairs"][0] == {
        "one": "a",
        "other": "b",
        "cosine": -0.5,
        "ratio": 1.0,
        "examples": 2,
    }


def test_of_nobody_there_is_none():
    found = diversity({"a": (rows(), torch.zeros(0, 2))})
    assert found.to_dict() == {"cosine": None, "ratio": None, "pairs": []}
    with pytest.raises(InputError, match="another number of rows"):
        diversity({"a": (rows(1, 2), torch.zeros(1, 2))})


def test_of_a_study_of_norms():
    """l1 moves one feature, linf all alike: at the angle that the weights say."""
    x, y = decided(halfspace(WEIGHT, dtype=torch.float64),
                   inputs(6, (4,), seed=3, dtype=torch.float64) * 0.2 + 0.4)  # fmt: skip
    runs = attack_runs({"apgd": APGD(steps=60)}, [L1(0.9), L2(0.9), Linf(0.9)], ["margin"],
                       box=(-5, 5))  # fmt: skip
    study = patterns(halfspace(WEIGHT, dtype=torch.float64), x, y, runs, box=(-5, 5))
    found = diversity(study)
    weight = torch.tensor(WEIGHT)
    length = float(weight.norm())
    expected = {
        ("l1", "l2"): 2 / length,
        ("l1", "linf"): 1 / 2,
        ("l2", "linf"): float(weight.abs().sum()) / length / 2,
    }
    for (one, other), cosine in expected.items():
        pair = found.pairs[f"apgd margin {one}", f"apgd margin {other}"]
        assert pair.cosine == pytest.approx(cosine, rel=0.03)
        assert pair.examples == 6
    assert found.pairs["apgd margin l1", "apgd margin linf"].ratio == pytest.approx(2, rel=0.03)


def test_of_a_recorded_evaluation(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    x = inputs(12, (1, 4, 4), seed=1)
    y = model(x).argmax(1)
    suite = {"pgd": PGD(steps=10, loss="ce"), "apgd": APGD(steps=10)}
    threats = [Linf(0.2), L2(0.8)]
    hb.evaluate(model, x, y, threats, suite=suite, out=tmp_path, all_attacks=True, block=5,
                ids=torch.arange(100, 112))  # fmt: skip
    found = patterns_of_run(tmp_path)
    assert list(found) == ["linf:0.2", "l2:0.8"]
    for threat, study in zip(threats, found.values(), strict=True):
        assert (study.given, study.examples) == (12, 12)
        for pattern, delta in zip(study.patterns, study.deltas, strict=True):
            assert set(pattern.rows.tolist()) <= set(range(100, 112))
            assert study.successes[pattern.name] == len(pattern) > 0
            clean = x[pattern.rows - 100].double()
            assert threat.contains(clean, clean + delta).all()
            assert (model((clean + delta).float()).argmax(1) != y[pattern.rows - 100]).all()
        made = diversity(study)
        assert -1 <= made.cosine <= 1
        assert made.ratio >= 1
    hb.radius(model, x[:2], y[:2], "l2", solver="fmn", budget=60, out=tmp_path / "radii")
    with pytest.raises(InputError, match="no run of hauberk evaluate"):
        patterns_of_run(tmp_path / "radii")
