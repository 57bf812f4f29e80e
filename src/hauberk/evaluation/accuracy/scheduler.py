"""Which attack on which points next? A scheduler that learns, block by block, where passes pay.

An arm is an attack under a threat. How likely it is to break a point that still stands says a
logistic regression. Its prior comes from networks on which every arm was run on every point, and
every portion of the run makes it more certain. Arms are given portions of points in the order of
expected breaks per pass, until one more break would cost more passes than the suite allows.

Greedy selection by newly broken points per pass, from recorded results, is that of Liu et al. 2023
(AutoAE); leaving out points of hopeless loss that of Liu et al. 2022 (A3). Here both are decided
anew in every block, by what it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

ARM_SPREAD = 1.0
"""Deviation of what is known of an arm before it is run."""
THREAT_SPREAD = 1.0
"""Deviation of what all arms of a threat share: of masked gradients, say."""
SLOPES = {"gap": (-0.9, 0.3), "tries": (-1.5, 0.7), "fall": (-2.0, 2.0)}
"""Prior mean and deviation of what a unit of each feature adds to the log-odds."""
WIDEST = 3.0
"""Largest gap that differs from larger ones: where nothing was taken, gradients may mislead."""
LEAST = 4
"""Points of the smallest portion."""
SHARE = 16
"""A portion holds at most one in so many of the points that stand."""


class Arm(Protocol):
    """An attack under a threat."""

    @property
    def group(self) -> str:
        """The threat: what a point has withstood under it, all of its arms know."""

    @property
    def cost(self) -> float:
        """Passes of a point that it does not break."""

    @property
    def odds(self) -> float:
        """Prior log-odds that it breaks a point whose gap is e to the -2."""


A = TypeVar("A", bound=Arm)


@dataclass
class Front:
    """Where the points of a block stand under a threat.

    Attributes:
        clean: margins on the clean inputs, ``(B,)``.
        best: the least margin that any search has come to, ``(B,)``.
        stands: which points are still to be broken, ``(B,)`` bool.
    """

    clean: Floats
    best: Floats
    stands: npt.NDArray[np.bool_]
    tries: Floats = field(init=False, repr=False)
    fall: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.tries, self.fall = np.zeros(len(self.clean)), np.zeros(len(self.clean))

    def features(self, rows: Rows) -> Floats:
        """Gap, tries and last fall of some points, ``(M, 3)``.

        The gap is the margin that is left, over what has been taken from the clean one, as a
        logarithm: it does not depend on the scale of the logits. The fall is what the last arm
        took, in the same unit.
        """
        taken = np.maximum(self.clean[rows] - self.best[rows], 1e-9)
        gap = np.log(np.clip(self.best[rows] / taken, 1e-3, WIDEST)) + 2
        columns = gap, np.log1p(self.tries[rows]), np.minimum(self.fall[rows], 1.0)
        return np.stack(columns, 1)

    def update(self, rows: Rows, broken: npt.NDArray[np.bool_], margin: Floats) -> None:
        """Take in what an arm did to some points."""
        before = self.best[rows]
        after = np.fmin(before, np.where(broken, before, margin))
        self.fall[rows] = (before - after) / np.maximum(self.clean[rows] - after, 1e-9)
        self.best[rows] = after
        self.tries[rows] += 1
        self.stands[rows[broken]] = False


class Odds:
    """Logistic regression with a normal prior, at its mode.

    Args:
        mean, spread: of the prior of each coefficient, ``(K,)``.

    Example:
        >>> odds = Odds(np.array([-3.0]), np.array([1.0]))
        >>> before = odds(np.ones((1, 1)))
        >>> odds.learn(np.ones((4, 1)), np.array([True, True, False, True]))
        >>> bool(odds(np.ones((1, 1))) > before)
        True
    """

    def __init__(self, mean: Floats, spread: Floats) -> None:
        self.mean, self.precision = mean, spread**-2.0
        self.weights = mean.copy()
        self.seen = np.zeros((0, len(mean)))
        self.came = np.zeros(0)

    def __call__(self, rows: Floats) -> Floats:
        """Probabilities, ``(M,)``, of rows of features ``(M, K)``."""
        found: Floats = 1 / (1 + np.exp(-rows @ self.weights))
        return found

    def learn(self, rows: Floats, came: npt.NDArray[np.bool_]) -> None:
        """Add outcomes ``(M,)``, and go to the mode of the posterior by Newton's method."""
        self.seen = np.concatenate([self.seen, rows])
        self.came = np.concatenate([self.came, came.astype(np.float64)])
        for _ in range(25):
            p = self(self.seen)
            pull = self.precision * (self.weights - self.mean)
            slope = self.seen.T @ (self.came - p) - pull
            curve = (self.seen * (p * (1 - p))[:, None]).T @ self.seen + np.diag(self.precision)
            step = np.linalg.solve(curve, slope)
            self.weights += np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-6:
                return


