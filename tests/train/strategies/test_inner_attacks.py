"""The attacks that strategies take where none is named."""

from helpers.strategies import BALLS, FEW, L1, L2, LINF

import hauberk as hb
from hauberk.attacks import APGD, PGD, MultiSteepestDescent
from hauberk.threats import Affine
from hauberk.train import (
    AVG,
    RAMP,
)  # fmt: skip
from hauberk.train.strategies.inner_attacks import usual_attack


def test_usual_attacks():
    assert usual_attack(LINF).steps == 50
    assert usual_attack(L2).steps == 100
    assert {usual_attack(t, 7).steps for t in (LINF, L2, L1, Affine(LINF, L1))} == {7}
    assert usual_attack(hb.RotationTranslation(), 7).samples == 10
    strategy = AVG(BALLS, attacks={"l2": FEW}, steps=4)
    assert strategy.attack_on(L2) is FEW
    assert strategy.attack_on(LINF).steps == 4
    described = AVG(BALLS, attacks={"l2": FEW}).describe()
    assert described["strategy"] == "AVG"
    assert described["threat"] == "linf:0.1 | l2:0.5 | l1:1.5"
    assert described["attacks"]["l2:0.5"]["steps"] == 3
    assert RAMP(BALLS, attacks=APGD(loss="ce")).attack_on(L1) == APGD(loss="ce")


def test_usual_attacks_are_those_of_maini_2020():
    """Appendix C.1, MNIST, and the l1 step of its MAX and AVG: 1.0 at 12."""
    linf, l2, l1 = map(usual_attack, (LINF, L2, L1))
    assert linf == PGD(steps=50, step_share=1 / 30)
    assert l2 == PGD(steps=100, step_share=1 / 20)
    assert l1 == MultiSteepestDescent(steps=50, step_l1=1 / 12, k=(5, 20))
    assert {attack.loss for attack in (linf, l2, l1)} == {"ce"}
    assert usual_attack(L1, 10) == MultiSteepestDescent(steps=10, step_l1=0.5)
    assert usual_attack(L1, 3).step_l1 == 1.0  # at most the radius
