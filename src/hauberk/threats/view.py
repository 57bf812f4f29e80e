"""What attacks see of inputs of which some features may not change: ``View``."""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rows import Ends, Rows


@dataclass
class View(Rows):
    """The features that may change, each in units of its own size, and the way back.

    The variable ``u`` (S, ...) that attacks move holds these features alone: of a rectangle (a
    patch, some channels, a stretch of time, some columns of a table) in its shape, of others flat.
    Where examples differ in which features may change, it holds all, and those that may not are
    pinned; of a patch at a place of each example, the patch.

    Example:
        >>> x0 = torch.tensor([[0.2, 0.4, 0.6]])
        >>> free = torch.tensor([[True, False, True]])
        >>> view = View.of(x0, free, None, (torch.zeros(()), torch.ones(())))
        >>> view.start(), view.inputs(torch.tensor([[0.0, 1.0]]))
        (tensor([[0.2000, 0.6000]]), tensor([[0.0000, 0.4000, 1.0000]]))
    """

    clean: Tensor = field(repr=False)
    """The clean inputs, ``(S, ...)``."""
    free: Tensor | None = field(repr=False)
    """Which features may change, ``(S, ...)`` bool; None for all."""
    legal: Tensor | None = field(repr=False)
    """The same without the place of a patch: what counts as a change at all."""
    scale: Tensor | None = field(repr=False)
    """The size of each feature, ``(S, ...)`` float64, 1 where it may not change; None for 1."""
    ends: Ends = field(repr=False)
    """The lowest and the highest values of the features, ``(S, ...)`` each."""
    index: Tensor | None = field(repr=False)
    """Of a patch at a place of each example: which features ``u`` holds, ``(S, k)``; else None."""
    same: tuple[Tensor, ...] = field(repr=False)
    """The same of all examples alike, ``(k,)``; empty where ``u`` holds all."""
    pinned: bool = False
    """Whether ``u`` holds features that may not change."""
    shape: tuple[int, ...] = ()
    """Of one example's ``u``."""

    @classmethod
    def of(
        cls, x0: Tensor, free: Tensor | None, scale: Tensor | None, ends: tuple[Tensor, Tensor],
        *, own: bool = False, window: Tensor | None = None, anywhere: bool = False,
    ) -> "View":  # fmt: skip
        """The view of inputs ``x0`` (S, ...).

        Args:
            free, scale, ends: of one input, of each ``(1 or S, ...)``, or None.
            own: whether examples differ in which features may change.
            window: the place of a patch in each input, ``(1 or S, ...)`` bool, of one size.
            anywhere: whether a patch may lie at any place.

        Raises:
            InputError: if no feature may change.
        """
        shape, legal = tuple(x0.shape[1:]), free
        if window is not None:
            free = window if free is None else free & window
        legal = legal if anywhere else free
        if legal is not None and scale is not None:
            scale = torch.where(legal, scale, 1.0)
        if free is not None and free.numel() and not bool(free.any()):
            raise InputError("no feature may change: give a mask that leaves some free")
        index: Tensor | None = None
        same: tuple[Tensor, ...] = ()
        if own and window is not None:
            flat = window.expand(x0.shape).flatten(1)
            many = int(window[0].sum())
            index = (~flat).to(torch.uint8).argsort(dim=1, stable=True)[:, :many].contiguous()
            shape = _rectangle(window[0]) or (many,)
        elif free is not None and not own:
            same = (free[0].flatten().nonzero().squeeze(1),)
            shape = _rectangle(free[0]) or (len(same[0]),)
        lo, hi = (end.expand(x0.shape) for end in ends)
        if own and free is not None:
            lo, hi = (torch.where(free, end, x0) for end in (lo, hi))
        free, legal, scale = (
            None if v is None else v.expand(x0.shape) for v in (free, legal, scale)
        )
        return cls(
            clean=x0, free=free, legal=legal, scale=scale, ends=Ends((lo, hi)), index=index,
            same=same, pinned=own and free is not None, shape=shape,
        )  # fmt: skip

    def held(self, x: Tensor) -> Tensor:
        """The features of inputs ``(S, ...)`` that ``u`` holds, in its shape."""
        flat = x.flatten(1)
        if self.index is not None:
            flat = flat.gather(1, self.index)
        elif self.same:
            flat = flat[:, self.same[0]]
        return flat.reshape(len(x), *self.shape)

    @cached_property
    def unit(self) -> Tensor | None:
        """The sizes of the features that ``u`` holds, in the dtype of the inputs."""
        return None if self.scale is None else self.held(self.scale).to(self.clean)

    @cached_property
    def begun(self) -> Tensor:
        """The clean inputs' features that ``u`` holds."""
        return self.held(self.clean)

    def start(self) -> Tensor:
        """The ``u`` of the clean inputs."""
        return self.encode(self.clean)

    def edges(self) -> Ends:
        """The ends of ``u``, ``(S, ...)`` each."""
        return Ends(self.encode(end) for end in self.ends)

    def encode(self, x: Tensor) -> Tensor:
        """The ``u`` of inputs ``(S, ...)``."""
        held = self.held(x.to(self.clean))
        return held if self.unit is None else held / self.unit

    def pulled_back(self, grad: Tensor) -> Tensor:
        """The gradient in ``u`` of one in the inputs, ``(S, ...)``."""
        held = self.held(grad if self.free is None else grad * self.free)
        return held if self.unit is None else held * self.unit

    def inputs(self, u: Tensor, ends: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The inputs of ``u``, differentiable; in these ends, ``(S, ...)`` in its shape."""
        if self.unit is not None:
            moved = self.begun + self.unit * (u - self.begun / self.unit)
            if ends is not None:
                # This repairs roundings of the sum, whose gradient stays that of a plain sum.
                moved.detach().clamp_(*ends)
            u = moved
        if self.pinned:
            assert self.free is not None
            u = torch.where(self.held(self.free), u, self.begun)
        if self.index is None and not self.same:
            return u.view_as(self.clean)
        flat, new = self.clean.flatten(1), u.flatten(1)
        if self.index is not None:
            return flat.scatter(1, self.index, new).view_as(self.clean)
        return flat.index_copy(1, self.same[0], new).view_as(self.clean)

    def change(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The change of each feature in its unit, ``(S, ...)`` float64, and where one is illegal.

        The second, ``(S,)`` bool, says whether a feature changed that may not.
        """
        delta = x.double() - self.clean.double()
        illegal = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if self.legal is not None:
            illegal = ((delta != 0) & ~self.legal).flatten(1).any(1)
        return (delta if self.scale is None else delta / self.scale), illegal

    def in_ends(self, x: Tensor) -> Tensor:
        """Whether inputs keep the values allowed, ``(S,)`` bool."""
        return ((x >= self.ends[0]) & (x <= self.ends[1])).flatten(1).all(1)


def _rectangle(free: Tensor) -> tuple[int, ...] | None:
    """The shape of the features that may change, if they are a product of one set an axis."""
    axes = []
    for axis in range(free.dim()):
        others = [other for other in range(free.dim()) if other != axis]
        axes.append(free.any(others) if others else free)
    sizes = tuple(int(axis.sum()) for axis in axes)
    return sizes if prod(sizes) == int(free.sum()) else None


def rows_of(value: Tensor, rows: Tensor | None, many: int, what: str) -> Tensor:
    """The rows of a per-example array that so many inputs have.

    Raises:
        InputError: if it has another number of them.
    """
    if rows is not None:
        if len(rows) and int(rows.max()) >= len(value):
            raise InputError(
                f"{what} has rows for {len(value)} examples: give one for each, in their order"
            )
        value = value[rows]
    if len(value) not in (1, many):
        raise InputError(
            f"{what} has rows for {len(value)} examples but {many} inputs are given: give one for "
            "each, in their order"
        )
    return value
