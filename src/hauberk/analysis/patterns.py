"""What a perturbation looks like, in numbers: how dense it is and how its sizes are spread."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.store.files import plain


def soft_sparsity(delta: Tensor) -> Tensor:
    """How dense each perturbation is: ``||d||_1 / ||d||_2``, ``(B, ...) -> (B,)`` float64.

    Lies in [1, sqrt(n)], n features: 1 for a single changed feature, sqrt(n) where all change by
    the same amount. NaN for perturbations that are zero or hold NaN. Source: Liang et al. 2023,
    section 3.

    Args:
        delta: perturbations ``(B, ...)``, one row for each example.

    Raises:
        InputError: for anything else.

    Example:
        >>> soft_sparsity(torch.tensor([[0.0, 5.0, 0.0, 0.0], [1.0, 1.0, -1.0, 1.0]]))
        tensor([1., 2.], dtype=torch.float64)
    """
    flat = _rows(delta).abs()
    # Scaled by the largest entry first: squares of tiny or huge changes leave the float range.
    flat = flat / flat.amax(1, keepdim=True) if flat.numel() else flat
    ratio = norm(flat, 1) / norm(flat, 2)
    # Rounding may pass the ends by a bit.
    return ratio.clamp(1, max(1, flat.shape[1]) ** 0.5)


def magnitudes(delta: Tensor, bins: int | Tensor = 50) -> tuple[Tensor, Tensor]:
    """Histogram of ``|delta_i|`` over all features of ``delta`` (B, ...): counts and edges.

    Args:
        delta: perturbations ``(B, ...)``, one row for each example.
        bins: their number, from 0 to the largest entry; or their edges ``(K + 1,)``, rising.

    Returns:
        Counts ``(K,)`` int64 and edges ``(K + 1,)`` float64; every bin holds its lower edge, the
        last its upper one too. What lies outside given edges is not counted.

    Raises:
        InputError: for entries that are NaN or infinite, fewer than one bin, or falling edges.

    Example:
        >>> magnitudes(torch.tensor([[0.0, -1.0, 2.0]]), 2)[0]
        tensor([1, 2])
    """
    size = _rows(delta).abs().flatten()
    if not bool(size.isfinite().all()):
        raise InputError("the perturbations hold NaN or infinite values: leave those examples out")
    if isinstance(bins, Tensor):
        edges = bins.to(torch.float64).cpu()
        if edges.dim() != 1 or len(edges) < 2 or not bool((edges[1:] > edges[:-1]).all()):
            raise InputError("bins must be a count, or a row of at least two rising edges")
    elif bins < 1:
        raise InputError(f"bins is {bins}: give 1 or more")
    else:
        top = (float(size.max()) if len(size) else 0.0) or 1.0
        edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64).mul_(top)
        edges[-1] = top
    size = size[(size >= edges[0]) & (size <= edges[-1])]
    place = torch.bucketize(size, edges, right=True).sub_(1).clamp_(max=len(edges) - 2)
    return torch.bincount(place, minlength=len(edges) - 1), edges


@dataclass(frozen=True, eq=False, kw_only=True)
class Pattern:
    """What one solver's perturbations look like, one row per example that it succeeded on.

    Attributes:
        name: its labels, joined.
        solver, loss, distance: how it was solved; ``loss`` is empty where none was maximised.
        problem: 1 for most loss within a size, 2 for the least size of a wrong decision.
        eps: the size allowed in problem 1, in the unit of ``distance``; None in problem 2.
        features: numbers in one example.
        rows: which of the examples given these are, ``(N,)`` int64.
        sparsity: soft sparsity, ``(N,)`` float64.
        size: distance from the clean inputs, ``(N,)`` float64; NaN if ``distance`` is unknown.
        zeros: share of features that did not change, ``(N,)`` float64.
        counts, edges: histogram of ``|delta_i|`` over all rows (:func:`magnitudes`).

    Example:
        >>> found = Pattern.of(torch.tensor([[0.0, 3.0, 4.0]]), "by hand", distance="l2")
        >>> float(found.sparsity), len(found)
        (1.4, 1)
    """

    name: str
    solver: str
    loss: str = ""
    distance: str = ""
    problem: int = 1
    eps: float | None = None
    features: int
    rows: Tensor = field(repr=False)
    sparsity: Tensor = field(repr=False)
    size: Tensor = field(repr=False)
    zeros: Tensor = field(repr=False)
    counts: Tensor = field(repr=False)
    edges: Tensor = field(repr=False)

    @classmethod
    def of(
        cls,
        delta: Tensor,
        name: str,
        *,
        rows: Tensor | None = None,
        size: Tensor | None = None,
        bins: int | Tensor = 50,
        **labels: Any,
    ) -> "Pattern":
        """The pattern of perturbations.

        Args:
            delta: ``(N, ...)``, one row for each example.
            name: of the pattern.
            rows: which examples these are, ``(N,)``; the first ones by default.
            size: their distances ``(N,)``; NaN by default.
            bins: see :func:`magnitudes`.
            labels: the other attributes, such as ``solver`` and ``distance``.
        """
        flat = _rows(delta)
        counts, edges = magnitudes(flat, bins)
        nan = torch.full((len(flat),), torch.nan, dtype=torch.float64)
        return cls(
            name=name,
            solver=labels.pop("solver", name),
            features=flat.shape[1],
            rows=torch.arange(len(flat)) if rows is None else rows.cpu(),
            sparsity=soft_sparsity(flat),
            size=nan if size is None else size.detach().double().cpu(),
            zeros=(flat == 0).double().mean(1),
            counts=counts,
            edges=edges,
            **labels,
        )

    def __len__(self) -> int:
        return len(self.sparsity)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return dict(plain(vars(self)))


def compare(patterns: Iterable[Pattern]) -> list[dict[str, Any]]:
    """One row for each pattern, to be read side by side; None where there is no number.

    ``median``, ``lower`` and ``upper`` quartile of the soft sparsity, ``spread`` between the
    quartiles, ``zeros`` (mean share of unchanged features), ``size`` (median distance),
    ``examples`` (those that changed at all) and ``still`` (those that did not).

    Example:
        >>> (row,) = compare([Pattern.of(torch.tensor([[0.0, 3.0, 4.0]]), "by hand")])
        >>> row["name"], row["median"], row["examples"]
        ('by hand', 1.4, 1)
    """
    rows = []
    for pattern in patterns:
        changed = ~pattern.sparsity.isnan()
        lower, median, upper = _quartiles(pattern.sparsity[changed])
        numbers = {
            "median": median, "lower": lower, "upper": upper, "spread": upper - lower,
            "zeros": float(pattern.zeros[changed].mean()),
            "size": _quartiles(pattern.size[changed])[1],
        }  # fmt: skip
        labels = ("name", "solver", "loss", "distance", "problem")
        row = {label: getattr(pattern, label) for label in labels}
        counts = {"examples": int(changed.sum()), "still": int((~changed).sum())}
        rows.append({**row, **counts, **plain(numbers)})
    return rows


def _quartiles(values: Tensor) -> tuple[float, ...]:
    if not len(values):
        return (torch.nan,) * 3
    return tuple(values.quantile(values.new_tensor([0.25, 0.5, 0.75])).tolist())


def _rows(delta: Tensor) -> Tensor:
    """``(B, ...)`` as ``(B, n)`` float64 on the host."""
    if not isinstance(delta, Tensor) or delta.dim() < 2:
        raise InputError("perturbations must be a tensor (B, ...): one row per example")
    return delta.detach().to("cpu", torch.float64).flatten(1)
