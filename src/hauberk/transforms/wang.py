"""The sets of transforms of the published min-max attack."""

from typing import Literal

from hauberk.errors import InputError
from hauberk.transforms.base import Transform
from hauberk.transforms.combined import Sometimes
from hauberk.transforms.geometry import CropResize, RandomCropResize, RandomRotate, Rotate
from hauberk.transforms.pixels import Brightness, FlipH, FlipV, Gamma, Identity


def wang2021(kind: Literal["deterministic", "stochastic"] = "deterministic") -> list[Transform]:
    """The seven domains of Wang et al. 2021, D.3: ori, flh, flv, bri, gam, crop, rot.

    The paper leaves open whether brightness is clipped (not here, as in tf.image) and how crops
    and rotations interpolate (bilinear here).

    Args:
        kind: deterministic as in Table A5, or stochastic as in Table A4 (which prints no gam and
            rot; D.3 defines them).

    Raises:
        InputError: if the kind is neither.

    Example:
        >>> from hauberk.transforms import wang2021
        >>> [str(t) for t in wang2021("deterministic")]
        ['ori', 'flh', 'flv', 'bri:0.1', 'gam:1.3', 'crop:0.8', 'rot:30']
    """
    if kind == "deterministic":
        return [
            Identity(), FlipH(), FlipV(), Brightness(0.1), Gamma(1.3), CropResize(0.8), Rotate(30),
        ]  # fmt: skip
    if kind == "stochastic":
        return [
            Identity(),
            *(Sometimes(t, 0.8) for t in (FlipH(), FlipV(), Brightness(0.1), Gamma(1.3))),
            RandomCropResize(0.6, 1.0),
            RandomRotate(10),
        ]
    raise InputError(f"unknown kind {kind!r}: choose deterministic or stochastic")
