"""The table of kinds: what each does, and its settings at the severities 1 to 5.

The settings are those of CIFAR-10-C, for images of 32 x 32 pixels.

Source: Hendrycks & Dietterich 2019, and the script that made CIFAR-10-C.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hauberk.data.corruptions import blur, digital, noise, weather


@dataclass(frozen=True)
class CorruptionKind:
    """One kind of corruption.

    Args:
        function: of images ``(B, C, H, W)`` float64, random streams, and settings.
        settings: of the severities 1 to 5.
        random: whether it draws random numbers.

    Example:
        >>> KINDS["fog"].settings[2]  # of severity 3
        (0.75, 2.5)
    """

    function: Callable[..., Tensor]
    settings: tuple[tuple[Any, ...], ...]
    random: bool = True


KINDS: dict[str, CorruptionKind] = {
    # standard deviation
    "gaussian_noise": CorruptionKind(
        noise.gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.1,))
    ),
    # photons of white
    "shot_noise": CorruptionKind(noise.shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    # share of values
    "impulse_noise": CorruptionKind(
        noise.impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))
    ),
    # radius, smoothing of the rim
    "defocus_blur": CorruptionKind(
        blur.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)), random=False
    ),
    # smoothing, times
    "glass_blur": CorruptionKind(
        blur.glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))
    ),
    # radius, standard deviation
    "motion_blur": CorruptionKind(blur.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    # end of the range of factors
    "zoom_blur": CorruptionKind(
        blur.zoom_blur, ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,)), random=False
    ),
    # mean, standard deviation, zoom and threshold of flakes; radius and sigma of their motion;
    # share of the image that is not whitened
    "snow": CorruptionKind(
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    # weight of the image, and of the ice
    "frost": CorruptionKind(
        weather.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
    ),
    # thickness, decay of the clouds' noise
    "fog": CorruptionKind(weather.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    # added to the value of HSV
    "brightness": CorruptionKind(
        digital.brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)), random=False
    ),
    # factor
    "contrast": CorruptionKind(
        digital.contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)), random=False
    ),
    # weight and smoothing of displacements, displacement of corners, in sides of the image
    "elastic_transform": CorruptionKind(
        digital.elastic_transform,
        (
            (0, 0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
    ),
    # share of the side
    "pixelate": CorruptionKind(
        digital.pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)), random=False
    ),
    # quality
    "jpeg_compression": CorruptionKind(
        digital.jpeg_compression, ((80,), (65,), (58,), (50,), (40,)), random=False
    ),
}

SEVERITIES = (1, 2, 3, 4, 5)
