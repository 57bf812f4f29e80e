"""The size of images that a model's own configuration file asks for."""

import json
from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any

from hauberk.errors import InputError
from hauberk.spec.imports import one_line

FILES = ("preprocessor_config.json", "processor_config.json", "config.json")
"""Names of the files that transformers and timm leave beside weights."""

_METHODS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for how pixels are interpolated."""


def own_size(path: Path) -> tuple[str, str | None]:
    """What to resize images to, and what to crop of them then, as `--resize` and `--crop` have it.

    Args:
        path: a `config.json` of timm or a `preprocessor_config.json` of transformers, or its
            folder.

    Raises:
        InputError: if it cannot be read, or says nothing of the size.

    Example:
        >>> sizes({"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bicubic"})
        ('256,bicubic', '224x224')
        >>> sizes({"size": {"height": 384, "width": 384}, "resample": 2})
        ('384x384,bilinear', None)
    """
    files = [path / name for name in FILES] if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]
    if not files:
        raise InputError(f"resize {path}: there is none of {', '.join(FILES)}")
    for file in files:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"resize {file} cannot be read ({one_line(error)})") from error
        if isinstance(found, Mapping) and (asked := sizes(found)) is not None:
            return asked
    raise InputError(f"resize {path}: it says no size of images: give pixels, --resize 256")


def sizes(says: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """The same of what a configuration says; None if it says nothing of the size.

    Raises:
        InputError: for a way to interpolate that is not known here.
    """
    for key in ("image_processor", "pretrained_cfg", "default_cfg"):
        if isinstance(inside := says.get(key), Mapping):
            says = inside
    if "input_size" in says:
        return _of_timm(says)
    size, crop = says.get("size"), says.get("crop_size")
    if size is None or not says.get("do_resize", True):
        return None
    asked = _pixels(size)
    share = says.get("crop_pct")
    if share and crop is None and "x" not in asked and int(asked) < 384:  # ConvNeXt
        return f"{int(int(asked) / share)},{_method(says.get('resample', 3))}", f"{asked}x{asked}"
    asked += f",{_method(says.get('resample', 2))}"
    cropped = crop is not None and says.get("do_center_crop", True)
    return asked, _pixels(crop) if cropped else None


def _of_timm(says: Mapping[str, Any]) -> tuple[str, str]:
    height, width = says["input_size"][-2:]
    share = float(says.get("crop_pct") or 0.875)
    method = _method(says.get("interpolation") or "bilinear")
    crop = f"{height}x{width}"
    if says.get("crop_mode") == "squash" or height != width:
        return f"{floor(height / share)}x{floor(width / share)},{method}", crop
    return f"{floor(height / share)},{method}", crop


def _pixels(size: Any) -> str:
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return str(int(size["shortest_edge"]))
        return f"{int(size['height'])}x{int(size['width'])}"
    if isinstance(size, list | tuple):
        return "x".join(str(int(side)) for side in size)
    return str(int(size))


def _method(given: Any) -> str:
    name = _METHODS.get(given, str(given).lower())
    if name not in _METHODS.values():
        raise InputError(
            f"resize: the file says interpolation by {name}: bilinear and bicubic are known here; "
            "give pixels, --resize 256,bicubic"
        )
    return name
