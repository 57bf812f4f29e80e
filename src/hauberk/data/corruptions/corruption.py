"""One corruption at one severity, and its notation: ``fog:3``."""

import re
from dataclasses import dataclass
from zlib import crc32

import torch
from torch import Tensor

from hauberk.data.corruptions.blur import cut
from hauberk.data.corruptions.kinds import KINDS, SEVERITIES
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.spec.build import did_you_mean

_LEAST_SIDE = 8
_AT_ONCE = 500
_SUFFIX = re.compile(r"(.+)\+([a-z_]+):([^+:/\\]*)", re.S)


@dataclass(frozen=True)
class Corruption:
    """A common corruption of images; ``fog:3`` in the notation.

    Args:
        kind: a name of :data:`KINDS`, such as ``"gaussian_noise"`` or ``"jpeg_compression"``.
        severity: 1 to 5.

    Raises:
        InputError: for an unknown kind or severity.

    Source: Hendrycks & Dietterich 2019, with the settings of CIFAR-10-C. Frost is a texture made
    here, not the published photographs.

    Example:
        >>> grey = torch.full((1, 3, 32, 32), 0.2)
        >>> (Corruption("brightness", 3)(grey)[0, 0, 0, 0] * 255).round()
        tensor(89.)
    """

    kind: str
    severity: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"unknown corruption '{self.kind}': choose one of {', '.join(KINDS)}"
                f"{did_you_mean(self.kind, KINDS)}"
            )
        if type(self.severity) is not int or self.severity not in SEVERITIES:
            raise InputError(f"{self}: severity is {self.severity!r}: give a whole number, 1 to 5")

    @classmethod
    def read(cls, text: str) -> "Corruption":
        """The corruption that ``KIND:SEVERITY`` stands for.

        Raises:
            InputError: for an unknown kind or severity.

        Example:
            >>> Corruption.read("fog:3")
            Corruption(kind='fog', severity=3)
        """
        kind, _, severity = text.partition(":")
        if severity not in map(str, SEVERITIES):
            raise InputError(f"{text}: severity is '{severity}': write {kind}:1 to {kind}:5")
        return cls(kind, int(severity))

    def __str__(self) -> str:
        return f"{self.kind}:{self.severity}"

    def __call__(self, images: Tensor, ids: Tensor | None = None, seed: int = 0) -> Tensor:
        """Corrupted images, float32 of 8-bit levels, on the CPU.

        An image's random numbers follow from the seed, its id and the kind; they are the same at
        all severities.

        Args:
            images: ``(N, C, H, W)`` in [0, 1], grey or RGB, taken to the nearest 8-bit level; at
                least 8 x 8 pixels.
            ids: of the images, ``(N,)`` int64; 0 to N - 1 by default.
            seed: of all random numbers.

        Raises:
            InputError: for images of another shape or range.
        """
        self._check(images)
        ids = torch.arange(len(images)) if ids is None else torch.as_tensor(ids).cpu()
        if ids.shape != (len(images),):
            raise InputError(f"{len(images)} images but ids of shape {tuple(ids.shape)}")
        kind = KINDS[self.kind]
        settings = kind.settings[self.severity - 1]
        draws = Draws.of(seed, ids, crc32(self.kind.encode()))
        found = torch.empty(images.shape, dtype=torch.float32)
        for part in torch.arange(len(images)).split(_AT_ONCE):
            x = (images[part].detach().cpu().double() * 255).round() / 255
            # Rounded to float32, these are what bytes become when a file of them is read.
            found[part] = cut(kind.function(x, Draws(draws.key[part]), *settings)).float()
        return found

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or not images.is_floating_point():
            raise InputError(f"{self} takes a tensor of floating numbers in [0, 1]: convert it")
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] not in (1, 3) or min(shape[2:]) < _LEAST_SIDE:
            raise InputError(
                f"{self} takes grey or RGB images (N, C, H, W) of at least {_LEAST_SIDE} x "
                f"{_LEAST_SIDE} pixels, but these have shape {shape}"
            )
        if len(images) and not (images.min() >= 0 and images.max() <= 1):
            raise InputError(
                f"{self} takes images in [0, 1], but they lie in [{float(images.min()):g}, "
                f"{float(images.max()):g}]: divide by 255, and move normalisation into the model"
            )


def corruptions_in(spec: str) -> tuple[str, list[Corruption]]:
    """The name of a data set without the corruptions behind it, and those, in order.

    Args:
        spec: such as ``"cifar10:test+fog:3"``.

    Raises:
        InputError: for an unknown kind or severity.

    Example:
        >>> corruptions_in("cifar10:test+fog:3")
        ('cifar10:test', [Corruption(kind='fog', severity=3)])
        >>> corruptions_in("npz:a+b.npz")
        ('npz:a+b.npz', [])
    """
    found: list[Corruption] = []
    while match := _SUFFIX.fullmatch(spec):
        before, kind, severity = match.groups()
        if kind not in KINDS and not severity.isdigit():
            break  # a file whose name has a plus
        spec = before
        found.insert(0, Corruption.read(f"{kind}:{severity}"))
    return spec, found
