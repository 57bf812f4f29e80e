"""The toy distribution on which robustness to one threat excludes robustness to another.

The label y is +1 or -1 (class 1 or 0) with equal probability. Feature 0 is strongly correlated with
it, features 1 to d weakly: ``x_i ~ N(y eta, 1)`` with ``eta = alpha / sqrt(d)``. Inputs have d + 1
features and no bounds: use ``box=toy.BOX``. ``python -m hauberk.data.toy`` prints the figures of
Remark 10.

Source: Tramèr & Boneh 2019, the theorems on toy distributions and their proofs.
"""

from dataclasses import dataclass
from math import erf, inf, sqrt

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.threats.base import Box

BOX = Box(-inf, inf)


@dataclass(frozen=True, kw_only=True)
class Toy:
    """The distribution.

    Args:
        d: number of weak features.
        alpha: ``eta * sqrt(d)``, the strength of the weak features together.
        p0: probability, in [1/2, 1], that ``x_0 = y`` and not ``-y``; None for the variant
            ``x_0 ~ N(y, alpha^-2)`` (variance).

    Raises:
        InputError: for values out of range.

    Example:
        >>> from hauberk.data.toy import Toy
        >>> x, label = Toy(d=200, p0=0.9).sample(8)
        >>> x.shape, label.shape
        (torch.Size([8, 201]), torch.Size([8]))
    """

    d: int = 200
    alpha: float = 2.0
    p0: float | None = None

    def __post_init__(self) -> None:
        if self.d < 1 or not 0 < self.alpha < inf:
            raise InputError(f"d={self.d}, alpha={self.alpha}: give d >= 1 and alpha > 0")
        if self.p0 is not None and not 0.5 <= self.p0 <= 1:
            raise InputError(f"p0 is {self.p0}: give a chance in [1/2, 1], or None")

    @property
    def eta(self) -> float:
        """The mean of a weak feature for y = 1."""
        return self.alpha / sqrt(self.d)

    def sample(
        self, n: int, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Draw inputs ``(n, d + 1)`` and classes ``(n,)`` int64.

        Args:
            n: number of examples.
            seed: of a generator used for nothing else.
            dtype: of the inputs.
        """
        rng = torch.Generator().manual_seed(seed)
        label = torch.randint(0, 2, (n,), generator=rng)
        y = (2 * label - 1).to(dtype).unsqueeze(1)
        x = torch.randn(n, self.d + 1, generator=rng, dtype=dtype)
        if self.p0 is None:
            x[:, :1] = y + x[:, :1] / self.alpha
        else:
            agrees = torch.rand(n, 1, generator=rng, dtype=torch.float64) < self.p0
            x[:, :1] = torch.where(agrees, y, -y)
        x[:, 1:] += y * self.eta
        return x, label


def sign_of(label: Tensor, like: Tensor) -> Tensor:
    """Classes ``(n,)`` as -1 and +1, ``(n, 1)``."""
    return (2 * label - 1).to(like).unsqueeze(1)


# The perturbations of the proofs: inputs (n, d + 1) from which no classifier recovers the label.


def reverse_weak(toy: Toy, x: Tensor, label: Tensor, times: float = 2.0) -> Tensor:
    """Weak features moved by ``-times * y * eta``; for 2, to the other class's (Theorem 1).

    Of size ``times * eta`` in linf.

    Example:
        >>> toy = Toy(d=4)
        >>> x, label = toy.sample(3)
        >>> ((x - reverse_weak(toy, x, label)).abs().amax(1) / toy.eta).round()
        tensor([2., 2., 2.])
    """
    moved = x.clone()
    moved[:, 1:] -= times * toy.eta * sign_of(label, x)
    return moved


def reverse_strong(x: Tensor) -> Tensor:
    """``-x_0`` in place of ``x_0`` (Theorem 1); of size ``2 |x_0|`` in l1.

    Example:
        >>> reverse_strong(torch.tensor([[1.0, 0.2, 0.3]]))
        tensor([[-1.0000,  0.2000,  0.3000]])
    """
    moved = x.clone()
    moved[:, 0] *= -1
    return moved


def erase(toy: Toy, x: Tensor, label: Tensor) -> Tensor:
    """``(-x_0, -y eta, ..., -y eta)`` added: the input no longer depends on y (Theorem 11).

    An affine combination of linf of size eta and l1 of size ``|x_0|``.

    Example:
        >>> toy = Toy(d=4, p0=1.0)
        >>> x, label = toy.sample(3)
        >>> erase(toy, x, label)[:, 0]
        tensor([0., 0., 0.])
    """
    moved = reverse_weak(toy, x, label, times=1.0)
    moved[:, 0] = 0
    return moved


def swap_twice(toy: Toy, x: Tensor, label: Tensor, n: int, seed: int = 0) -> Tensor:
    """``x_0`` swapped with one of the features 0 to n - 1, then with another (Theorem 2).

    The first feature is drawn uniformly, the second such that it looks like the ``x_0`` of the
    other class.

    Args:
        toy: the distribution, of the variant with a normal ``x_0``.
        x: inputs ``(B, d + 1)``.
        label: classes ``(B,)``.
        n: how many features can be swapped, 1 to d + 1.
        seed: of the draws.

    Raises:
        InputError: for the other variant, or an n out of range.

    Example:
        >>> toy = Toy(d=9)
        >>> x, label = toy.sample(3)
        >>> torch.equal(swap_twice(toy, x, label, n=5).sort().values, x.sort().values)
        True
    """
    if toy.p0 is not None or not 1 <= n <= toy.d + 1:
        raise InputError(f"n is {n}: give 1 to d + 1 positions, and a toy with p0=None")
    rng = torch.Generator().manual_seed(seed)
    y, rows = sign_of(label, x), torch.arange(len(x))
    moved = x.clone()
    place = torch.randint(0, n, (len(x),), generator=rng)
    moved[rows, place], moved[:, 0] = x[:, 0], x[rows, place]
    part = moved[:, :n].double()
    # Bayes: log odds that a feature is the x_0 of class -y, and not a weak one of class y.
    odds = 0.5 * (part - toy.eta * y).square() - 0.5 * toy.alpha**2 * (part + y).square()
    place = odds.softmax(1).multinomial(1, generator=rng).squeeze(1)
    first, other = moved[:, 0].clone(), moved[rows, place]
    moved[rows, place], moved[:, 0] = first, other
    return moved


# Classifiers: a score, positive for class 1.


class Scored(nn.Module):
    """Two logits, ``-score / 2`` and ``score / 2``; at score 0 there is no decision."""

    def score(self, x: Tensor) -> Tensor:
        """``(B, d + 1) -> (B,)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        score = self.score(x) / 2
        return torch.stack([-score, score], 1)


class Strong(Scored):
    """``sign(x_0)``: robust to linf, not to swaps (Remark 10).

    Example:
        >>> Strong()(torch.tensor([[1.0, -0.2, 0.3]]))
        tensor([[-0.5000,  0.5000]])
    """

    def score(self, x: Tensor) -> Tensor:
        return x[:, 0]


class Weak(Scored):
    """``sign(sum of x_i, i >= n)``: robust to swaps within the first n, not to linf (Remark 10).

    Example:
        >>> Weak(n=2)(torch.tensor([[1.0, -0.2, 0.3]]))
        tensor([[-0.1500,  0.1500]])
    """

    def __init__(self, n: int = 1) -> None:
        super().__init__()
        self.n = n

    def score(self, x: Tensor) -> Tensor:
        return x[:, self.n :].sum(1)


class Both(Scored):
    """``sign(3 sign(x_0) + 2 / sqrt(d) sum of x_i)``: robust to linf and l1 (Theorem 11).

    Example:
        >>> Both()(torch.tensor([[1.0, 0.5, 0.5, 0.5, 0.5]]))
        tensor([[-2.5000,  2.5000]])
    """

    def score(self, x: Tensor) -> Tensor:
        return 3 * x[:, 0].sign() + 2 / sqrt(x.shape[1] - 1) * x[:, 1:].sum(1)


# The figures of Remark 10.


@dataclass(frozen=True)
class Remark10:
    """The figures of Remark 10.

    Args:
        same: total variation between n features N(eta, 1) and the same with an ``x_0`` of the same
            class at a random position.
        other: as ``same``, with an ``x_0`` of the other class.
        strong: risk of :class:`Strong` in linf of size ``2 eta``.
        weak: risk of :class:`Weak` under n swaps.
    """

    same: float
    other: float
    strong: float
    weak: float

    @property
    def lower_bound(self) -> float:
        """The least average risk, over linf and swaps, that any classifier can have."""
        return 0.5 - (self.same + self.other) / 2


def remark10(
    *, d: int = 200, alpha: float = 2.0, n: int = 49, samples: int = 100_000, seed: int = 0
) -> Remark10:
    """The figures of Remark 10, by Monte Carlo (total variations) and in closed form (risks).

    Args:
        d: number of weak features.
        alpha: their strength together.
        n: number of features that can be swapped.
        samples: of the Monte Carlo estimates.
        seed: of the draws.

    Raises:
        InputError: for values out of range.

    Example:
        >>> round(remark10(samples=1000).strong, 3)
        0.076

    The density ratio's normaliser is sigma_Q = 1 / alpha; its square, as printed, is a slip: no
    ratio of densities would have mean 1.
    """
    toy = Toy(d=d, alpha=alpha)
    if not 1 <= n <= d or samples < 1:
        raise InputError(f"n={n}, samples={samples}: give 1 <= n <= d and at least one sample")
    rng = torch.Generator().manual_seed(seed)
    rest = d + 1 - n
    return Remark10(
        same=_variation(toy, n, samples, 1.0, rng),
        other=_variation(toy, n, samples, -1.0, rng),
        strong=_normal(-(1 - 2 * toy.eta) * alpha),
        weak=_normal(-sqrt(rest) * toy.eta),
    )


def _variation(toy: Toy, k: int, samples: int, mean: float, rng: torch.Generator) -> float:
    """TV between k features N(eta, 1) and the same with one N(mean, alpha^-2) at a random place."""
    scale = 1 / toy.alpha

    def ratio(z: Tensor) -> Tensor:
        """The ratio of the two densities, times sigma_Q."""
        return (0.5 * (z - toy.eta).square() - 0.5 * ((z - mean) / scale).square()).exp()

    below = [0, 0]
    for part in torch.arange(samples).split(10_000):
        z = torch.randn(len(part), 2 * k, generator=rng, dtype=torch.float64) + toy.eta
        w = torch.randn(len(part), generator=rng, dtype=torch.float64) * scale + mean
        ratios = ratio(z)
        below[0] += int((ratios[:, :k].sum(1) < k * scale).sum())
        below[1] += int((ratios[:, k + 1 :].sum(1) + ratio(w) < k * scale).sum())
    return (below[0] - below[1]) / samples


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return (1 + erf(z / sqrt(2))) / 2


def main() -> None:
    """Print the figures of Remark 10."""
    found = remark10()
    rows = [
        ("total variation, x_0 of the same class", found.same, "0.065"),
        ("total variation, x_0 of the other class", found.other, "0.085"),
        ("least average risk of any classifier", found.lower_bound, "0.425"),
        ("risk of sign(x_0) in linf", found.strong, "<= 0.08"),
        ("risk of sign(sum x_i, i >= n) under swaps", found.weak, "<= 0.05"),
    ]
    print("d = 200, alpha = 2, n = 49".ljust(44), "here   expected")
    for name, value, expected in rows:
        print(name.ljust(44), f"{value:.3f}  {expected}")


if __name__ == "__main__":
    main()
