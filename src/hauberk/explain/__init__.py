"""What attacks find, looked at: the patterns of their perturbations, and accuracy against size."""

from hauberk.explain.curves import Crossing, Curves, crossings, curves
from hauberk.explain.figures import figures
from hauberk.explain.ladder import ladder
from hauberk.explain.patterns import Pattern, compare, magnitudes, soft_sparsity
from hauberk.explain.runs import Run, Study, attack_runs, patterns, radius_runs

__all__ = [
    "Crossing",
    "Curves",
    "Pattern",
    "Run",
    "Study",
    "attack_runs",
    "compare",
    "crossings",
    "curves",
    "figures",
    "ladder",
    "magnitudes",
    "patterns",
    "radius_runs",
    "soft_sparsity",
]