class Scheduler(Generic[A]):
    """Deals portions of points to arms, one at a time, until none is worth its passes.

    Args:
        arms: what can be run; each is run on a point at most once.
        fronts: where the points stand, by the arms' groups.
        price: passes that one more broken point may cost.

    Example:
        >>> from types import SimpleNamespace
        >>> arm = SimpleNamespace(group="linf:0.1", cost=20.0, odds=-3.0)
        >>> front = Front(np.full(9, 2.0), np.linspace(0.1, 1.7, 9), np.ones(9, dtype=bool))
        >>> scheduler = Scheduler([arm], {"linf:0.1": front}, price=5000)
        >>> arm, rows = scheduler.next()
        >>> rows.tolist()
        [0, 1, 2, 3]
    """

    def __init__(self, arms: Sequence[A], fronts: dict[str, Front], price: float) -> None:
        self.arms, self.fronts, self.price = list(arms), fronts, price
        self.groups = list(dict.fromkeys(arm.group for arm in self.arms))
        self.tried = [np.zeros(len(fronts[arm.group].clean), dtype=bool) for arm in self.arms]
        many, groups = len(self.arms), len(self.groups)
        mean = [arm.odds for arm in self.arms] + [0.0] * groups + [m for m, _ in SLOPES.values()]
        spread = [ARM_SPREAD] * many + [THREAT_SPREAD] * groups + [s for _, s in SLOPES.values()]
        self.odds = Odds(np.array(mean), np.array(spread))

    def rows(self, number: int, at: Rows) -> Floats:
        """The regression's features of an arm on some points."""
        arm, many = self.arms[number], len(self.arms)
        features = self.fronts[arm.group].features(at)
        rows = np.zeros((len(at), many + len(self.groups) + features.shape[1]))
        rows[:, number] = rows[:, many + self.groups.index(arm.group)] = 1
        rows[:, -features.shape[1] :] = features
        return rows

    def next(self) -> tuple[A, Rows] | None:
        """The arm of most expected breaks per pass, and its points; None if none is worth it."""
        best: tuple[float, int, Rows] | None = None
        for number, arm in enumerate(self.arms):
            stands = self.fronts[arm.group].stands
            at = np.flatnonzero(stands & ~self.tried[number])
            chance = self.odds(self.rows(number, at))
            worth = chance * self.price > arm.cost
            most = min(int(worth.sum()), max(LEAST, int(stands.sum()) // SHARE))
            if most == 0:
                continue
            first = np.argsort(-chance, kind="stable")[:most]
            gain = float(chance[first].mean() / max(arm.cost, 1e-9))
            if best is None or gain > best[0]:
                best = gain, number, np.sort(at[first])
        if best is None:
            return None
        return self.arms[best[1]], best[2]

    def learn(self, arm: A, at: Rows, broken: npt.NDArray[np.bool_], margin: Floats) -> None:
        """Take in what an arm did to the points ``at`` (M,): which broke, and the margins left."""
        number = next(k for k, mine in enumerate(self.arms) if mine is arm)
        self.odds.learn(self.rows(number, at), broken)
        self.tried[number][at] = True
        self.fronts[arm.group].update(at, broken, margin)
