"""How a data set is to be read: which examples, how their images are made alike, which classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

from hauberk.data.own_size import own_size
from hauberk.errors import InputError

Classes = str | Path | Sequence[Any] | Mapping[Any, Any]

METHODS = ("bilinear", "bicubic")
LAYOUTS = ("nchw", "nhwc")


class ReadingFields(TypedDict, total=False):
    """The keyword arguments of :class:`Reading`, for functions that pass them on."""

    sample: int | None
    balanced: bool
    sample_seed: int
    resize: int | str | None
    crop: int | str | None
    rgb: bool
    grey: bool
    layout: str | None
    classes: Classes | None


@dataclass(frozen=True)
class Size:
    """The size of images.

    Args:
        height, width: in pixels; without a width, `height` is that of the shorter side.
        method: how pixels are interpolated.
    """

    height: int
    width: int | None = None
    method: str = "bilinear"

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width to which such an image is resized; the longer side is rounded down.

        Example:
            >>> Size(256).of(300, 400), Size(256).of(400, 300), Size(5, 6).of(9, 9)
            ((256, 341), (341, 256), (5, 6))
        """
        if self.width is not None:
            return self.height, self.width
        short, long = min(height, width), max(height, width)
        scaled = max(1, int(self.height * long / short))
        return (self.height, scaled) if height <= width else (scaled, self.height)


@dataclass(frozen=True)
class Reading:
    """How a data set is to be read.

    Args:
        sample: that many examples, drawn without replacement; all if left out. The draw of an
            example depends on the seed and its position alone, so a larger sample holds a smaller.
        balanced: as many of each class as there are.
        sample_seed: of the draw.
        resize: the shorter side of the images becomes so long, "256"; or both, "224x256" (height,
            width). "256,bicubic" says how; bilinear otherwise, as torchvision does it. Or what
            the model's own configuration says: a `config.json` of timm, a
            `preprocessor_config.json` of transformers, or its folder; then crop follows from it.
        crop: the middle of the images, "224" or "224x256", after resizing.
        rgb: grey images get three equal channels, transparency is dropped.
        grey: coloured images become grey, 0.299 R + 0.587 G + 0.114 B.
        layout: of arrays: "nchw" or "nhwc" where the shape does not say, or where the channels of
            floats are last; or the shape of flat examples, "1x28x28".
        classes: what the model's outputs mean: a file, names with commas between, or, in Python, a
            list or dictionary (see :func:`hauberk.data.classes.class_map`). "number": folders are
            named by the numbers of their classes; "string": in the order of their texts, "10"
            before "2", as torchvision's ImageFolder numbers them.

    Raises:
        InputError: for a size or a layout that is none, or a sample below 1.

    Example:
        >>> Reading(resize="256,bicubic").size
        Size(height=256, width=None, method='bicubic')
    """

    sample: int | None = None
    balanced: bool = False
    sample_seed: int = 0
    resize: int | str | None = None
    crop: int | str | None = None
    rgb: bool = False
    grey: bool = False
    layout: str | None = None
    classes: Classes | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and (
            str(self.resize).endswith(".json") or Path(str(self.resize)).is_dir()
        ):
            size, crop = own_size(Path(str(self.resize)).expanduser())
            object.__setattr__(self, "resize", size)
            object.__setattr__(self, "crop", crop if self.crop is None else self.crop)
        _ = self.size, self.cut, self.shape
        if self.sample is not None and self.sample < 1:
            raise InputError(f"sample={self.sample}: give at least 1, or leave it out to take all")
        if self.balanced and self.sample is None:
            raise InputError("balanced says how examples are drawn: give sample (--sample) too")
        if self.rgb and self.grey:
            raise InputError("images become either rgb or grey: give one of --rgb and --grey")

    @property
    def size(self) -> Size | None:
        """To which images are resized."""
        return None if self.resize is None else _size("resize", self.resize)

    @property
    def cut(self) -> tuple[int, int] | None:
        """Height and width of the middle that is kept."""
        if self.crop is None:
            return None
        size = _size("crop", self.crop)
        return size.height, size.width or size.height

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of an example that is stored flat."""
        if self.layout is None or self.layout in LAYOUTS:
            return None
        parts = str(self.layout).lower().split("x")
        if not all(part.isdigit() and int(part) for part in parts):
            raise InputError(
                f"layout is {self.layout!r}: give nchw, nhwc or the shape of an example, 1x28x28"
            )
        return tuple(map(int, parts))

    def facts(self) -> dict[str, Any]:
        """What differs from the defaults, for the record."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        found = {
            name: value for name, value in found.items() if value is not None and value is not False
        }
        if self.sample is None:
            found.pop("sample_seed")
        return {k: str(v) if isinstance(v, Path) else v for k, v in found.items()}


def _size(what: str, given: int | str) -> Size:
    text, _, method = str(given).replace(" ", "").lower().partition(",")
    parts = text.split("x")
    good = len(parts) <= 2 and all(part.isdigit() and int(part) for part in parts)
    if not good or (method and (method not in METHODS or what == "crop")):
        how = "" if what == "crop" else ", or 256,bicubic"
        raise InputError(f"{what} is '{given}': give pixels, such as 224, or 224x256{how}")
    height, *width = map(int, parts)
    return Size(height, width[0] if width else None, method or "bilinear")


PLAIN = Reading()
"""All examples, their images as they are."""
