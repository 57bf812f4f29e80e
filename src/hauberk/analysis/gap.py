"""The generalisation gap: accuracy on training examples less that on test examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.result import Result
from hauberk.evaluation.core.summary import wilson


@dataclass(frozen=True)
class Gap:
    """One accuracy on training examples and on test examples.

    Attributes:
        train, test: the shares of each.
        interval: the 95% interval of their difference.

    Example:
        >>> Gap(1.0, 0.75, (0.1, 0.4)).gap
        0.25
    """

    train: float
    test: float
    interval: tuple[float, float]

    @property
    def gap(self) -> float:
        """Training less test accuracy: large where a model has learnt its examples by heart."""
        return self.train - self.test

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "train": self.train, "test": self.test, "gap": self.gap,
            "interval": list(self.interval),
        }  # fmt: skip


def generalisation_gap(train: Result, test: Result) -> dict[str, Gap]:
    """The gaps of a model between two evaluations: clean, each threat, the union.

    Models that are trained on several threats may reach 100% on their training examples: what they
    lack is generalisation (Tramèr & Boneh 2019, section 4).

    Args:
        train: of training examples; test: of others; both of the same model, threats and suite.

    Raises:
        InputError: where these differ, or one of the runs is not finished.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> train, test = (hb.evaluate(net, x, labels, hb.Linf(0.0), suite=hb.attacks.FGSM())
        ...                for labels in (y, torch.cat((y[:3], (y[3:] + 1) % 3))))
        >>> generalisation_gap(train, test)["clean"].gap
        0.5
    """
    require_alike(train, test)
    one, other = train.summary, test.summary
    rows = {
        "clean": [summary["clean_accuracy"] for summary in (one, other)],
        **{
            name: [summary["threats"][name]["accuracy"] for summary in (one, other)]
            for name in one["threats"]
        },
        "union": [summary["union_accuracy"] for summary in (one, other)],
    }
    n, m = one["n"], other["n"]
    return {
        name: Gap(a, b, difference(round(a * n), n, round(b * m), m))
        for name, (a, b) in rows.items()
    }


def require_alike(train: Result, test: Result) -> None:
    """Refuse two evaluations that cannot be compared.

    Raises:
        InputError: saying what differs.
    """
    for name in ("threats", "attacks", "schedule", "box", "union_only", "all_attacks"):
        a, b = (_manifest(result).get(name) for result in (train, test))
        if a != b:
            raise InputError(f"the two runs differ in {name}: evaluate both alike")
    a, b = (_manifest(result)["models"] for result in (train, test))
    if a != b:
        raise InputError("the two runs are of different models: evaluate one model on both")
    if not (train.summary["finished"] and test.summary["finished"]):
        raise InputError("one of the two runs is not finished: resume it")


def difference(
    successes: int, n: int, others: int, m: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of a difference of two independent shares, ``successes / n - others / m``.

    Newcombe's: the ends of the two Wilson intervals, put together.

    Source: Newcombe 1998, method 10.

    Raises:
        InputError: as :func:`~hauberk.evaluation.core.summary.wilson` does, and without examples.

    Example:
        >>> [round(end, 4) for end in difference(56, 70, 48, 80)]
        [0.0524, 0.3339]
    """
    if not n or not m:
        raise InputError("no interval without examples: give some of both kinds")
    p, q = successes / n, others / m
    (low, high), (under, over) = wilson(successes, n, confidence), wilson(others, m, confidence)
    return (
        p - q - sqrt((p - low) ** 2 + (over - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - under) ** 2),
    )


def _manifest(result: Result) -> Mapping[str, Any]:
    return result.store.manifest
