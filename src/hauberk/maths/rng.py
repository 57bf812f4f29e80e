"""Random numbers that depend on (seed, example id, stream, draw) and on nothing else.

A counter is hashed instead of a generator being advanced, so the numbers of an example do not
change with the batch size, the order of the examples, the device or an interruption.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from hauberk.maths.rows import Rows

_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as a signed 64-bit integer
_MIX1 = -4658895280553007687  # multipliers of the splitmix64 finaliser (Steele et al. 2014)
_MIX2 = -7723592293110705685


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift (torch shifts arithmetically)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mix(z: Tensor) -> Tensor:
    """The splitmix64 finaliser on int64 tensors; arithmetic wraps around."""
    z = (z ^ _shift(z, 30)) * _MIX1
    z = (z ^ _shift(z, 27)) * _MIX2
    return z ^ _shift(z, 31)


@dataclass
class Draws(Rows):
    """Random streams, one per example.

    Args:
        key: what the numbers follow from, ``(B,)`` int64; :meth:`of` makes it.

    Example:
        >>> both = Draws.of(0, torch.tensor([7, 8])).uniform(1, (2,))
        >>> alone = Draws.of(0, torch.tensor([8])).uniform(1, (2,))
        >>> torch.equal(both[1:], alone)  # no example depends on its neighbours
        True
    """

    key: Tensor

    @classmethod
    def of(cls, seed: int, ids: Tensor, *streams: int | Tensor) -> "Draws":
        """Streams for examples.

        Args:
            seed: of the run.
            ids: of the examples, ``(B,)`` int64.
            streams: more integers, or ``(B,)`` tensors of them, that set streams apart.
        """
        key = mix(ids.long() + _wrap(_GOLDEN * (seed + 1)))
        for stream in streams:
            if isinstance(stream, Tensor):
                key = mix(key + _GOLDEN * (stream.long() + 1))
            else:
                key = mix(key + _wrap(_GOLDEN * (stream + 1)))
        return cls(key=key)

    def split(self, stream: int) -> "Draws":
        """Streams independent of this one's."""
        return Draws(key=mix(self.key + _wrap(_GOLDEN * (stream + 1))))

    def bits(self, draw: int | Tensor, shape: Sequence[int]) -> Tensor:
        """``(B, *shape)`` random int64; ``draw`` is an int or ``(B,)``."""
        n = prod(shape)
        key = mix(self.key ^ mix(torch.as_tensor(draw, device=self.key.device).long() + _GOLDEN))
        counter = torch.arange(1, n + 1, device=self.key.device) * _GOLDEN
        return mix(key.unsqueeze(1) + counter).view(len(self.key), *shape)

    def uniform(
        self, draw: int | Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """``(B, *shape)`` uniform on the open interval (0, 1)."""
        # Half a unit is added so that 0 never comes out: logarithms and inverses stay finite.
        digits = 52 if dtype == torch.float64 else 23
        z = _shift(self.bits(draw, shape), 64 - digits).to(dtype)
        return z.add_(0.5).mul_(2.0**-digits)

    def normal(
        self, draw: int | Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """``(B, *shape)`` standard normal (inverse transform, so one uniform per number)."""
        return torch.erfinv(self.uniform(draw, shape, dtype).mul_(2).sub_(1)).mul_(2**0.5)

    def integers(self, draw: int | Tensor, shape: Sequence[int], high: int) -> Tensor:
        """``(B, *shape)`` int64, uniform on 0..high-1 (high far below 2^63: bias negligible)."""
        return _shift(self.bits(draw, shape), 1) % high


def _wrap(value: int) -> int:
    """A Python integer as a signed 64-bit one."""
    return (value + 2**63) % 2**64 - 2**63
