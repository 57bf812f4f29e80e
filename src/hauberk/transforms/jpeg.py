"""JPEG compression by a real codec, Pillow's."""

import importlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.transforms.base import Transform
from hauberk.transforms.straight_through import straight_through

_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class JPEG(Transform):
    """Compression by Pillow's JPEG codec; ``jpeg:75``.

    Grey or colour images (B, 1 or 3, H, W), clipped to [0, 1] and rounded to 256 levels. The
    gradient is that of the identity (straight through). Runs on the CPU, image by image.

    Args:
        quality: 1 to 100.

    Raises:
        InputError: unless quality is a whole number from 1 to 100, for other numbers of channels,
            and if Pillow (``pip install 'hauberk[images]'``) is missing.

    Example:
        >>> from hauberk.transforms import JPEG
        >>> str(JPEG(quality=90))
        'jpeg:90'
    """

    quality: int = 75

    def __post_init__(self) -> None:
        if not isinstance(self.quality, int) or not 1 <= self.quality <= 100:
            raise InputError(f"JPEG quality is {self.quality!r}: give a whole number, 1 to 100")

    def apply(self, x: Tensor, draws: Draws | None, draw: int | Tensor) -> Tensor:
        if x.shape[1] not in _MODES or not min(x.shape[2:]):
            raise InputError(
                f"{self} takes images of 1 or 3 channels (B, C, H, W), but the inputs have shape "
                f"{tuple(x.shape)}: reshape them, or leave this transform out"
            )
        pillow = _pillow()
        if not x.detach().isfinite().all():
            raise InputError(f"{self} was given NaN or infinite values: give finite ones")
        levels = x.detach().double().clamp(0, 1).mul(255).round().to(torch.uint8)
        found = [self._one(pillow, image) for image in levels.permute(0, 2, 3, 1).cpu().numpy()]
        if not found:
            return x
        value = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
        return straight_through(x, value.to(torch.float64) / 255)

    def _one(self, pillow: Any, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """One image (H, W, C) of bytes, compressed and decompressed."""
        height, width, channels = image.shape
        file = io.BytesIO()
        picture = pillow.frombytes(_MODES[channels], (width, height), image.tobytes())
        picture.save(file, format="JPEG", quality=self.quality)
        file.seek(0)
        with pillow.open(file) as opened:
            return np.array(opened, dtype=np.uint8).reshape(height, width, channels)

    def __str__(self) -> str:
        return f"jpeg:{self.quality}"


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise InputError(
            "JPEG needs Pillow, which is not installed: pip install 'hauberk[images]'"
        ) from error
