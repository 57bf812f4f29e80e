"""Torch's global generators, seeded inside a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators (CPU, and ``device``'s) inside the block, restore them after.

    What runs inside is reproducible on one device and one release of torch.

    Args:
        seed: any integer.
        device: whose generator is seeded beside the CPU's.

    Example:
        >>> with seeded(1):
        ...     first = torch.rand(1)
        >>> with seeded(1):
        ...     torch.equal(first, torch.rand(1))
        True
    """
    device = torch.device(device)
    cuda = []
    if device.type == "cuda":
        cuda = [torch.cuda.current_device() if device.index is None else device.index]
    # Other devices' generators are neither saved nor seeded: torch.manual_seed would seed them all.
    with torch.random.fork_rng(devices=cuda):
        _seed(seed, cuda)
        yield


def _seed(seed: int, cuda: list[int]) -> None:
    torch.default_generator.manual_seed(seed & (2**63 - 1))
    for index in cuda:
        torch.cuda.default_generators[index].manual_seed(seed & (2**63 - 1))
