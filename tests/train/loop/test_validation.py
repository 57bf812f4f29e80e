"""Accuracies and margins on held-out examples."""

import pytest
import torch
from helpers.training import blobs, net

import hauberk as hb
from hauberk.errors import InputError
from hauberk.threats.base import Box
from hauberk.train import AVG, Single, Standard, fit
from hauberk.train.loop.validation import ValidationSet
from hauberk.victims.victim import Victim


def test_selection_by_margin_keeps_the_largest_mean_margin():
    # Margins of a linear model of two classes have a closed form: the distance to its boundary.
    x, y = blobs(60, torch.float64)
    x, y = x[y < 2], y[y < 2]
    model = net(3, 2).double()
    found = fit(
        model, (x, y), Single(hb.L2(0.2)), epochs=6, validation=20, select="margin",
        learning_rate=0.1, minibatch=8, box=(-9, 9),
    )  # fmt: skip
    scores = [record["valid_margin"] for record in found.history]
    assert found.summary["select"] == "margin"
    assert found.summary["selected"] == scores.index(max(scores)) + 1
    with torch.no_grad():
        first, second = model(x[:20]).T
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    slope = torch.linalg.vector_norm(linear[0].weight[0] - linear[0].weight[1])
    distance = torch.where(y[:20] == 0, first - second, second - first) / slope
    exact = (distance / 0.2).clamp(0, 1.05).mean().item()
    assert found.summary["valid_margin"] == pytest.approx(exact, abs=2e-3)


def test_the_margin_to_a_union_is_the_least():
    x, y = blobs(40)
    model = net(3, 2)
    x, y = x[y < 2], y[y < 2]
    model.requires_grad_(False)
    victim, ids = Victim(model), torch.arange(len(x))
    threats = [hb.Linf(0.05), hb.L2(0.1)]
    each = [ValidationSet(victim, x, y, ids, [t], 30, Box()).margins() for t in threats]
    both = ValidationSet(victim, x, y, ids, [hb.Union(*threats)], 30, Box()).margins()
    assert torch.equal(both, torch.minimum(*each))
    assert not both[~(model(x).argmax(1) == y)].any()


@pytest.mark.parametrize(
    ("strategy", "words", "says"),
    [
        (Standard(), {"validation": 20}, "select by clean"),
        (Single(hb.Linf(0.1)), {}, "validation="),
        (AVG(hb.Union(hb.Linf(0.1), hb.L0(1))), {"validation": 20}, "not in l0:1"),
    ],
)
def test_margins_need_lp_balls_and_examples(strategy, words, says):
    with pytest.raises(InputError, match=says):
        fit(net(), blobs(), strategy, epochs=1, select="margin", **words)
