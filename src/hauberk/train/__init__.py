"""Training classifiers that resist several threats at once."""

import inspect
import re

from hauberk.train.fit import fit
from hauberk.train.result import Trained
from hauberk.train.strategies.ampgd import AMPGD
from hauberk.train.strategies.avg import AVG
from hauberk.train.strategies.base import Batch, Loss, Strategy, Tables
from hauberk.train.strategies.ddn import DDNTraining
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
    "DDNTraining",
    "Loss",
    "RandomNorm",
    "Single",
    "Standard",
    "Strategy",
    "Tables",
    "Trained",
    "fit",
    "named_strategies",
]


def named_strategies() -> dict[str, type[Strategy]]:
    """The strategies of this package, by the names that ``hauberk train --strategy`` takes.

    A name is that of the class in small letters, its words joined by hyphens, unless the class
    says what it is ``called``.

    Example:
        >>> named_strategies()["random-norm"].__name__
        'RandomNorm'
    """
    exported = [globals()[name] for name in __all__]
    return {
        vars(kind).get("called") or re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower(): kind
        for kind in exported
        if inspect.isclass(kind) and issubclass(kind, Strategy) and not inspect.isabstract(kind)
    }
