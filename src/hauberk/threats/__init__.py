"""Threats: sets of inputs an adversary may turn a clean input into."""

from hauberk.threats.affine import Affine
from hauberk.threats.ball import L0, L1, L2, Ball, Linf, Lp
from hauberk.threats.base import Threat, Trait, Union
from hauberk.threats.box import Box
from hauberk.threats.each import Each
from hauberk.threats.finite import FiniteSet, Swaps
from hauberk.threats.measured import Measured
from hauberk.threats.metric import Metric
from hauberk.threats.named_layers import NamedLayers
from hauberk.threats.notation import metric, threat
from hauberk.threats.perceptual import Perceptual, layers
from hauberk.threats.region import Region
from hauberk.threats.shared import Shared
from hauberk.threats.union import Whole
from hauberk.threats.warp import RotationTranslation

__all__ = [
    "L0",
    "L1",
    "L2",
    "Affine",
    "Ball",
    "Box",
    "Each",
    "FiniteSet",
    "Linf",
    "Lp",
    "Measured",
    "Metric",
    "NamedLayers",
    "Perceptual",
    "Region",
    "RotationTranslation",
    "Shared",
    "Swaps",
    "Threat",
    "Trait",
    "Union",
    "Whole",
    "layers",
    "metric",
    "threat",
]
