"""What images are normalised by: from numbers, names and configuration files to mean and std."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.errors import InputError
from hauberk.spec.imports import one_line
from hauberk.spec.numbers import number

FILES = ("preprocessor_config.json", "processor_config.json", "config.json")
"""Names of the files that transformers and timm leave beside weights."""


@dataclass(frozen=True)
class MeanStd:
    """A mean and a std: ``(x - mean) / std`` is what a network takes.

    Attributes:
        mean, std: one number for all channels (features), or one for each.
        of_images: whether they are those of images in [0, 1], as names and files have them.

    Raises:
        InputError: for numbers that are not finite, a ``std`` of 0 or less, or other lengths.

    Example:
        >>> MeanStd.of("imagenet").std
        (0.229, 0.224, 0.225)
        >>> MeanStd.of("0.5", "1/4")
        MeanStd(mean=(0.5,), std=(0.25,), of_images=False)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    of_images: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) and 1 not in (len(self.mean), len(self.std)):
            raise InputError(
                f"mean has {len(self.mean)} values and std {len(self.std)}: give as many"
            )
        if not all(map(isfinite, (*self.mean, *self.std))) or not all(s > 0 for s in self.std):
            raise InputError(
                f"mean={self.mean}, std={self.std}: give finite numbers, every std above 0"
            )

    @classmethod
    def of(cls, mean: Any, std: Any = None) -> "MeanStd":
        """Mean and std as they are given.

        Args:
            mean: a number, a list, array or tensor of one a channel, or text: numbers with commas
                between, a name of :data:`KNOWN`, or a file of timm or Hugging Face, or its folder.
            std: alike; left out, the one that belongs to the name or file.

        Raises:
            InputError: for anything else.
        """
        first = _read(mean, "mean")
        if std is None:
            if isinstance(first, tuple):
                raise InputError("mean without std: give both, or one of " + ", ".join(KNOWN))
            return first
        second = _read(std, "std")
        named = [v for v in (first, second) if isinstance(v, MeanStd)]
        return cls(
            first.mean if isinstance(first, MeanStd) else first,
            second.std if isinstance(second, MeanStd) else second,
            of_images=len(named) == 2,
        )

    @classmethod
    def of_configuration(cls, says: Mapping[str, Any]) -> "MeanStd | None":
        """What a configuration of timm or of an image processor of transformers says.

        Args:
            says: the whole of a file, or the part of it that is about the inputs.

        Returns:
            mean and std of images in [0, 1]; None if it says nothing of them.

        Raises:
            InputError: for numbers that are none.

        Example:
            >>> MeanStd.of_configuration({"image_mean": [0.5], "image_std": [0.25]}).mean
            (0.5,)
            >>> half = {"do_normalize": False, "do_rescale": True, "rescale_factor": 1 / 127.5}
            >>> MeanStd.of_configuration(half | {"image_mean": [0], "image_std": [1]}).std
            (0.5,)
        """
        for key in ("image_processor", "pretrained_cfg", "default_cfg"):
            if isinstance(inside := says.get(key), Mapping):
                says = inside
        if "image_mean" not in says and "image_std" not in says:
            if says.get("mean") is None or says.get("std") is None:
                return None
            return cls(_numbers(says["mean"], "mean"), _numbers(says["std"], "std"), True)
        stated = says if says.get("do_normalize", True) else {"image_mean": 0, "image_std": 1}
        mean, std = (
            _numbers(stated.get(f"image_{key}"), f"image_{key}") for key in ("mean", "std")
        )
        # Bytes are scaled first: by 255, but for processors that say otherwise.
        factor = says.get("rescale_factor") or 1 / 255
        scale = 255 * (float(factor) if says.get("do_rescale", True) else 1.0)
        shift = 1.0 if says.get("do_rescale", True) and says.get("rescale_offset") else 0.0
        if abs(scale - 1) < 1e-6:  # 1 / 255, as a file has it
            scale = 1.0
        return cls(
            tuple((value + shift) / scale for value in mean),
            tuple(value / scale for value in std), True,
        )  # fmt: skip

    def in_box(self, lo: Any, hi: Any) -> "MeanStd":
        """The same for inputs in a box, which images in [0, 1] are spread over.

        Numbers that were given are in the units of the inputs already.

        Args:
            lo, hi: the ends of the box, numbers or one a channel.

        Raises:
            InputError: for numbers that are those of images of 0 to 255, if the box is [0, 1]; for
                names and files, if it has no end.

        Example:
            >>> MeanStd.of(128, 64).in_box(0, 255).mean, MeanStd.of("clip").in_box(0, 1).mean[0]
            ((128.0,), 0.48145466)
        """
        ends = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        unit = bool((ends[0] == 0).all() and (ends[1] == 1).all())
        if unit and min(self.mean) > 1:
            parts = (",".join(f"{v / 255:.4g}" for v in vs) for vs in (self.mean, self.std))
            raise InputError(
                f"{self} are those of images of 0 to 255, but the box is [0, 1]: divide both by "
                f"255, {' and '.join(parts)}"
            )
        if not self.of_images and (ends[1] - ends[0] > 100).all() and 0 < max(self.mean) <= 1:
            lo_, hi_ = (f"{float(end.flat[0]):g}" for end in ends)
            raise InputError(
                f"{self} look like those of images in [0, 1], but the box is [{lo_}, {hi_}]: leave "
                "the box out and give images in [0, 1], or give both in units of the box"
            )
        if unit or not self.of_images:
            return self
        if not all(np.isfinite(end).all() for end in ends):
            raise InputError(f"{self} are those of images, but the box has no end: give its ends")
        span = ends[1] - ends[0]
        return MeanStd(
            tuple(np.atleast_1d(ends[0] + span * np.array(self.mean)).tolist()),
            tuple(np.atleast_1d(span * np.array(self.std)).tolist()),
        )

    def __str__(self) -> str:
        mean, std = (",".join(f"{v:.4g}" for v in values) for values in (self.mean, self.std))
        return f"mean {mean} and std {std}"


