"""Models that take batches of one size only: found out, and from then on given nothing else."""

import logging

import torch
from torch import Tensor, nn

from hauberk.maths.modules import exact_batch, keep_batch
from hauberk.victims.memory import out_of_memory
from hauberk.victims.victim import Victim

SIZES = (
    1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 25, 32, 40, 48, 50, 64, 96, 100, 128, 200, 256, 512,
)  # fmt: skip
"""Sizes that are tried."""

LARGEST = 2**26
"""Numbers in a batch up to which sizes are tried."""

log = logging.getLogger("hauberk")


def settle_batch(victim: Victim, x: Tensor) -> None:
    """Find out whether a model takes batches of one size only, which then get filled up.

    A model that fails on a lone input, or on all of ``x``, is tried with other sizes; of one that
    fails with all of them nothing is noted. Passes are not counted.

    Args:
        x: a few inputs, ``(N, ...)``.

    Example:
        >>> victim = Victim(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (4, 6))))
        >>> settle_batch(victim, torch.rand(3, 2, 3))
        >>> victim.predict(torch.rand(3, 2, 3)).shape
        torch.Size([3, 6])
    """
    if type(victim) is not Victim or not isinstance(victim.model, nn.Module) or not len(x):
        return
    if exact_batch(victim.model) is not None or (_works(victim, x) and _works(victim, x[:1])):
        return
    for size in (len(x), *SIZES):
        if size * x[0].numel() > LARGEST:
            continue
        victim.exact = size
        if _works(victim, x):
            keep_batch(victim.model, size)
            log.info(
                f"the model takes batches of {size}, and not of another size: batches are filled up"
            )
            return
    victim.exact = None


def _works(victim: Victim, x: Tensor) -> bool:
    """Whether the model gives logits for a batch; no passes are counted, no generator moves."""
    before = victim.forwards
    cards = [victim.device] if victim.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cards), victim.held(), torch.no_grad():
            victim.logits(x.to(victim.device))
    except Exception as error:  # noqa: BLE001  # whatever a user's model raises
        # Memory says nothing of sizes, and is met where batches are halved.
        return out_of_memory(error)
    finally:
        victim.forwards = before
    return True
