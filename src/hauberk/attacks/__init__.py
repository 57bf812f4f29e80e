"""Attacks: most loss inside a threat (problem 1). One file per method."""

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.attacks.boundary import Boundary
from hauberk.attacks.hopskipjump import HopSkipJump
from hauberk.attacks.lpa import LPA, FastLPA
from hauberk.attacks.mixture import MixturePGD
from hauberk.attacks.momentum import MomentumIterative
from hauberk.attacks.msd import MultiSteepestDescent
from hauberk.attacks.noise import Noise
from hauberk.attacks.pgd import FGSM, PGD, SparseL1Descent
from hauberk.attacks.pointwise import Pointwise
from hauberk.attacks.ppgd import PPGD
from hauberk.attacks.pwcf import PWCF
from hauberk.attacks.search import Grid, RandomSearch
from hauberk.attacks.spsa import SPSA
from hauberk.attacks.square import Square

__all__ = [
    "APGD",
    "FGSM",
    "LPA",
    "PGD",
    "PPGD",
    "PWCF",
    "SPSA",
    "Attack",
    "Boundary",
    "FastLPA",
    "Grid",
    "HopSkipJump",
    "MixturePGD",
    "MomentumIterative",
    "MultiSteepestDescent",
    "Noise",
    "Pointwise",
    "RandomSearch",
    "SparseL1Descent",
    "Square",
]
