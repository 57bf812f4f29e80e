"""Attacks: the most loss inside a threat. One file per method."""

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import FGSM, PGD, SparseL1Descent
from hauberk.attacks.square import Square

__all__ = ["APGD", "FGSM", "PGD", "Attack", "SparseL1Descent", "Square"]
