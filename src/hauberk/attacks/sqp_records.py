"""What a batch of BFGS-SQP solves consists of: values at a point, and where each solve stands."""

from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from hauberk.maths.bfgs import DenseBFGS, LimitedBFGS
from hauberk.maths.rows import Rows

R = TypeVar("R", bound=Rows)


@dataclass
class Values(Rows):
    """Objective and constraints ``c <= 0`` at a point, all minimised.

    ``f`` (S,), ``c`` (S, m), and their gradients one above the other, ``slopes`` (S, m + 1, N).
    """

    f: Tensor
    c: Tensor
    slopes: Tensor = field(repr=False)

    def penalty(self, mu: Tensor) -> Tensor:
        return mu * self.f + self.c.clamp_min(0).sum(1)

    def slope(self, mu: Tensor) -> Tensor:
        """Gradient of the penalty function, ``(S, N)``."""
        active = (self.c > 0).to(self.f.dtype)
        weights = torch.cat((mu.unsqueeze(1), active), 1)
        return torch.einsum("sj,sjn->sn", weights, self.slopes)


@dataclass
class Descent(Rows):
    """One solve: where it stands, where it looks, and what it remembers."""

    v: Tensor = field(repr=False)
    at: Values
    memory: LimitedBFGS | DenseBFGS
    mu: Tensor
    way: Tensor = field(repr=False)
    """The present direction, ``(S, N)``; ``fall`` (S,) is the penalty's slope along it."""
    fall: Tensor
    alpha: Tensor
    low: Tensor
    high: Tensor
    tries: Tensor
    fresh: Tensor
    """Whether nothing was evaluated yet, ``(S,)`` bool."""
    dead: Tensor
    """Whether not even the steepest descent leads down, ``(S,)`` bool."""
    size: Tensor
    """Length of the last quadratic program's step, ``(S,)``: near 0 where stationary."""


def choose(where: Tensor, one: R, other: R) -> R:
    """Row by row the one record or the other, by ``where`` (S,) bool."""
    chosen = {}
    for f in fields(one):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, Rows):
            chosen[f.name] = choose(where, a, b)
        elif isinstance(a, Tensor):
            chosen[f.name] = torch.where(where.view(-1, *[1] * (a.dim() - 1)), a, b)
        else:
            chosen[f.name] = a
    return replace(one, **chosen)


def length(rows: Tensor) -> Tensor:
    """l2 norms of rows (S, N), also where squares would over- or underflow, ``(S,)``."""
    top = rows.abs().amax(1).clamp_min(torch.finfo(rows.dtype).tiny)
    found: Tensor = (rows / top.unsqueeze(1)).norm(dim=1) * top
    return found
