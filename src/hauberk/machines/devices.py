"""Devices by name: the one that is asked for, or the fastest that is there."""

import logging

import torch
from torch import nn

from hauberk.errors import InputError
from hauberk.machines import launch

AUTO = "auto"
"""The fastest device: a GPU of CUDA, then one of Apple (MPS), then the CPU."""

log = logging.getLogger("hauberk")


def fastest(processes: int = 1) -> str:
    """The device that ``auto`` stands for: ``cuda``, ``mps`` or ``cpu``.

    A device counts if it can compute in float64, in which points are judged. MPS cannot as yet, so
    Apple's GPUs are left out until it does.

    Args:
        processes: of this machine that need a GPU of their own each; 1 if they may share one.

    Example:
        >>> fastest() in ("cuda", "mps", "cpu")
        True
    """
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    for name, many in there.items():
        if many >= max(1, processes):
            try:
                torch.ones(1, device=name, dtype=torch.float64).add(1)
            except (RuntimeError, TypeError, AssertionError):
                continue
            return name
    return "cpu"


def require_device(name: str) -> None:
    """Refuse a device that torch does not know.

    Raises:
        InputError: for one.
    """
    try:
        _ = torch.device("cpu" if name == AUTO else name)
    except RuntimeError:
        raise InputError(f"unknown device '{name}': give auto, cpu, cuda, cuda:0 or mps") from None


def device_named(name: str | None) -> str | None:
    """The device of this process, where a user names one; None of None.

    ``cuda`` without a number is, in the second of several processes, the second GPU, and so on.

    Raises:
        InputError: for a name that torch does not know, and for one that cannot be used.
    """
    if name is None:
        return None
    require_device(name)
    asked, name = name, fastest() if name == AUTO else name
    device = torch.device(name)
    if device.type == "mps" and asked != AUTO:
        raise InputError("device mps has no float64, in which points are judged: give --device cpu")
    if device.type == "cuda" and device.index is None and launch.is_begun():
        name = f"cuda:{launch.local_rank() % max(1, torch.cuda.device_count())}"
    if asked == AUTO and name != "cpu":
        log.info("device %s (--device cpu for the CPU)", name)
    return name


def placed(model: nn.Module, name: str | None) -> nn.Module:
    """A model on the device of a name, as :func:`device_named` reads it.

    Of ``auto``, a model that has put itself onto a device stays there.

    Raises:
        InputError: if the device cannot be used.
    """
    wanted = device_named(name)
    homes = {p.device.type for p in model.parameters()} | {b.device.type for b in model.buffers()}
    if wanted is None or (name == AUTO and homes - {"cpu"}):
        return model
    try:
        return model.to(wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        line = str(error).splitlines()[0]
        raise InputError(f"device '{wanted}' cannot be used: {line}") from error
