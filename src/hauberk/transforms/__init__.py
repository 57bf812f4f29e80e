"""Transforms of images that an attack must survive: the domains of a min-max attack."""

from hauberk.transforms.base import Function, Transform, apply, is_random, named
from hauberk.transforms.combined import Compose, Sometimes
from hauberk.transforms.geometry import CropResize, RandomCropResize, RandomRotate, Rotate
from hauberk.transforms.jpeg import JPEG
from hauberk.transforms.notation import Imported, transform
from hauberk.transforms.pixels import Brightness, FlipH, FlipV, Gamma, Identity
from hauberk.transforms.straight_through import StraightThrough
from hauberk.transforms.validate import check
from hauberk.transforms.wang import wang2021

__all__ = [
    "JPEG",
    "Brightness",
    "Compose",
    "CropResize",
    "FlipH",
    "FlipV",
    "Function",
    "Gamma",
    "Identity",
    "Imported",
    "RandomCropResize",
    "RandomRotate",
    "Rotate",
    "Sometimes",
    "StraightThrough",
    "Transform",
    "apply",
    "check",
    "is_random",
    "named",
    "transform",
    "wang2021",
]
