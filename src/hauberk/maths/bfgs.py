"""BFGS, of limited memory or dense, and the dual of a penalty method's quadratic program."""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from hauberk.maths.rows import Rows, put_in_rings_

SWEEPS = 12


@dataclass
class LimitedBFGS(Rows):
    """The last pairs of steps and changes of gradient, for each example its own.

    Example:
        >>> memory = LimitedBFGS.empty(torch.zeros(1, 2), pairs=3)
        >>> step, change = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> memory.push_(step, change, torch.tensor([True]))
        >>> memory.times(torch.tensor([[[2.0, 0.0]]]))  # the inverse Hessian is 1/2 there
        tensor([[[1., 0.]]])

    Attributes:
        steps, changes: ``(S, K, N)``; rings, in which ``at`` (S,) is the next place.
        weight: one over the pairs' products, ``(S, K)``; 0 for an empty place.
        scale: the first inverse Hessian, a multiple of one, ``(S,)``.
    """

    steps: Tensor = field(repr=False)
    changes: Tensor = field(repr=False)
    weight: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    at: Tensor = field(repr=False)

    @classmethod
    def empty(cls, like: Tensor, pairs: int) -> Self:
        """No pair yet, for variables ``like`` (S, N)."""
        s, n = like.shape
        room = like.new_zeros(s, pairs, n)
        at = torch.zeros(s, dtype=torch.int64, device=like.device)
        return cls(room, room.clone(), like.new_zeros(s, pairs), like.new_ones(s), at)

    def push_(self, step: Tensor, change: Tensor, where: Tensor) -> None:
        """Add a pair for the rows of ``where`` (S,), unless the curvature along it is negative."""
        product, size, sound = _curvature(step, change, where)
        pairs = (self.steps, step), (self.changes, change), (self.weight, 1 / product)
        self.at = put_in_rings_(self.at, sound, *pairs)
        self.scale = torch.where(sound, product / size.clamp_min(1e-300), self.scale)

    def clear_(self, where: Tensor) -> None:
        """Forget the pairs of the rows of ``where`` (S,)."""
        self.weight.masked_fill_(where.unsqueeze(1), 0)
        self.scale = self.scale.masked_fill(where, 1)

    @property
    def blank(self) -> Tensor:
        """Whether no pair was added yet, ``(S,)``."""
        return (self.weight == 0).all(1)

    def times(self, v: Tensor) -> Tensor:
        """The inverse Hessian times each of J vectors, ``(S, J, N) -> (S, J, N)``.

        Source: Nocedal 1980 (two-loop recursion).
        """
        rows = torch.arange(len(v), device=v.device)
        pairs = self.weight.shape[1]
        order = [(self.at - 1 - back) % pairs for back in range(pairs)]
        shares = []
        for place in order:
            share = self.weight[rows, place].view(-1, 1) * torch.einsum(
                "sjn,sn->sj", v, self.steps[rows, place]
            )
            v = v - share.unsqueeze(2) * self.changes[rows, place].unsqueeze(1)
            shares.append(share)
        v = v * self.scale.view(-1, 1, 1)
        for place, share in zip(reversed(order), reversed(shares), strict=True):
            less = self.weight[rows, place].view(-1, 1) * torch.einsum(
                "sjn,sn->sj", v, self.changes[rows, place]
            )
            v = v + (share - less).unsqueeze(2) * self.steps[rows, place].unsqueeze(1)
        return v


