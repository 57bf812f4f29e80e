"""What every run's parts add up to: the head of ``summary.json``, the same for all kinds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from math import lgamma, log, log1p, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hauberk.errors import InputError
from hauberk.store.files import Columns, plain
from hauberk.store.ledger import VOLATILE, Store

ROUNDING = 1e-5
"""Margins closer to 0 than this may change sign with batch size or device."""


class RunResult:
    """What the results of all kinds of run share.

    Attributes:
        summary: everything that ``summary.json`` holds.
        store: the ledger, on disk or in memory; None for a result made by hand.
        tabulate: what makes the table of a summary.
    """

    summary: dict[str, Any]
    store: Store | None
    tabulate: ClassVar[Any]

    def table(self) -> str:
        """The short table of the run, as text."""
        return str(type(self).tabulate(self.summary))

    def __str__(self) -> str:
        return self.table() if self.summary else repr(self)

    def columns(self) -> dict[str, Any]:
        """What the run found, a row an example: arrays of one length by name.

        ``id``, ``label`` and ``correct`` (of the clean input) always, and ``class``, the name of
        the label, where the manifest has the names; then what the kind of run has to say of an
        example.
        """
        if self.store is None:
            raise InputError("this result was made by hand: it has no rows")
        clean = self.store.rows("clean-")
        names = ("id", "label", "prediction", "correct", "margin")
        found = {name: clean[name] for name in names if name in clean}
        called = self.store.manifest.get("class_names")
        if called and "label" in found:
            words = dict(enumerate(map(str, called)))
            found["class"] = np.array([words.get(k, str(k)) for k in found["label"].tolist()])
        return found

    def to_pandas(self) -> Any:
        """The same as a ``pandas.DataFrame``, a row an example.

        Raises:
            InputError: if pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise InputError(
                "pandas is not installed: run 'pip install pandas', or take the arrays of columns()"
            ) from error
        return pandas.DataFrame(self.columns())

    @property
    def path(self) -> Path | None:
        """The ledger's folder, if there is one."""
        return None if self.store is None else self.store.path

    @property
    def cost(self) -> dict[str, Any]:
        """Passes (``forwards`` and ``backwards``) and ``seconds`` of the run."""
        return dict(self.summary["cost"])

    @property
    def warnings(self) -> list[str]:
        """What makes the numbers doubtful, one line each."""
        return list(self.summary["warnings"])


def head(manifest: Mapping[str, Any], clean: Columns, parts: Sequence[Columns]) -> dict[str, Any]:
    """The part of ``summary.json`` that is the same for all kinds of run.

    Args:
        clean: columns of all clean parts, one row an example.
        parts: columns of the other parts.
    """
    correct = np.asarray(clean.get("correct", ()), dtype=bool)
    n, draws = len(correct), int(manifest.get("draws", 1))  # of a stochastic model, for each look
    return {
        "hauberk_version": manifest.get("hauberk_version"),
        "kind": manifest.get("kind"),
        "n": n,
        "clean_accuracy": share(correct),
        "clean_interval": interval(correct),
        "cost": cost([clean, *parts], n * draws, draws * sum(len(p.get("id", ())) for p in parts)),
        "seed": manifest.get("seed"),
        "device": manifest.get("device"),
        "finished": n == manifest.get("n", n),
        "manifest_sha256": fingerprint(manifest),
        "warnings": [*(manifest.get("warnings") or ()), *no_numbers(parts)],
        **({"shard": list(manifest["shard"])} if "shard" in manifest else {}),
        **{name: manifest[name] for name in ("goal", "left_out") if name in manifest},
    }


def no_numbers(parts: Sequence[Columns]) -> list[str]:
    """A warning if points count as broken because the model's output is not a number there."""
    seen = [p for p in parts if len(p.get("id", ())) and "broken" in p and "margin" in p]
    ids = [p["id"][p["broken"].astype(bool) & np.isnan(p["margin"].astype(float))] for p in seen]
    many = len(np.unique(np.concatenate(ids))) if ids else 0
    if not many:
        return []
    return [
        f"{many} example{'s count' if many > 1 else ' counts'} as broken because the model's "
        "output is not a number (NaN) at a point near the clean input. Look for overflow, or a "
        "division by zero, a root or a logarithm of 0, in the model"
    ]


def cost(parts: Sequence[Columns], clean: int = 0, judge: int = 0) -> dict[str, Any]:
    """Passes and seconds of some parts.

    Args:
        clean: forwards of the clean decisions; judge: those of the judge, which are kept apart.
    """
    sums = {k: sum(int(np.sum(p.get(k, 0))) for p in parts) for k in ("forwards", "backwards")}
    seconds = [float(np.sum(p["seconds"])) for p in parts if "seconds" in p]
    return {
        "forwards": clean + sums["forwards"],
        "backwards": sums["backwards"],
        "seconds": sum(seconds) if seconds else None,
        "judge_forwards": judge,
    }


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, two-sided; (0, 1) if ``n`` is 0.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001.

    Raises:
        InputError: unless 0 <= successes <= n and 0 < confidence < 1.

    Example:
        >>> low, high = wilson(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise InputError(
            f"no interval for {successes} of {n} at confidence {confidence}: "
            "give 0 <= successes <= n and 0 < confidence < 1"
        )
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    part, scale = successes / n, 1 + z * z / n
    centre = (part + z * z / (2 * n)) / scale
    half = z * sqrt(part * (1 - part) / n + z * z / (4 * n * n)) / scale
    # The ends are exact where rounding would leave them beside 0 and 1.
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a share; 1 if ``n`` is 0.

    The share at which so few successes, or fewer, would be seen with probability
    ``1 - confidence``. For a sample drawn without replacement it is on the safe side.

    Source: Clopper & Pearson 1934.

    Raises:
        InputError: unless 0 <= successes <= n and 0 < confidence < 1.

    Example:
        >>> round(clopper_pearson(0, 60), 3), round(clopper_pearson(3, 60), 3)
        (0.049, 0.124)
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise InputError(
            f"no bound for {successes} of {n} at confidence {confidence}: "
            "give 0 <= successes <= n and 0 < confidence < 1"
        )
    if successes == n:
        return 1.0
    k = np.arange(successes + 1)
    choose = np.array([lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) for i in k])
    low, high = successes / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        few = float(np.exp(choose + k * log(middle) + (n - k) * log1p(-middle)).sum())
        low, high = (middle, high) if few > 1 - confidence else (low, middle)
    return high


def share(mask: npt.NDArray[Any]) -> float | None:
    """Share of True; None of nothing."""
    return float(mask.mean()) if len(mask) else None


def interval(mask: npt.NDArray[Any]) -> list[float] | None:
    """Its 95% interval; None of nothing."""
    return list(wilson(int(mask.sum()), len(mask))) if len(mask) else None


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of all that a manifest says, but for its volatile keys."""
    kept = plain({k: v for k, v in manifest.items() if k not in VOLATILE})
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
