"""Accuracy at several sizes: a line of points whose accuracies can be counted."""

from math import inf

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.sizes import AtSizes, at_sizes
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.store.ledger import Ledger

PLAIN = PGD(steps=1, step_share=1.0, random_start=False, loss="margin")
FACTORS = [0.5, 1.0, 2.0]


class Threshold(nn.Module):
    def forward(self, x):
        score = x.flatten(1)[:, 0] - 0.5
        return torch.stack([-score, score], 1)


def data():
    """First features 0.05 to 0.95; the last label is wrong."""
    first = torch.arange(10).double() / 10 + 0.05
    y = (first > 0.5).long()
    y[9] = 0
    return torch.stack([first, torch.full((10,), 0.5).double()], 1), y


@pytest.fixture
def found():
    return at_sizes(Threshold(), *data(), hb.Linf(0.2), [2.0, 0.5, 1.0], suite=PLAIN)


def test_each_size_counts_what_fell_below_it(found):
    # 0.1 breaks 0.45 and 0.55, 0.2 also 0.35 and 0.65, 0.4 also 0.25, 0.15, 0.75 and 0.85.
    assert found.factors == (0.5, 1.0, 2.0)
    assert found.accuracy == {"linf:0.1": 0.7, "linf:0.2": 0.5, "linf:0.4": 0.1}
    assert found.curve() == (FACTORS, [0.7, 0.5, 0.1])
    assert found.radii.tolist() == [inf, 2.0, 2.0, 1.0, 0.5, 0.5, 1.0, 2.0, 2.0, 0.0]
    assert found.clean_accuracy == 0.9
    assert found.average_accuracy == pytest.approx(1.3 / 3)
    assert found.union_accuracy == 0.1
    rows = found.summary["threats"]
    assert [row["upper_bound"] for row in rows.values()] == [False] * 3
    assert rows["linf:0.2"]["interval"][0] < 0.5 < rows["linf:0.2"]["interval"][1]
    assert found.summary["factors"] == FACTORS
    assert "linf:0.4" in str(found)


def test_what_fell_is_not_attacked_again(found):
    attacked = [row["attacks"]["pgd"]["attacked"] for row in found.summary["threats"].values()]
    assert attacked == [9, 7, 5]


def test_an_attack_that_fails_at_large_sizes_cannot_raise_the_accuracy():
    """At 0.4 the step is far too small; what fell before counts all the same."""
    short = PGD(steps=1, step_size=0.1, random_start=False, loss="margin")
    found = at_sizes(Threshold(), *data(), hb.Linf(0.2), FACTORS, suite=short)
    assert found.curve()[1] == [0.7, 0.7, 0.7]
    assert found.summary["finished"]


def test_the_whole_suite_runs_at_one_size_before_the_next():
    """A second attack at a small size meets what the first one leaves, not what larger sizes do."""
    useless = PGD(steps=1, step_size=1e-6, random_start=False)
    suite = {"first": useless, "second": Stage(attack=PLAIN)}
    question = AtSizes.of(
        AtSizes(
            (hb.Linf(0.1), hb.Linf(0.2)), hb.evaluation.Suite("s", 1, "two", suite),
            factors=(0.5, 1.0),
        ).facts()
    )  # fmt: skip
    names = [(str(threat), name) for threat, name, _ in question.schedule]
    assert names == [
        ("linf:0.1", "first"), ("linf:0.1", "second"), ("linf:0.2", "first"),
        ("linf:0.2", "second"),
    ]  # fmt: skip
    found = at_sizes(Threshold(), *data(), hb.Linf(0.2), [0.5, 1.0], suite=suite)
    assert found.curve()[1] == [0.7, 0.5]


@pytest.mark.parametrize("block", [None, 1, 4])
def test_resumes_and_verifies(tmp_path, found, block):
    def again(**more):
        return at_sizes(
            Threshold(), *data(), hb.Linf(0.2), FACTORS, suite=PLAIN, out=tmp_path / "run",
            block=block, **more,
        )  # fmt: skip

    assert again().accuracy == found.accuracy
    assert hb.verify(tmp_path / "run", Threshold()).ok
    ledger = Ledger.open(tmp_path / "run")
    for key in ledger.keys("attack-")[-2:]:
        for file in (tmp_path / "run" / "parts").glob(f"{key}.*"):
            file.unlink()
    resumed = again(resume=True)
    assert resumed.radii.tolist() == found.radii.tolist()
    assert AtSizes.of(ledger.manifest).factors == (0.5, 1.0, 2.0)


def test_mixtures_and_warps_have_sizes_too():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    y = model(x).argmax(1)
    for text in ("affine(linf:0.3,l1:2)", "rt:30,1"):
        found = at_sizes(model, x, y, hb.threat(text), [0.25, 0.5, 1.0], suite="fast")
        accuracies = found.curve()[1]
        assert accuracies == sorted(accuracies, reverse=True)
        assert len(accuracies) == 3


def test_errors():
    for threat, factors, says in (
        (hb.Linf(0.1) | hb.L2(1), [1.0], "is a union"),
        (hb.Linf(0.1), [], "give numbers of 0 or more"),
        (hb.Linf(0.1), [-1.0], "give numbers of 0 or more"),
        (hb.Linf(0.1), [inf], "give numbers of 0 or more"),
    ):
        with pytest.raises(InputError, match=says):
            at_sizes(Threshold(), *data(), threat, factors)
