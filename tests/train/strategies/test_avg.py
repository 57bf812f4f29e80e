"""AVG: the mean over the threats."""

import torch
from helpers.strategies import BALLS, FEW, LINF, batch, digits, loss_of, net

from hauberk.train import AVG, Single


def test_the_loss_is_the_mean_of_the_threats_own():
    given = batch(net(), *digits())
    found = loss_of(AVG(BALLS, attacks=FEW), given)
    alone = [loss_of(Single(threat, attack=FEW), given).value for threat in BALLS.parts]
    assert torch.isclose(found.value, torch.stack(alone).mean())
    for threat, value in zip(BALLS.parts, alone, strict=True):
        assert torch.isclose(found.logs[f"loss {threat}"], value)


def test_of_one_threat_it_is_single():
    given = batch(net(), *digits())
    one, other = (loss_of(kind(LINF, steps=3), given).value for kind in (AVG, Single))
    assert torch.equal(one, other)
