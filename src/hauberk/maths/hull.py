"""The shortest vector of a convex hull: how far from stationary a sample of gradients is."""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from hauberk.maths.rows import Rows, put_in_rings_


def shortest(gram: Tensor, given: Tensor) -> Tensor:
    """Weights of the shortest convex combination of K vectors, ``(S, K)``.

    They are proportional to the u >= 0 that minimises ``u (G + 1) u / 2 - sum u``, which an active
    set finds.

    Args:
        gram: products of the vectors, ``(S, K, K)``.
        given: which of them there are, ``(S, K)`` bool, at least one in each row.

    Source: Lawson & Hanson 1974, chapter 23 (non-negative least squares).

    Example:
        >>> vectors = torch.tensor([[[1.0, 1.0], [1.0, -1.0], [3.0, 0.0]]])
        >>> weights = shortest(vectors @ vectors.mT, torch.ones(1, 3, dtype=torch.bool))
        >>> (weights.unsqueeze(1) @ vectors).squeeze()
        tensor([1., 0.])
    """
    wide = gram.double()
    size = wide.diagonal(dim1=1, dim2=2).amax(1).clamp_min(1e-300).view(-1, 1, 1)
    matrix, k = wide / size + 1, gram.shape[1]
    rows, eye = torch.arange(len(gram), device=gram.device), torch.eye(k).to(matrix)
    active, u = torch.zeros_like(given), torch.zeros_like(matrix[:, 0])
    for _ in range(4 * k):
        both = active.unsqueeze(1) & active.unsqueeze(2)
        system = torch.where(both, matrix, 0.0) + eye * torch.where(active, 1e-13, 1.0).unsqueeze(1)
        # Without the check of the plain solve, which waits for the device at every round.
        found = torch.linalg.solve_ex(system, active.to(matrix)).result
        # Back to where the first weight is used up, and without that vector.
        spent = active & (found <= 0)
        share = torch.where(spent, u / (u - found).clamp_min(1e-300), 1.0).amin(1, keepdim=True)
        u = torch.where(active, u + share * (found - u), 0.0)
        active = active & ~(spent & (u <= 1e-12))
        u = torch.where(active, u, 0.0)
        # Where all are used, the one of largest gain comes in.
        gain = 1 - torch.einsum("sij,sj->si", matrix, u)
        gain = gain.masked_fill(active | ~given, -torch.inf)
        new = gain.argmax(1)
        active[rows, new] |= ~spent.any(1) & (gain[rows, new] > 1e-10)
    return (u / u.sum(1, keepdim=True)).to(gram)


@dataclass
class Samples(Rows):
    """Gradients of the last K points of a descent, one row each.

    Attributes:
        points, slopes: ``(S, K, N)``; rings, in which ``at`` (S,) is the next place.
        mark: what the function depended on when they were taken, ``(S, K)``; NaN for an empty
            place.
    """

    points: Tensor = field(repr=False)
    slopes: Tensor = field(repr=False)
    mark: Tensor = field(repr=False)
    at: Tensor = field(repr=False)

    @classmethod
    def empty(cls, like: Tensor, many: int) -> Self:
        """No gradient yet, for variables ``like`` (S, N)."""
        s, n = like.shape
        room = like.new_zeros(s, many, n)
        at = torch.zeros(s, dtype=torch.int64, device=like.device)
        return cls(room, room.clone(), like.new_full((s, many), torch.nan), at)

    def push_(self, point: Tensor, slope: Tensor, mark: Tensor, where: Tensor) -> None:
        """Add a point and its gradient, ``(S, N)`` each, for the rows of ``where`` (S,) bool."""
        pairs = (self.points, point), (self.slopes, slope), (self.mark, mark)
        self.at = put_in_rings_(self.at, where, *pairs)

    def least(self, point: Tensor, mark: Tensor, reach: Tensor) -> Tensor:
        """Length of the shortest convex combination of the gradients taken nearby, ``(S,)``.

        Args:
            point: the present points, ``(S, N)``.
            mark: what the function depends on now, ``(S,)``: others do not count.
            reach: how far away they may have been taken, in l2, ``(S,)``.

        Returns:
            inf where there is none.
        """
        far = (self.points - point.unsqueeze(1)).norm(dim=2)
        given = (far <= reach.unsqueeze(1)) & (self.mark == mark.unsqueeze(1))
        some = given.any(1)
        safe = given | ~some.unsqueeze(1)
        weights = shortest(self.slopes @ self.slopes.mT, safe)
        length = torch.einsum("sk,skn->sn", weights, self.slopes).norm(dim=1)
        return torch.where(some, length, torch.inf)
