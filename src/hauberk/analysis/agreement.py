"""How measures of hardness agree within groups of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import nan
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.store.files import plain


@dataclass(frozen=True)
class Agreement:
    """How far two measures order the images of each group alike.

    Attributes:
        rho: Spearman's rank correlation within groups, averaged over them; NaN without groups.
        error: standard error of that mean; NaN with fewer than two groups.
        groups: groups that count.
        tied: groups left out, in which one of the measures is the same for all images.
        top: of those that count, groups in which an image is hardest by both; of several that
            tie for it, any one will do.

    Example:
        >>> Agreement(rho=0.5, error=0.1, groups=20, tied=1, top=14).to_dict()["top"]
        14
    """

    rho: float
    error: float
    groups: int
    tied: int
    top: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN is None."""
        return dict(plain(vars(self)))


def agreement(measures: Mapping[str, Tensor]) -> dict[tuple[str, str], Agreement]:
    """Rank correlation within groups, and agreement on the hardest, for each pair of measures.

    Args:
        measures: by name, ``(G, M)``: M images in each of G groups; larger is harder, inf is
            hardest. Ties have their mean rank.

    Raises:
        InputError: for NaN, or measures of different shapes.

    Source: Wang et al. 2021, section G, which compares weights and distances by eye.

    Example:
        >>> weights, distances = torch.tensor([[0.1, 0.2, 0.7]]), torch.tensor([[1.0, 3.0, 2.0]])
        >>> agreement({"weights": weights, "distances": distances})["weights", "distances"].rho
        0.5
    """
    tables = {name: torch.as_tensor(m).detach().double().cpu() for name, m in measures.items()}
    if any(m.dim() != 2 for m in tables.values()) or len({m.shape for m in tables.values()}) > 1:
        raise InputError("measures must be tables (G, M), all of one shape")
    if bad := [name for name, m in tables.items() if bool(m.isnan().any())]:
        raise InputError(f"{bad[0]} holds NaN: give inf for what was not found")
    return {pair: _compare(tables[pair[0]], tables[pair[1]]) for pair in combinations(tables, 2)}


def mean_ranks(values: Tensor) -> Tensor:
    """Ranks from 1 in each row of ``(G, M)``, float64; equal values share their mean rank."""
    each, others = values.unsqueeze(2), values.unsqueeze(1)
    return (others < each).double().sum(2) + ((others == each).double().sum(2) + 1) / 2


def _compare(one: Tensor, other: Tensor) -> Agreement:
    ranks = [mean_ranks(values) for values in (one, other)]
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    sizes = [c.square().sum(1) for c in centred]
    kept = (sizes[0] > 0) & (sizes[1] > 0)
    n = int(kept.sum())
    rho = ((centred[0] * centred[1]).sum(1) / (sizes[0] * sizes[1]).sqrt())[kept]
    tops = [values == values.amax(1, keepdim=True) for values in (one, other)] if n else []
    return Agreement(
        rho=float(rho.mean()) if n else nan,
        error=float(rho.std() / n**0.5) if n > 1 else nan,
        groups=n,
        tied=len(one) - n,
        top=int((tops[0] & tops[1]).any(1)[kept].sum()) if n else 0,
    )
