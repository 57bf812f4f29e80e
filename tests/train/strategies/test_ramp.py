"""RAMP: logit pairing."""

import torch
from helpers.strategies import BALLS, L1, L2, LINF, Watched, batch, digits, loss_of, net
from torch.nn import functional as F

import hauberk as hb
from hauberk.train import (
    RAMP,
)  # fmt: skip


def test_ramp_pairs_the_outputs_where_the_first_is_right():
    x, y = digits()
    model = Watched(net())
    with torch.no_grad():
        y = torch.where(torch.arange(len(x)) < 12, model.model(x).argmax(1), y)
    found = loss_of(RAMP(hb.Linf(0.02) | hb.L1(0.5), steps=3, pairing=2.0), batch(model, x, y))
    key, other = (model.model(points) for points in model.seen)
    both = torch.stack([F.cross_entropy(z, y, reduction="none") for z in (key, other)])
    right = key.argmax(1) == y
    assert 0 < right.sum() < len(x)
    p, q = key[right].softmax(1), other[right].softmax(1)
    expected = both.amax(0).mean() + 2 * (p * (p / q).log()).sum(1).mean()
    assert torch.isclose(found.value, expected)
    wrong = loss_of(RAMP(LINF | L1, steps=2), batch(model, x, (model.model(x).argmax(1) + 1) % 10))
    assert wrong.logs["divergence"] == 0
    assert wrong.value.isfinite()
    assert RAMP(BALLS).inner == (LINF, L1)
    assert RAMP(L2 | L1).inner == (L2, L1)
