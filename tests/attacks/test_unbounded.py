"""The attack that must succeed: on the whole box, and it breaks nothing."""

from math import inf

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Linear

from hauberk.attacks.pgd import PGD
from hauberk.attacks.unbounded import Unbounded
from hauberk.threats import L0, L1, L2, Linf

BALLS = [Linf(0.01), L2(0.01), L1(0.01), L0(1)]


@pytest.mark.parametrize("threat", BALLS, ids=str)
def test_it_fools_what_its_threat_is_too_small_for(threat):
    model, x = Linear(), inputs()
    y = model(x).argmax(1)
    assert not PGD(steps=20)(model, x, y, threat.scaled(0)).fooled.any()
    out = Unbounded()(model, x, y, threat)
    assert (out.loss == 1).all()


def test_a_model_that_nothing_fools_withstands_it():
    x = inputs()
    out = Unbounded()(Constant(1.0, 0.0), x, torch.zeros(len(x), dtype=torch.int64), L2(0.1))
    assert not out.loss.any()


@pytest.mark.parametrize("threat", BALLS, ids=str)
def test_it_breaks_nothing(threat):
    model, x = Linear(), inputs()
    out = Unbounded()(model, x, model(x).argmax(1), threat)
    assert torch.equal(out.points, x)
    assert not out.fooled.any()
    assert not out.distance.any()


def test_threats_without_size_and_boxes_without_ends_are_searched_as_they_are():
    model, x = Linear(), inputs()
    y = model(x).argmax(1)
    assert not Unbounded()(model, x, y, Linf(0.0)).loss.any()
    inner = PGD(steps=5)
    out = Unbounded(inner=inner)(model, x, y, Linf(0.01), box=(-inf, inf))
    alone = inner(model, x, y, Linf(0.01), box=(-inf, inf))
    assert torch.equal(out.loss == 1, alone.fooled)
    assert len(Unbounded()(model, x[:0], y[:0], Linf(0.1))) == 0