@dataclass
class DenseBFGS(Rows):
    """The whole inverse Hessian of each example, ``(S, N, N)``: for few variables.

    On non-smooth functions it finds more than a limited memory does.

    Example:
        >>> dense = DenseBFGS.empty(torch.zeros(1, 2))
        >>> step, change = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> dense.push_(step, change, torch.tensor([True]))
        >>> dense.times(torch.tensor([[[2.0, 0.0]]]))
        tensor([[[1., 0.]]])
    """

    h: Tensor = field(repr=False)
    blank: Tensor
    """Whether no pair was added yet, ``(S,)``."""

    @classmethod
    def empty(cls, like: Tensor) -> Self:
        """Ones, for variables ``like`` (S, N)."""
        s, n = like.shape
        h = torch.eye(n, dtype=like.dtype, device=like.device).expand(s, n, n).clone()
        return cls(h, torch.ones(s, dtype=torch.bool, device=like.device))

    def push_(self, step: Tensor, change: Tensor, where: Tensor) -> None:
        """Add a pair for the rows of ``where`` (S,), unless the curvature along it is negative."""
        product, size, sound = _curvature(step, change, where)
        scale = torch.where(self.blank & sound, product / size.clamp_min(1e-300), 1.0)
        self.h = self.h * scale.view(-1, 1, 1)
        weight = torch.where(sound, 1 / product, 0.0)
        turned = torch.einsum("sij,sj->si", self.h, change)
        both = weight.view(-1, 1, 1) * turned.unsqueeze(2) * step.unsqueeze(1)
        own = weight * (1 + weight * (change * turned).sum(1))
        own = own.view(-1, 1, 1) * step.unsqueeze(2) * step.unsqueeze(1)
        self.h = self.h - both - both.transpose(1, 2) + own
        self.blank = self.blank & ~sound

    def clear_(self, where: Tensor) -> None:
        """Begin again with ones in the rows of ``where`` (S,)."""
        one = torch.eye(self.h.shape[1], dtype=self.h.dtype, device=self.h.device)
        self.h = torch.where(where.view(-1, 1, 1), one, self.h)
        self.blank = self.blank | where

    def times(self, v: Tensor) -> Tensor:
        """The inverse Hessian times each of J vectors, ``(S, J, N) -> (S, J, N)``."""
        return torch.einsum("sij,skj->ski", self.h, v)


def _curvature(step: Tensor, change: Tensor, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Products of steps and changes, squares of changes, and which pairs are sound, ``(S,)``."""
    product, size = (step * change).sum(1), change.square().sum(1)
    least = 1e-12 * size.sqrt() * step.norm(dim=1)
    return product, size, where & (product > least) & (product > torch.finfo(product.dtype).tiny)


def multipliers(gram: Tensor, c: Tensor, mu: Tensor) -> Tensor:
    """The dual's solution: multipliers in [0, 1] of m constraints, ``(S, m)``.

    They maximise ``sum l_i c_i - w.H.w / 2``, where ``w = mu grad f + sum l_i grad c_i``: a concave
    quadratic on a cube of one to three dimensions, climbed coordinate by coordinate.

    Args:
        gram: products by H of the gradients of f, c_1, ..., c_m, ``(S, m + 1, m + 1)``.
        c: values of the constraints, ``(S, m)``.
        mu: the penalty parameter, ``(S,)``.

    Source: Curtis, Mitchell & Overton 2017, equation 3.3.
    """
    count = c.shape[1]
    found = torch.zeros_like(c)
    for _ in range(SWEEPS if count > 1 else 1):
        for i in range(count):
            others = torch.einsum("sj,sj->s", gram[:, i + 1, 1:], found)
            others = others - gram[:, i + 1, i + 1] * found[:, i]
            lift = c[:, i] - mu * gram[:, i + 1, 0] - others
            curve = gram[:, i + 1, i + 1]
            flat = (lift > 0).to(c.dtype)
            found[:, i] = torch.where(curve > 0, lift / curve.clamp_min(1e-300), flat).clamp_(0, 1)
    return found


def predicted(gram: Tensor, c: Tensor, mu: Tensor, found: Tensor) -> Tensor:
    """How much of the violation the step for these multipliers takes away, to first order, (S,)."""
    weights = torch.cat((mu.unsqueeze(1), found), 1)
    after = c - torch.einsum("sij,sj->si", gram[:, 1:], weights)
    return (c.clamp_min(0) - after.clamp_min(0)).sum(1)
