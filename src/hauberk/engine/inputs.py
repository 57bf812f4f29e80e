"""What inputs and labels must be."""

from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.threats.base import Box


def check(x: Tensor, y: Tensor, box: Box, grouped: bool = False) -> tuple[Tensor, Tensor]:
    """Inputs and labels as they must be, or one clear error; integer labels become int64.

    What rounding alone put outside the box is clipped to it (:meth:`hauberk.threats.Box.near`).
    ``grouped``: inputs (G, M, ...) and labels (G, M) instead of (B, ...) and (B,).
    """
    y = check_kinds(x, y, box, grouped)
    near = box.near(x.flatten(0, 1) if grouped else x)
    check_values(near, box)
    return near.view_as(x), y


def check_kinds(x: Any, y: Tensor, box: Box, grouped: bool = False) -> Tensor:
    """Refuse inputs of another type or shape than labels say; the labels as int64.

    Args:
        x: anything with the shape and dtype of inputs ``(B, ...)``; nothing of it is read.

    Raises:
        InputError: as :func:`check` does.
    """
    if not isinstance(getattr(x, "dtype", None), torch.dtype) or not isinstance(y, Tensor):
        raise InputError("inputs and labels must be torch tensors: use torch.as_tensor")
    if not x.dtype.is_floating_point:
        raise InputError(f"inputs are {x.dtype}: give floats in the box {box}{_as_floats(x, box)}")
    kind, many = ("(G, M)", 2) if grouped else ("(B,)", 1)
    if y.is_floating_point() or y.dtype == torch.bool or y.dim() != many:
        rows = "; of one-hot rows labels.argmax(1). Several labels for an input are not judged"
        more = rows if y.dim() == 2 and not grouped else ""
        raise InputError(
            f"labels are {y.dtype} {tuple(y.shape)}: give integer class ids {kind}{more}"
        )
    if grouped and (len(x.shape) < 3 or x.shape[:2] != y.shape or not x.shape[1]):
        raise InputError(
            f"{tuple(x.shape)} inputs with {tuple(y.shape)} labels: give groups (G, M, ...) of at "
            "least one input each, and (G, M)"
        )
    if len(x.shape) < 2 or len(x) != len(y):
        raise InputError(f"{tuple(x.shape)} inputs with {len(y)} labels: give (B, ...) and (B,)")
    if bool((y < 0).any()):
        raise InputError(f"label {int(y.min())} is negative: classes are numbered from 0")
    return y.long()


def check_values(x: Tensor, box: Box, start: int = 0) -> None:
    """Refuse inputs ``(B, ...)`` that are not finite or leave the box; ``start``: of the first.

    Raises:
        InputError: as :func:`check` does.
    """
    if len(x) and not bool(x.isfinite().all()):
        bad = start + int((~x.isfinite().flatten(1).all(1)).nonzero()[0])
        raise InputError(f"input {bad} holds NaN or infinite values: clean the data")
    lo, hi = box.bounds(x)
    if not bool(((x >= lo) & (x <= hi)).all()):
        raise InputError(outside(x, box))


def outside(x: Tensor, box: Box) -> str:
    """The message on inputs that leave the box: what they look like, and what to do about it.

    Args:
        x: floats ``(B, ...)``, of which one is outside.
    """
    least, most = float(x.min()), float(x.max())
    text = f"inputs lie in [{least:.4g}, {most:.4g}] but the box is {box}: "
    lo, hi = box.bounds(x)
    span = hi - lo
    slight = torch.where(span.isfinite(), 0.15 * span, 0.0)
    if x.dim() == 2:
        return text + (
            "give the range of the features, box=(lo, hi), two numbers or as many as there are "
            "features; sizes of threats count in the same units"
        )
    if bool(((x >= lo - slight) & (x <= hi + slight)).all()):
        return text + "if that is arithmetic, such as resizing, clip them to the box"
    if not box.is_unit:
        return text + "give the range that inputs can have, box=(lo, hi), or convert them"
    if least >= 0:
        return text + (
            "divide images of 0 to 255 by 255; or, if the model takes 0 to 255, give box=(0, 255) "
            "and sizes in the same units, linf:8 instead of linf:8/255"
        )
    return text + (
        "move normalisation into the model (hauberk.models.normalised, or --mean and --std) and "
        "give images in [0, 1]; in a wider box sizes of threats count in its units, so that "
        f"linf:8/255 would be {8 / max(most - least, 1):.2g}/255 of what it is in [0, 1]"
    )


def units(x: Tensor, box: Box) -> str | None:
    """A warning if images look normalised, since sizes of threats then count in other units.

    Args:
        x: floats ``(B, ...)`` in the box.

    Example:
        >>> images = torch.randint(256, (4, 1, 8, 8)) / 255
        >>> units((images - 0.5) / 0.25, Box(-2, 2)).partition(":")[0]
        'the images look normalised (8-bit steps are 0.0157 apart, as with a std of 0.25)'
    """
    lo, hi = box.bounds(x)
    if not len(x) or not bool((lo < 0).any() and (hi > 0).all() and (x < 0).any()):
        return None
    least, most, step = float(x.min()), float(x.max()), eight_bit_step(x)
    # Rows of a table and sounds have units of their own.
    if step is None and (x.dim() < 4 or most - least < 1.5):
        return None
    width = 255 * step if step else most - least
    if abs(width - 1) < 0.01:
        return None
    why = (
        f"8-bit steps are {step:.3g} apart, as with a std of {1 / width:.3g}"
        if step else f"they lie in [{least:.3g}, {most:.3g}]"
    )  # fmt: skip
    return (
        f"the images look normalised ({why}): sizes of threats count in these units, so that "
        f"linf:8/255 is {8 / width:.2g}/255 of an image in [0, 1]. Give images in [0, 1] and "
        "the normalisation to the model (hauberk.models.normalised, or --mean and --std), or "
        f"sizes {width:.3g} times as large"
    )


def eight_bit_step(x: Tensor) -> float | None:
    """How far apart 8-bit values are in images that were scaled and shifted; None for others.

    Args:
        x: floats ``(B, C, ...)``: each channel with its own step, of which the mean is returned;
            or flat ``(B, D)``.
    """
    steps = []
    few = x[:64].double() if x.dim() > 2 else x[:64, None].double()
    for channel in few.transpose(0, 1).flatten(1):
        values = channel[: 2**18].sort().values
        rough = 1e-5 * max(1.0, float(values.abs().max()))
        gaps = values.diff()
        gaps = gaps[gaps > rough]
        if not len(gaps):
            return None
        step = float(gaps.min())
        count = (values[-1] - values[0]) / step
        on_grid = ((values - values[0]) / step).round().mul(step).add(values[0])
        # Fewer levels may be every second of more.
        if not 128 < count < 255.5 or bool(((values - on_grid).abs() > 0.1 * step).any()):
            return None
        # From end to end the step is known better than from two neighbours.
        steps.append(float((values[-1] - values[0]) / count.round()))
    return sum(steps) / len(steps) if steps else None


def _as_floats(x: Any, box: Box) -> str:
    """How integers become floats of the box, in brackets; empty where nothing is known."""
    ends = torch.as_tensor(box.lo), torch.as_tensor(box.hi)
    if x.dtype != torch.uint8 or not all(bool(end.isfinite().all()) for end in ends):
        return ""
    if box.is_unit:
        return " (uint8 / 255)"
    if bool(ends[0].eq(0).all() and ends[1].eq(255).all()):
        return " (uint8.float())"
    return " (lo + (hi - lo) * uint8 / 255, if 0 is its lower end and 255 its upper one)"
