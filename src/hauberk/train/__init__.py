"""Training classifiers that resist several threats at once."""

from hauberk.train.average import AVG
from hauberk.train.eat import EAT
from hauberk.train.maximum import train_max
from hauberk.train.maximum_loss import MAX
from hauberk.train.multi_steepest import MSD
from hauberk.train.ramp import RAMP
from hauberk.train.random_norm import RandomNorm
from hauberk.train.single import PGDLS, Single
from hauberk.train.standard import Standard
from hauberk.train.trades import TRADES

__all__ = [
    "AVG",
    "EAT",
    "MAX",
    "MSD",
    "PGDLS",
    "RAMP",
    "TRADES",
    "RandomNorm",
    "Single",
    "Standard",
    "train_max",
]
