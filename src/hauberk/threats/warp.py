"""Rotations and translations of images: ``RotationTranslation``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite, prod
from typing import NoReturn, Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.square_windows import Windows
from hauberk.maths.steps import per_example, step_along
from hauberk.spec.numbers import number_in, shortest
from hauberk.threats.base import Threat, Trait
from hauberk.threats.box import Box, round_up
from hauberk.threats.region import Enumerable, Patchable, as_floats, filled


class RotationTranslation(Threat):
    """The image turned about its centre, then shifted; ``rt:30,3``.

    The angle is at most ``degrees`` in either sense, each of the two shifts at most ``pixels``. The
    size of a warp is relative: the largest of ``|angle| / degrees``, ``|dx| / pixels`` and
    ``|dy| / pixels``, so that the radius is 1. Positive angles turn counterclockwise, positive
    ``dx`` moves right and positive ``dy`` down. Values between pixels are bilinear; from outside of
    the image comes 0, or the value of the box next to 0.

    Args:
        degrees: the largest angle.
        pixels: the largest shift, right or left and up or down.

    Source: Engstrom et al. 2019 ("Exploring the landscape of spatial robustness"), whose limits are
    30 degrees and a tenth of the side (3 pixels); Tramèr & Boneh 2019, section 4.

    Raises:
        InputError: if a limit is negative or not finite, and for inputs that are no images (C, H,
            W) of at least 2 x 2 pixels.

    Example:
        >>> region = RotationTranslation(degrees=30, pixels=1).at(torch.eye(3).view(1, 1, 3, 3))
        >>> region.decode(torch.tensor([[0.0, 1.0, 0.0]])).squeeze()  # one pixel to the right
        tensor([[0., 1., 0.],
                [0., 0., 1.],
                [0., 0., 0.]])
    """

    kinds = "rt"
    grammar = "rt:DEGREES,PIXELS (rt:30,3) for rotations and translations"

    def __init__(self, degrees: float = 30, pixels: float = 3) -> None:
        for name, limit in (("degrees", degrees), ("pixels", pixels)):
            if not isfinite(limit) or limit < 0:
                raise InputError(f"{name} is {limit:g}: give a finite number, 0 or more")
        self.degrees, self.pixels = float(degrees), float(pixels)

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> "RotationTranslation | None":
        degrees, comma, pixels = text.removeprefix("rt:").partition(",")
        if not text.startswith("rt:") or not comma or "," in pixels:
            return None
        return cls(number_in(degrees, text), number_in(pixels, text))

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        return frozenset({Trait.ENUMERABLE, Trait.RUGGED})

    def at(self, x0: Tensor, box: Box = Box()) -> "WarpRegion":
        if x0.dim() != 4 or min(x0.shape[2:]) < 2:
            raise InputError(
                f"{self} warps images (C, H, W) of at least 2 x 2 pixels, but inputs have shape "
                f"{tuple(x0.shape[1:])}: reshape them, or choose another threat"
            )
        x0 = as_floats(x0)
        return WarpRegion(
            x0=x0,
            radius=filled(x0, 1.0),
            limits=(self.degrees, self.pixels, self.pixels),
            edges=box.bounds(x0),
        )

    def scaled(self, factor: float) -> "RotationTranslation":
        return RotationTranslation(self.degrees * factor, self.pixels * factor)

    def project(self, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{self} has no projection: attack it instead, its attacks stay in")

    def __str__(self) -> str:
        return f"rt:{shortest(self.degrees)},{shortest(self.pixels)}"

    def __repr__(self) -> str:
        return f"RotationTranslation(degrees={self.degrees:g}, pixels={self.pixels:g})"


@dataclass
class WarpRegion(Patchable, Enumerable):
    """The warps of each image. ``u`` (S, 3) holds angle, dx and dy in units of their limits.

    A warp is computed in float64 and rounded once to the dtype of the image, so that other batch
    sizes and devices find the same point up to that one rounding, which is what the judge allows
    for (:meth:`contains`).
    """

    limits: tuple[float, float, float]
    """Largest angle in degrees, dx and dy in pixels."""
    edges: tuple[Tensor, Tensor] = field(repr=False)

    @cached_property
    def _pad(self) -> Tensor:
        """What lies beyond the image, broadcastable to one: the value of the box next to 0."""
        return torch.zeros_like(self.edges[0]).clamp(*self.edges).double()

    def _limits(self, like: Tensor) -> Tensor:
        """The limits in a dtype, never larger than they are."""
        exact = torch.tensor(self.limits, dtype=torch.float64, device=like.device)
        return -round_up(-exact, like)

    def start(self) -> Tensor:
        return self.x0.new_zeros(len(self.x0), 3)

    def witness(self, u: Tensor) -> Tensor:
        """Angle in degrees, dx and dy in pixels, ``(S, 3)``."""
        return u * self._limits(u)

    def decode(self, u: Tensor) -> Tensor:
        """The warped images, ``(S, C, H, W)``; the clean ones, to the last bit, for u = 0."""
        return self._warp(self.witness(u))

    def _warp(self, by: Tensor) -> Tensor:
        moved = warp(self.x0.double() - self._pad, by.double()) + self._pad
        shown = torch.clamp(moved.detach().to(self.x0.dtype), *self.edges)
        shown = torch.where(per_example((by == 0).all(1), shown), self.x0, shown)
        # The value as it must be, the gradient as if nothing had been rounded or clamped.
        return shown + (moved - moved.detach()).to(shown.dtype)

    def encode(self, x: Tensor) -> None:
        """None: the warp that made an image is not looked for."""

    def project_(self, u: Tensor) -> Tensor:
        reach = self.eps.unsqueeze(1)
        return u.clamp_(-reach, reach)

    def ascent(
        self, u: Tensor, grad: Tensor, step: Tensor | float, share: Tensor | None = None
    ) -> Tensor:
        """Each parameter by ``step`` of its own limit, along the sign of its gradient."""
        return step_along(u, grad.sign(), step)

    def random(self, draws: Draws, draw: int | Tensor) -> Tensor:
        noise = draws.uniform(draw, (3,), self.x0.dtype).mul_(2).sub_(1)
        return noise.mul_(self.eps.unsqueeze(1))

    def random_coarse(self, draws: Draws, draw: int | Tensor) -> Tensor:
        """One of the eight corners."""
        coins = (draws.bits(draw, (3,)) & 1).to(self.x0.dtype)
        return coins.mul_(2).sub_(1).mul_(self.eps.unsqueeze(1))

    def repaint_window(self, u: Tensor, windows: Windows, draws: Draws, draw: Tensor) -> Tensor:
        """Those parameters drawn afresh that lie in the window, which is one of ``u``."""
        here = windows.painted.expand(-1, 1, 1, 3).view(-1, 3)
        return torch.where(here, self.random(draws, draw), u)

    def count(self, resolution: Sequence[int] = (31, 5, 5)) -> int:
        """Points of the grid with so many angles, shifts right and shifts down."""
        if len(resolution) != 3 or min(resolution) < 1:
            raise InputError(
                f"a grid of {tuple(resolution)} does not fit: give three counts of 1 or more, for "
                "the angle, dx and dy"
            )
        return prod(resolution)

    def candidate(self, index: Tensor, resolution: Sequence[int] = (31, 5, 5)) -> Tensor:
        """Points ``index`` (S, K) of the grid, ``(S, K, 3)``; its ends are those of the region.

        A count of 1 stands for the middle alone.
        """
        places = []
        for count in reversed(resolution):
            place = (index % count).to(self.x0.dtype)
            places.append(2 * place / (count - 1) - 1 if count > 1 else place)
            index = torch.div(index, count, rounding_mode="floor")
        return torch.stack(places[::-1], 2) * self.eps.view(-1, 1, 1)

    def distance(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """The largest parameter in units of its limit, from the witness alone, ``(S,)`` float64.

        Without a witness: 0 for the clean image and inf for any other.
        """
        if witness is None:
            same = (x == self.x0).flatten(1).all(1)
            return torch.where(same, 0.0, torch.inf).double()
        size = _three(witness, x).abs()
        exact = torch.tensor(self.limits, dtype=torch.float64, device=x.device)
        return torch.where(size == 0, 0.0, size / exact).amax(1)

    def contains(self, x: Tensor, witness: Tensor | None = None) -> Tensor:
        """Whether ``x`` is the clean image warped by the witness ``(S, 3)``, which is in limits.

        The witness and the box are checked without slack. The image may differ from the warp, done
        again, by one rounding in the dtype of either and by that of the sampled places in float64.
        """
        valid = ((x >= self.edges[0]) & (x <= self.edges[1])).flatten(1).all(1)
        if witness is None:
            return valid & (self.distance(x) == 0)
        witness = _three(witness, x)
        exact = torch.tensor(self.limits, dtype=torch.float64, device=x.device)
        ends = exact * self.radius.unsqueeze(1)
        fits = (witness.abs() <= ends).all(1)  # NaN is not
        again = self._warp(torch.where(fits.unsqueeze(1), witness, 0.0))
        same = (x.double() - again.double()).abs() <= self._slack(x)
        return valid & fits & same.flatten(1).all(1)

    def _slack(self, x: Tensor) -> Tensor:
        """How far two computations of one warp may differ, ``(S, 1, 1, 1)`` float64."""
        top = (self.x0.double() - self._pad).abs() + self._pad.abs()
        span = per_example(top.flatten(1).amax(1), x)
        once = max(torch.finfo(dtype).eps for dtype in (self.x0.dtype, x.dtype))
        # A place is off by some roundings of the side; a value by its slope there, at most 4 span.
        places = 64 * torch.finfo(torch.float64).eps * max(self.x0.shape[2:])
        return span * (once + places)

    def scaled(self, factor: Tensor) -> Self:
        return replace(self, radius=self.radius * factor)

    def finalise(self, u: Tensor) -> Tensor:
        exact = torch.tensor(self.limits, dtype=torch.float64, device=u.device)
        ends = exact * self.radius.unsqueeze(1)
        u = self.project_(u.clone())
        for _ in range(4):  # each step takes back one of the few roundings
            beyond = self.witness(u).double().abs() > ends
            u = torch.where(beyond, u.nextafter(torch.zeros_like(u)), u)
        # Among the subnormal numbers a step of u may be none of the witness.
        return torch.where(self.witness(u).double().abs() > ends, 0.0, u)


def _three(witness: Tensor, x: Tensor) -> Tensor:
    """A witness in float64, ``(S, 3)``; one of another shape is another threat's: NaN."""
    if witness.shape != (len(x), 3):
        return torch.full((len(x), 3), torch.nan, dtype=torch.float64, device=x.device)
    return witness.to(x.device, torch.float64)


def warp(x: Tensor, by: Tensor) -> Tensor:
    """Images ``x`` (S, C, H, W) turned and shifted ``by`` (S, 3): degrees, pixels, pixels.

    Places are counted in pixels, from the middle of one to the middle of the next (what kornia
    calls ``align_corners``), and the turn is about the middle of the image. Differentiable in
    ``by``.
    """
    from kornia.geometry.transform import get_affine_matrix2d, warp_affine

    if not len(x):
        return x
    height, width = x.shape[2:]
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=x.dtype, device=x.device)
    matrix = get_affine_matrix2d(
        translations=by[:, 1:],
        center=middle.expand(len(x), 2),
        scale=torch.ones(len(x), 2, dtype=x.dtype, device=x.device),
        angle=-by[:, 0],
    )
    moved: Tensor = warp_affine(
        x, matrix[:, :2], (height, width), mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return moved
