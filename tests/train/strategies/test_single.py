"""Training on one threat."""

import pytest
import torch
from helpers.strategies import (
    Watched,
    batch,
    digits,
    far,
    loss_of,
    net,
)
from helpers.training import blobs

import hauberk as hb
from hauberk.attacks import PGD, FastLPA
from hauberk.errors import InputError
from hauberk.threats import Measured
from hauberk.threats.base import Box
from hauberk.train import (
    MAX,
    PGDLS,
    Single,
    fit,
)  # fmt: skip


def test_a_threat_given_by_its_distance_takes_a_named_attack():
    x, y = digits(4)
    strategy = Single(Measured(far, 0.5), attack=FastLPA(loss="ce", steps=5))
    strategy.check(x, y, Box())
    model = Watched(net())
    loss_of(strategy, batch(model, x, y))
    assert (far(x, model.seen[0]) <= 0.5).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Single(hb.L2(1), attack=PGD(), soften=0.1),
        lambda: Single(hb.L2(1), attack=PGD(), steps=3),
        lambda: MAX(hb.Union(hb.L2(1), hb.Linf(0.1)), attacks=PGD(loss="ce"), soften=0.1),
    ],
)
def test_what_belongs_to_the_usual_attack_is_refused_beside_one(make):
    with pytest.raises(InputError, match="in the attack instead"):
        make()


def test_softened_attacks_need_a_model_that_can_be_looked_into():
    model = torch.jit.script(net(3, 3))
    strategy = Single(hb.Linf(0.05), steps=2, soften=0.3)
    assert strategy.softens
    assert not Single(hb.Linf(0.05), steps=2).softens
    with pytest.raises(InputError, match="cannot be softened"):
        fit(model, blobs(), strategy, epochs=1)


def test_pgdls_grows_over_half_of_the_training():
    strategy = PGDLS(hb.L2(2.0), steps=3)
    assert [strategy.share(done) for done in (0.0, 0.1, 0.25, 0.5, 0.9)] == [0, 0.2, 0.5, 1, 1]
