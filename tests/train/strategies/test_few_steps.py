"""What RandomNorm, EAT and RAMP share."""

from dataclasses import replace

import pytest
import torch
from helpers.strategies import BALLS, L1, L2, LINF, batch, digits, net

from hauberk.attacks import APGD
from hauberk.errors import InputError
from hauberk.train import EAT, RAMP, RandomNorm
from hauberk.train.strategies.few_steps import extremes, threat_draws


@pytest.mark.parametrize("kind", [RandomNorm, EAT, RAMP])
def test_ten_steps_of_apgd_but_in_l1(kind):
    strategy = kind(BALLS)
    assert strategy.steps == 10
    assert strategy.attack_on(LINF) == APGD(loss="ce", steps=10)
    assert type(strategy.attack_on(L1)) is not APGD
    assert kind(BALLS, steps=3).attack_on(LINF).steps == 3


def test_extremes_are_linf_first_then_l1():
    assert extremes(L1 | L2 | LINF, "EAT") == (LINF, L1)
    with pytest.raises(InputError, match="EAT needs one linf and one l1 ball"):
        extremes(L1 | L2, "EAT")


def test_draws_depend_on_seed_step_and_ids():
    given = batch(net(), *digits(4))
    ids = torch.arange(4)

    def drawn(**changes):
        return threat_draws(replace(given, **changes), ids).uniform(0, (), torch.float64)

    assert torch.equal(drawn(), drawn())
    assert not torch.equal(drawn(), drawn(step=99))
    assert not torch.equal(drawn(), drawn(seed=99))
