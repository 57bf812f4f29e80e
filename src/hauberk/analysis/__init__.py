"""Analysis of what attacks find: patterns, accuracy against eps, and the hardness of images."""

from hauberk.analysis.agreement import Agreement, agreement
from hauberk.analysis.by_size import Panel, by_size
from hauberk.analysis.corruptions import CorruptionTable, corruption_table
from hauberk.analysis.curves import Crossing, Curves, crossings, curves
from hauberk.analysis.diversity import Diversity, diversity, patterns_of_run
from hauberk.analysis.figures import figures
from hauberk.analysis.filters import Filters, filters
from hauberk.analysis.gallery import Exhibit, Gallery, gallery, gallery_of_run
from hauberk.analysis.gap import Gap, generalisation_gap
from hauberk.analysis.geometry import Geometry, geometry
from hauberk.analysis.hardness import Hardness, hardness
from hauberk.analysis.landscape import Plane, Segment, landscape, plane, segment
from hauberk.analysis.patterns import Pattern, compare, magnitudes, soft_sparsity
from hauberk.analysis.price import Paid, Price, optimum, price, price_of
from hauberk.analysis.runs import SolverRun, Study, attack_runs, patterns, radius_runs
from hauberk.analysis.sweep import Sweep, SweptModel
from hauberk.analysis.trace import LossTrace, trace, varied

__all__ = [
    "Agreement",
    "CorruptionTable",
    "Crossing",
    "Curves",
    "Diversity",
    "Exhibit",
    "Filters",
    "Gallery",
    "Gap",
    "Geometry",
    "Hardness",
    "LossTrace",
    "Paid",
    "Panel",
    "Pattern",
    "Plane",
    "Price",
    "Segment",
    "SolverRun",
    "Study",
    "Sweep",
    "SweptModel",
    "agreement",
    "attack_runs",
    "by_size",
    "compare",
    "corruption_table",
    "crossings",
    "curves",
    "diversity",
    "figures",
    "filters",
    "gallery",
    "gallery_of_run",
    "generalisation_gap",
    "geometry",
    "hardness",
    "landscape",
    "magnitudes",
    "optimum",
    "patterns",
    "patterns_of_run",
    "plane",
    "price",
    "price_of",
    "radius_runs",
    "segment",
    "soft_sparsity",
    "trace",
    "varied",
]
