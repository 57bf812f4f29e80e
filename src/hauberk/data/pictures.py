"""Pictures in their files' formats, decoded and made alike. Needs Pillow."""

import importlib
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hauberk.data.reading import Reading
from hauberk.errors import InputError
from hauberk.spec.imports import one_line

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
)

Pixels = npt.NDArray[Any]


def read_pictures(pictures: Iterable[tuple[str, Any]], reading: Reading, spec: str) -> Pixels:
    """Pictures as uint8 (N, 1, H, W) or (N, 3, H, W), resized and cropped as `reading` says.

    Turned upright where a camera noted how it was held (EXIF); palettes become RGB; an alpha
    channel that hides nothing is dropped.

    Args:
        pictures: of each its name, for error messages, and its path, its bytes, or the picture
            itself as Pillow has it. One after the other is decoded.
        reading: how.
        spec: the name of the data set, for error messages.

    Raises:
        InputError: without Pillow; for what is no picture, or has pixels that are not of 8 bits;
            if they differ in size or colour in the end.

    Example:
        >>> read_pictures([], Reading(), "mine").shape
        (0,)
    """
    found: list[Pixels] = []
    first = ""
    for name, picture in pictures:
        pixels = _pixels(name, picture, reading, spec)
        first = first or name
        if found and pixels.shape != found[0].shape:
            raise InputError(
                f"{spec}: {name} has shape {pixels.shape}, {first} {found[0].shape}: "
                f"{_remedy(pixels.shape, found[0].shape)}"
            )
        found.append(pixels)
    if not found:
        return np.zeros(0, dtype=np.uint8)
    stacked = np.stack(found)
    return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


def is_picture(value: object) -> bool:
    """Whether it is a picture of Pillow's."""
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)


def _remedy(shape: tuple[int, ...], other: tuple[int, ...]) -> str:
    if len(shape) != len(other):
        return "make all images equal in colour, --rgb or --grey"
    return "make all images equal in size, e.g. --resize 256 --crop 224, or --resize 224x224"


def _pixels(name: str, picture: Any, reading: Reading, spec: str) -> Pixels:
    """(H, W) for grey images, (H, W, 3) for colour."""
    pillow = _module("PIL.Image", spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            if isinstance(picture, Path):
                with pillow.open(picture) as image:
                    return _made(name, image, reading, spec)
            if isinstance(picture, bytes):
                with pillow.open(io.BytesIO(picture)) as image:
                    return _made(name, image, reading, spec)
            return _made(name, picture, reading, spec)
    except InputError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and its own
        raise InputError(
            f"{name} is no readable image ({one_line(error)}): replace or remove it"
        ) from error


def _made(name: str, image: Any, reading: Reading, spec: str) -> Pixels:
    image.load()
    image = _module("PIL.ImageOps", spec).exif_transpose(image)
    image = _coloured(name, image, reading)
    if reading.size is not None:
        height, width = reading.size.of(image.height, image.width)
        method = _module("PIL.Image", spec).Resampling[reading.size.method.upper()]
        image = image.resize((width, height), method)
    if reading.cut is not None:
        image = image.crop(middle((image.height, image.width), reading.cut, name))
    return np.array(image)


def middle(size: tuple[int, int], cut: tuple[int, int], name: str) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the middle of an image, as torchvision's CenterCrop has them.

    Raises:
        InputError: if the image is smaller.

    Example:
        >>> middle((5, 8), (3, 3), "a.png")
        (2, 1, 5, 4)
    """
    height, width = size
    if height < cut[0] or width < cut[1]:
        raise InputError(
            f"{name} has {height} x {width} pixels, fewer than --crop {cut[0]}x{cut[1]}: resize it "
            "first (--resize)"
        )
    top, left = round((height - cut[0]) / 2), round((width - cut[1]) / 2)
    return left, top, left + cut[1], top + cut[0]


def _coloured(name: str, image: Any, reading: Reading) -> Any:
    """The image in mode L or RGB."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        raise InputError(
            f"{name} has mode {mode}, pixels of more than 8 bits: save it with 8, or give arrays "
            "of floats (npy: or npz:)"
        )
    if reading.grey:
        return image.convert("RGB").convert("L") if mode not in ("1", "L") else image.convert("L")
    if reading.rgb:
        return image.convert("RGB")
    if mode in ("1", "L"):
        return image.convert("L")
    hides = mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info
    if hides and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise InputError(
            f"{name} has transparent pixels (mode {mode}): say --rgb to drop transparency, as "
            "torchvision's loader does, or save it without"
        )
    if mode == "LA":
        return image.convert("L")
    if mode in ("RGB", "P", "PA", "RGBA"):
        return image.convert("RGB")
    raise InputError(f"{name} has mode {mode}: say --rgb or --grey, or save it as one of them")


def _module(name: str, spec: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{spec} needs Pillow to read images: pip install pillow") from error
