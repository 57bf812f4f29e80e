"""Checks that a callable can be attacked: its shape, values and gradient on one or two images."""

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.spec.imports import one_line
from hauberk.transforms.base import Function, apply, check_function, named
from hauberk.transforms.combined import Sometimes

_REMEDY = "wrap it as hauberk.transforms.StraightThrough(f), on the command line through(file.py:f)"


def check(transform: Function, x: Tensor) -> None:
    """Try ``transform`` on one or two images, forward and backward.

    The state of torch's global random generator is restored.

    Args:
        transform: a transform or any callable.
        x: images (B, C, H, W), of which at most two are used.

    Raises:
        InputError: naming the transform, if it is not callable, fails, returns no tensor, another
            shape, NaN or infinite values, or if its gradient is missing, not finite, or 0.

    Example:
        >>> import torch
        >>> from hauberk.transforms import check
        >>> check(torch.sigmoid, torch.rand(2, 1, 4, 4))
        >>> check(torch.round, torch.rand(2, 1, 4, 4))
        Traceback (most recent call last):
        hauberk.errors.InputError: transform ... is not differentiable, ...
    """
    check_function("transform", transform)
    if isinstance(transform, Sometimes):  # its draws could hide the transform
        check(transform.transform, x)
    if not isinstance(x, Tensor) or not x.is_floating_point() or not x.numel():
        raise InputError("there are no images to try a transform on: give one or two, as floats")
    name = f"transform {named(transform)}"
    cuda = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.enable_grad():
        given = x.detach()[:2].clone().requires_grad_()
        draws = Draws.of(0, torch.arange(len(given), device=x.device))
        found = _run(transform, given, draws, name)
        grad = _gradient(found, given, name)
    if grad is None or not bool(grad.any()):
        raise InputError(f"{name} is not differentiable, no gradient reaches its input: {_REMEDY}")
    if not bool(grad.isfinite().all()):
        raise InputError(f"{name} has NaN or infinite gradients: correct it, or {_REMEDY}")


def _run(transform: Function, x: Tensor, draws: Draws, name: str) -> Tensor:
    shape = tuple(x.shape)
    try:
        found: object = apply(transform, x, draws)
    except Exception as error:
        raise InputError(
            f"{name} failed on images {shape} ({one_line(error, place=True)}): {_hint(error)}"
        ) from error
    if not isinstance(found, Tensor):
        raise InputError(f"{name} returned a {type(found).__name__}: it must return a tensor")
    if found.shape != x.shape:
        raise InputError(
            f"{name} turned shape {shape} into {tuple(found.shape)}: it must keep the shape"
        )
    if not bool(found.detach().isfinite().all()):
        raise InputError(f"{name} returned NaN or infinite values: correct it")
    return found


def _gradient(found: Tensor, x: Tensor, name: str) -> Tensor | None:
    """Of a random combination of the values: in their plain sum a gradient can cancel."""
    if not found.requires_grad:
        return None
    ids = torch.arange(len(x), device=x.device)
    weights = Draws.of(1, ids).uniform(0, x.shape[1:]).to(found.dtype)
    try:
        return torch.autograd.grad(found, x, weights, allow_unused=True)[0]
    except Exception as error:
        raise InputError(f"{name} has no gradient ({one_line(error)}): {_REMEDY}") from error


def _hint(error: Exception) -> str:
    text = str(error)
    if "in-place" in text:
        return "it must not change its input in place"
    # What torch says when a tensor on the graph is handed to NumPy.
    return _REMEDY if "requires grad" in text else "it must take a tensor (B, C, H, W)"
