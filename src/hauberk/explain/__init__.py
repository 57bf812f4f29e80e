"""What attacks find, looked at: patterns, accuracy against size, and the hardness of images."""

from hauberk.explain.curves import Crossing, Curves, crossings, curves
from hauberk.explain.figures import figures
from hauberk.explain.hardness import Hardness, hardness
from hauberk.explain.hardness_tables import Agreement, agreement
from hauberk.explain.ladder import ladder
from hauberk.explain.patterns import Pattern, compare, magnitudes, soft_sparsity
from hauberk.explain.runs import Run, Study, attack_runs, patterns, radius_runs

__all__ = [
    "Agreement",
    "Crossing",
    "Curves",
    "Hardness",
    "Pattern",
    "Run",
    "Study",
    "agreement",
    "attack_runs",
    "compare",
    "crossings",
    "curves",
    "figures",
    "hardness",
    "ladder",
    "magnitudes",
    "patterns",
    "radius_runs",
    "soft_sparsity",
]
