"""MSD: its hyper-parameters are those of the attack."""

from dataclasses import fields, replace

from helpers.strategies import BALLS, L2

from hauberk.train import MSD


def test_every_hyper_parameter_reaches_the_attack():
    strategy = MSD(BALLS, steps=7)
    attack = strategy.attack_on(BALLS)
    shared = {f.name for f in fields(strategy)} & {f.name for f in fields(attack)}
    assert shared >= {"steps", "ranking", "step_linf", "step_l2", "step_l1", "step_other", "k"}
    for name in shared:
        assert getattr(attack, name) == getattr(strategy, name)
    assert replace(strategy, k=(1, 2)).attack_on(L2).k == (1, 2)
