"""Training classifiers that resist several threats at once."""

from hauberk.train.fit import fit
from hauberk.train.result import Trained
from hauberk.train.strategies.ampgd import AMPGD
from hauberk.train.strategies.avg import AVG
from hauberk.train.strategies.base import Batch, Loss, Memory, Strategy
from hauberk.train.strategies.eat import EAT
from hauberk.train.strategies.max import MAX
from hauberk.train.strategies.mma import MMA, OMMA
from hauberk.train.strategies.msd import MSD
from hauberk.train.strategies.ramp import RAMP
from hauberk.train.strategies.random_norm import RandomNorm
from hauberk.train.strategies.single import PGDLS, Single
from hauberk.train.strategies.standard import Standard
from hauberk.train.strategies.trades import TRADES

__all__ = [
    "AMPGD",
    "AVG",
    "EAT",
    "MAX",
    "MMA",
    "MSD",
    "OMMA",
    "PGDLS",
    "RAMP",
    "TRADES",
    "Batch",
    "Loss",
    "Memory",
    "RandomNorm",
    "Single",
    "Standard",
    "Strategy",
    "Trained",
    "fit",
]
