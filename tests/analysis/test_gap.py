"""The generalisation gap, and the interval of a difference."""

from math import sqrt

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.analysis import Gap, generalisation_gap
from hauberk.analysis.gap import difference
from hauberk.attacks import FGSM
from hauberk.errors import InputError

PRINTED = [  # Newcombe 1998, Table II: method 10, for 56/70 less 48/80 and so on
    ((56, 70, 48, 80), (0.0524, 0.3339)),
    ((9, 10, 3, 10), (0.1705, 0.8090)),
    ((6, 7, 2, 7), (0.0582, 0.8062)),
    ((5, 56, 0, 29), (-0.0381, 0.1926)),
    ((0, 10, 0, 20), (-0.1611, 0.2775)),
    ((0, 10, 0, 10), (-0.2775, 0.2775)),
    ((10, 10, 0, 20), (0.6791, 1.0)),
    ((10, 10, 0, 10), (0.6075, 1.0)),
]


@pytest.mark.parametrize(("counts", "printed"), PRINTED)
def test_the_interval_is_the_printed_one(counts, printed):
    assert difference(*counts) == pytest.approx(printed, abs=6e-5)


def test_turning_the_two_around_turns_the_interval_around():
    low, high = difference(9, 10, 3, 10)
    assert difference(3, 10, 9, 10) == pytest.approx((-high, -low))
    wide = difference(9, 10, 3, 10, confidence=0.99)
    assert wide[0] < low < high < wide[1]
    for counts in ((0, 0, 1, 2), (1, 2, 0, 0), (3, 2, 1, 2)):
        with pytest.raises(InputError):
            difference(*counts)
    # Of many examples it is that of the normal distribution.
    n = 10**6
    low, high = difference(n // 2, n, n // 4, n)
    half = 1.959964 * sqrt(0.25 / n + 0.1875 / n)
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=2e-6)


class Above(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, x):
        score = x.flatten(1)[:, 0] - self.at
        return torch.stack([-score, score], 1)


def evaluation(values, labels, threat=hb.Linf(0.1), at=0.5, **more):  # noqa: B008
    x = torch.tensor([[v, 0.5] for v in values]).double()
    suite = more.pop("suite", FGSM())
    return hb.evaluate(Above(at), x, torch.tensor(labels), threat, suite=suite, **more)


def test_training_less_test_accuracy():
    train = evaluation([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1])
    test = evaluation([0.1, 0.45, 0.55, 0.9, 0.8], [0, 0, 1, 1, 0])
    found = generalisation_gap(train, test)
    assert list(found) == ["clean", "linf:0.1", "union"]
    clean = found["clean"]
    assert (clean.train, clean.test) == (1.0, 0.8)
    assert clean.gap == pytest.approx(0.2)
    assert clean.interval == difference(4, 4, 4, 5)
    under = found["linf:0.1"]
    assert (under.train, under.test) == (1.0, 0.4)
    assert under.gap == pytest.approx(0.6)
    assert under.interval == difference(4, 4, 2, 5)
    assert found["union"] == under
    assert under.to_dict() == {
        "train": 1.0, "test": 0.4, "gap": under.gap, "interval": list(under.interval),
    }  # fmt: skip
    turned = generalisation_gap(test, train)
    assert turned["clean"].gap == pytest.approx(-0.2)
    assert Gap(0.25, 0.5, (-1, 1)).gap == -0.25


def test_only_runs_that_are_alike_are_compared():
    one = evaluation([0.1, 0.9], [0, 1])
    for other, says in (
        (evaluation([0.1, 0.9], [0, 1], hb.Linf(0.2)), "differ in threats"),
        (evaluation([0.1, 0.9], [0, 1], suite=hb.attacks.PGD(steps=2)), "differ in attacks"),
        (evaluation([0.1, 0.9], [0, 1], at=0.4), "different models"),
        (evaluation([0.1, 0.9], [0, 1], box=(0, 2)), "differ in box"),
        (evaluation([0.1, 0.9], [0, 1], all_attacks=True), "differ in all_attacks"),
    ):
        with pytest.raises(InputError, match=says):
            generalisation_gap(one, other)
