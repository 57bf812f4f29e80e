"""Analysis of what attacks find: patterns, accuracy against eps, and the hardness of images."""

from hauberk.analysis.agreement import Agreement, agreement
from hauberk.analysis.corruptions import CorruptionTable, corruption_table
from hauberk.analysis.curves import Crossing, Curves, crossings, curves
from hauberk.analysis.figures import figures
from hauberk.analysis.hardness import Hardness, hardness
from hauberk.analysis.patterns import Pattern, compare, magnitudes, soft_sparsity
from hauberk.analysis.runs import SolverRun, Study, attack_runs, patterns, radius_runs

__all__ = [
    "Agreement",
    "CorruptionTable",
    "Crossing",
    "Curves",
    "Hardness",
    "Pattern",
    "SolverRun",
    "Study",
    "agreement",
    "attack_runs",
    "compare",
    "corruption_table",
    "crossings",
    "curves",
    "figures",
    "hardness",
    "magnitudes",
    "patterns",
    "radius_runs",
    "soft_sparsity",
]
