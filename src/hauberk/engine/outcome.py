"""What every solver returns."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """The result of an attack, one row per example. Immutable; nothing in it is judged yet.

    Attributes:
        points: the points found, ``(B, ...)``, strictly inside threat and box. With
            ``stop=True``, the first that fools the model, else the one of largest loss.
        loss: the objective's loss at the points, ``(B,)``.
        fooled: whether the model was seen to be wrong at the points, ``(B,)`` bool.
        distance: their distance from the clean inputs in the threat's unit, ``(B,)`` float64.
        attempt: which attempt (target, restart) found the point, ``(B,)`` int64.
        forwards, backwards: passes spent on each example, ``(B,)`` int64.
        witness: parameters of a warp, ``(B, ...)``; None for balls.
        worst: the least of the attempts' largest losses, ``(B,)``: far below ``loss``, the attempts
            disagree. NaN where no attempt ended without a hit.
        zero, huge: shares of the gradients inspected (every eighth step's) that were exactly zero,
            or beyond all bounds, ``(B,)`` float; NaN where none was. None for a solver that does
            not report them.
        each: what every attempt ended with, ``(B, attempts)``: its loss; -inf where it never ran.
            Targets change fastest, restarts slower. None for a solver that does not report it.
        report: what a method reports of each attempt that counted, ``(B,)`` under each name; PWCF:
            ``infeasibility`` and ``stationarity``.
        weights: final domain weights of an objective over several domains, ``(B, K)``; None for
            others. ``path`` (B, T, K): those after each evaluation, NaN after an example's last.
        violation: by how much the point that the search itself ended at, before it was moved into
            threat and box, exceeds the threat's size, in its unit, or the box; ``(B,)`` float64, 0
            inside and for an example left at its first hit. None where a method does not say.
        by: the solver that found each point, of a composition of several; None for others.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 3)), torch.rand(2, 4)
        >>> outcome = hb.attacks.PGD(steps=3)(net, x, torch.tensor([0, 1]), hb.Linf(0.1))
        >>> outcome.points.shape, bool((outcome.distance <= 0.1).all())
        (torch.Size([2, 4]), True)
    """

    points: Tensor
    loss: Tensor
    fooled: Tensor
    distance: Tensor
    attempt: Tensor
    forwards: Tensor
    backwards: Tensor
    witness: Tensor | None = None
    worst: Tensor | None = None
    zero: Tensor | None = None
    huge: Tensor | None = None
    each: Tensor | None = None
    violation: Tensor | None = None
    by: tuple[str | None, ...] | None = None
    weights: Tensor | None = None
    path: Tensor | None = None
    report: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        passes = int(self.forwards.sum() + self.backwards.sum())
        return (
            f"Outcome({int(self.fooled.sum())} of {len(self)} fooled, "
            f"{passes / max(1, len(self)):.1f} passes per example)"
        )