KNOWN = {
    "imagenet": MeanStd((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), True),
    "cifar10": MeanStd((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), True),
    "cifar100": MeanStd((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), True),
    "mnist": MeanStd((0.1307,), (0.3081,), True),
    "fashion": MeanStd((0.2860,), (0.3530,), True),
    "svhn": MeanStd((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), True),
    "tinyimagenet": MeanStd((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821), True),
    "clip": MeanStd(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), True
    ),
    "inception": MeanStd((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), True),
}
"""Usual normalisations of images in [0, 1], by name."""


def _read(given: Any, what: str) -> "tuple[float, ...] | MeanStd":
    if isinstance(given, MeanStd):
        return given
    if not isinstance(given, str | Path):
        return _numbers(given, what)
    text = str(given).strip()
    known = KNOWN.get(text.lower().replace("-", "").replace("_", ""))
    if known is not None:
        return known
    path = Path(text).expanduser()
    if path.suffix == ".json" or path.is_dir():
        return _of_file(path)
    values = [number(part) for part in text.strip("[]()").split(",") if part.strip()]
    found = tuple(value for value in values if value is not None)
    if not found or len(found) < len(values):
        raise InputError(
            f"{what} is {text!r}: give numbers (0.485,0.456,0.406), one of {', '.join(KNOWN)}, or "
            "a config.json of timm or a preprocessor_config.json, or its folder"
        )
    return found


def _numbers(given: Any, what: str) -> tuple[float, ...]:
    if hasattr(given, "tolist"):
        given = given.tolist()
    values = _flat(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        found = ()
    if not found:
        raise InputError(f"{what} is {given!r}: give a number, or one for each channel")
    return found


def _flat(given: Any) -> list[Any]:
    """The values of a list, also where it has the shape (C, 1, 1)."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [value for part in given for value in _flat(part)]
    return [given]


def _of_file(path: Path) -> MeanStd:
    files = [path / name for name in FILES] if path.is_dir() else [path]
    there = [file for file in files if file.is_file()]
    if not there:
        wanted = f"holds none of {', '.join(FILES)}" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {wanted}: give another file, or numbers")
    for file in there:
        try:
            says = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is no readable JSON ({one_line(error)})") from error
        found = MeanStd.of_configuration(says) if isinstance(says, Mapping) else None
        if found is not None:
            return found
    names = ", ".join(file.name for file in there)
    raise InputError(f"{path}: {names} says no mean and std of images: give them as numbers")
