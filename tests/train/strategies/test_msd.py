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


def test_the_attack_has_the_settings_of_the_strategy():
    given = {"step_linf": 0.1, "step_l2": 0.2, "step_l1": 0.3, "step_other": 0.4, "k": (2, 3)}
    strategy = MSD(BALLS, steps=7, ranking="first_order", soften=0.3, **given)
    attack = strategy.attack_on(BALLS)
    found = {name: getattr(attack, name) for name in given}
    assert found == given
    assert (attack.steps, attack.ranking, attack.soften) == (7, "first_order", 0.3)
    assert (attack.loss, attack.restarts, attack.zero_start) == ("ce", 1, True)
