"""Training classifiers that resist several threats at once."""

from hauberk.train.ampgd import AMPGD
from hauberk.train.average import AVG
from hauberk.train.eat import EAT
from hauberk.train.maximum import MAX
from hauberk.train.mma import MMA, OMMA
from hauberk.train.multi_steepest import MSD
from hauberk.train.ramp import RAMP
from hauberk.train.random_norm import RandomNorm
from hauberk.train.single import PGDLS, Single
from hauberk.train.standard import Standard
from hauberk.train.strategy import Batch, Loss, Memory, Strategy
from hauberk.train.trades import TRADES
from hauberk.train.trainer import Trained, fit

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
