"""Threats given by any differentiable distance between inputs: ``Measured``."""

from collections.abc import Callable
from copy import copy
from math import inf, isnan
from typing import Self

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.threats.base import Box, Threat
from hauberk.threats.measured_region import NOISE, MeasuredRegion

Distance = Callable[[Tensor, Tensor], Tensor]


class Measured(Threat):
    """All inputs of the box whose distance from the clean one, by any callable, is at most ``eps``.

    Args:
        distance: from clean inputs and inputs, each ``(S, ...)``, to ``(S,)``; differentiable
            almost everywhere in the second, 0 where they are equal, each row on its own.
        eps: in the distance's unit; inf for the whole box.
        name: what it goes by in results. Two threats are equal only if the callable is the same.
        batch_size: rows that go through the callable at once; by the size of the inputs if left
            out.

    Raises:
        InputError: if eps is negative or not a number and, on first use, for a callable that
            returns another shape, negative numbers, something else than 0 at the clean input, or
            something else each time.
    """

    def __init__(
        self,
        distance: Distance,
        eps: float = inf,
        name: str = "measured",
        batch_size: int | None = None,
    ) -> None:
        if not callable(distance):
            raise InputError(
                f"the distance is a {type(distance).__name__}: give a callable (x0, x) -> (S,)"
            )
        if isnan(eps) or eps < 0:
            raise InputError(f"eps is {eps:g}: give a number, 0 or more, or inf for the whole box")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more, or leave it out")
        self.callable, self.eps, self.name = distance, float(eps), name
        self.batch_size = batch_size
        self.dtypes: list[torch.dtype] = []
        """What the callable was found to take."""

    @property
    def kind(self) -> str:
        return "measured"

    def at(self, x0: Tensor, box: Box = Box()) -> "MeasuredRegion":  # noqa: B008
        x0 = x0.detach()
        x0 = x0 if x0.dtype in (torch.float32, torch.float64) else x0.float()
        radius = torch.full((len(x0),), self.eps, dtype=torch.float64, device=x0.device)
        region = MeasuredRegion(x0=x0, radius=radius, threat=self, edges=box.bounds(x0))
        if not self.dtypes and len(x0):
            _check(region.take(torch.arange(min(2, len(x0)), device=x0.device)))
        return region

    def scaled(self, factor: float) -> Self:
        other = copy(self)
        other.eps = self.eps * factor
        return other

    def reference(self, x0: Tensor) -> Tensor | None:
        """What is worth computing once per clean input, one row each; None for nothing."""
        return None

    def between(self, x0: Tensor, reference: Tensor | None, x: Tensor) -> Tensor:
        """Distance from ``x0`` to ``x``, ``(S,)``, in the dtype of ``x``; differentiable in it."""
        dtype = x.dtype if x.dtype in self.dtypes or not self.dtypes else self.dtypes[0]
        found = self.callable(x0.to(dtype), x.to(dtype))
        if not isinstance(found, Tensor) or found.shape != (len(x),):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"the distance of {self} returned {shape} for {len(x)} inputs: it must return one "
                f"number each, ({len(x)},)"
            )
        return found.to(x.dtype)

    def probe(self, x0: Tensor, x: Tensor) -> Tensor:
        """The callable's answer in the dtype of the inputs; raises if it does not take that."""
        return self.callable(x0, x)

    def exact(self, x0: Tensor, x: Tensor) -> Tensor:
        """The distance without graph, as the judge wants it, ``(S,)`` float64."""
        x0, x = x0.double(), x.double()
        return self.between(x0, self.reference(x0), x)

    @property
    def precise(self) -> bool:
        """Whether :meth:`exact` is computed in float64."""
        return torch.float64 in self.dtypes

    @property
    def smooth(self) -> "Measured":
        """A threat whose squared distance is smooth at the clean input, for PPGD to linearise."""
        return self

    def __str__(self) -> str:
        size = repr(self.eps).removesuffix(".0")
        return self.name if self.eps == inf else f"{self.name}:{size}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(eps={self.eps:g}, name={self.name!r})"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Measured) and self.callable is other.callable
        return same and super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


def _check(region: MeasuredRegion) -> None:
    """Refuse a callable that is no distance; note the dtypes that it takes."""
    threat, x0 = region.threat, region.x0
    draws = Draws.of(0, torch.arange(len(x0), device=x0.device))
    noise = draws.uniform(0, x0.shape[1:], x0.dtype).sub_(0.5).mul_(2 * NOISE * region._span)
    x = torch.clamp(x0 + noise, *region.edges)
    problem: Exception | None = None
    for dtype in (torch.float64, torch.float32):
        try:
            # The callable itself: `between` would convert.
            with torch.no_grad():
                threat.probe(x0.to(dtype), x.to(dtype))
            threat.dtypes.append(dtype)
        except (RuntimeError, TypeError) as error:  # what a module of another dtype raises
            problem = error
    if not threat.dtypes:
        raise InputError(f"the distance of {threat} failed on inputs: {problem}") from problem
    at_clean, first, again = (region.around(x0)._off(z) for z in (x0, x, x))
    if not torch.allclose(first, again, rtol=1e-4, atol=0):
        raise InputError(
            f"the distance of {threat} changes between identical calls: put the network in eval "
            "mode, and draw no random numbers"
        )
    if (first < 0).any() or (at_clean < 0).any():
        raise InputError(f"the distance of {threat} is negative: give one of 0 or more")
    if (at_clean > 1e-3 * first + 1e-6).any():
        raise InputError(
            f"the distance of {threat} is {float(at_clean.max()):g} from an input to itself: it "
            "must be 0 there"
        )
    alone = region.take(torch.arange(1, device=x0.device))._off(x[:1])
    if not torch.allclose(alone, first[:1], rtol=1e-2, atol=1e-6):
        raise InputError(
            f"the distance of {threat} depends on the other inputs of a batch: put the network in "
            "eval mode"
        )
