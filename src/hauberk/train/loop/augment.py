"""Random crops and flips that depend on (seed, epoch, example) alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.threats.base import Box

_STREAM = 31


@dataclass(frozen=True)
class Augmentation:
    """How training images (B, C, H, W) are varied.

    Args:
        pad: A random window of the image padded with zeros by so many pixels; 0 for none.
        flip: Mirror left and right with probability one half.

    Example:
        >>> augmentation = Augmentation.of(["pad-crop:2", "flip"])
        >>> x, ids = torch.rand(3, 1, 8, 8), torch.arange(3)
        >>> augmentation(x, ids, seed=0, epoch=1, box=Box()).shape
        torch.Size([3, 1, 8, 8])
    """

    pad: int = 0
    flip: bool = False

    @classmethod
    def of(cls, words: Sequence[str]) -> "Augmentation":
        """From ``("pad-crop:4", "flip")`` and the like; `InputError` for an unknown word."""
        pad, flip = 0, False
        several = [words] if isinstance(words, str) else words
        if not isinstance(several, Sequence) or not all(isinstance(w, str) for w in several):
            raise InputError(f'augment is {words!r}: give words, such as ("pad-crop:4", "flip")')
        for word in several:
            name, _, number = word.partition(":")
            if name == "pad-crop" and (number or "4").isdigit() and int(number or 4) > 0:
                pad = int(number or 4)
            elif word == "flip":
                flip = True
            else:
                raise InputError(f'unknown augmentation {word!r}: choose "pad-crop:4" or "flip"')
        return cls(pad, flip)

    def check(self, x: Tensor) -> None:
        """`InputError` unless these inputs can be varied."""
        if (self.pad or self.flip) and x.dim() != 4:
            raise InputError(
                f"augment needs images (N, C, H, W), not inputs of shape {tuple(x.shape)}: "
                "leave it out"
            )

    def __call__(self, x: Tensor, ids: Tensor, seed: int, epoch: int, box: Box) -> Tensor:
        """Images ``x`` varied, ``(B, C, H, W)``; padding is clipped to the box."""
        draws = Draws.of(seed, ids, _STREAM, epoch)
        if self.pad:
            high, wide = x.shape[2:]
            corner = draws.integers(0, (2,), 2 * self.pad + 1)
            rows = corner[:, :1] + torch.arange(high, device=x.device)
            columns = corner[:, 1:] + torch.arange(wide, device=x.device)
            padded = F.pad(x, (self.pad,) * 4)
            which = torch.arange(len(x), device=x.device)[:, None, None]
            cut = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
            x = cut.permute(0, 3, 1, 2).contiguous().clamp(*box.bounds(x))
        if self.flip:
            mirrored = draws.integers(1, (1, 1, 1), 2).bool()
            x = torch.where(mirrored, x.flip(3), x)
        return x
