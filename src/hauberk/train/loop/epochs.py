"""The history of a training, one record per epoch, and the weights that are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hauberk.train.loop.ema import EMA
from hauberk.train.loop.logs import means
from hauberk.train.settings import Settings


class Epochs:
    """Records of the epochs done, and the best weights among them.

    Args:
        settings: Those of the training: ``select`` and ``patience``.
        threats: Whether the strategy has threats: without them there is no union to select by, and
            ``union`` means ``clean``.
        ema: The average of the model's weights.

    Attributes:
        history: The records, in order.
        best: Score, epoch and weights of the best epoch so far; the weights are None while they are
            not needed, with ``select="last"``.
        out_of_patience: Whether ``patience`` epochs have passed without a better one.
    """

    def __init__(self, settings: Settings, threats: bool, ema: EMA) -> None:
        self.patience, self.ema = settings.patience, ema
        self.keeps_best = settings.select != "last"
        self.select = "clean" if settings.select == "union" and not threats else settings.select
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.out_of_patience = False

    def add(self, record: dict[str, Any]) -> dict[str, Tensor] | None:
        """Take in the record of an epoch; the weights, on the CPU, if they are the best so far."""
        self.history.append(record)
        by = "union" if self.select == "last" and self.patience else self.select
        # Without threats there is no union.
        score = record.get("valid_" + by, None if by == "last" else record.get("valid_clean"))
        if score is None:
            return None
        if self.best is None or score > self.best["score"]:
            kept = None
            if self.keeps_best:
                kept = {k: v.detach().cpu().clone() for k, v in self.ema.weights().items()}
            self.best = {"score": score, "epoch": record["epoch"], "weights": kept}
            return kept
        if self.patience is not None:
            self.out_of_patience = record["epoch"] - self.best["epoch"] >= self.patience
        return None

    def passes(self) -> tuple[int, int]:
        """Forward and backward passes of the epochs done."""
        forwards, backwards = (
            sum(record[name] for record in self.history) for name in ("forwards", "backwards")
        )
        return forwards, backwards

    def chosen(self) -> dict[str, Tensor] | None:
        """The best weights; None if the last ones are to be kept."""
        return None if self.best is None else self.best["weights"]

    def summary(self) -> dict[str, Any]:
        """The selected epoch and its accuracies, and the passes and seconds of all epochs."""
        chosen = self.best is not None and self.best["weights"] is not None
        selected = self.history[self.best["epoch"] - 1 if chosen and self.best else -1]
        seconds = [f"seconds_{k}" for k in ("attack", "training", "validation")]
        return {
            "epochs": len(self.history),
            "selected": selected["epoch"],
            "select": self.select if chosen else "last",
            "loss": selected["loss"],
            **{k: v for k, v in selected.items() if k.startswith("valid_")},
            **{k: sum(r[k] for r in self.history) for k in ("forwards", "backwards", *seconds)},
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"history": self.history, "best": self.best, "over": self.out_of_patience}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` gave."""
        self.history, self.best = state["history"], state["best"]
        self.out_of_patience = state["over"]


def box_of(values: Tensor) -> dict[str, float]:
    """The quartiles of numbers ``(N,)``, and the ends of the whiskers.

    A whisker ends at the number that is farthest from the box but within one and a half times the
    distance of the quartiles from it (Tukey 1977).

    Example:
        >>> box_of(torch.tensor([0.0, 1.0, 2.0, 3.0, 9.0]))
        {'low': 0.0, 'q1': 1.0, 'median': 2.0, 'q3': 3.0, 'high': 3.0}
    """
    row = values.detach().to("cpu", torch.float64)
    row = row.sort().values if len(row) else row.new_full((1,), torch.nan)
    places = torch.tensor([0.25, 0.5, 0.75], dtype=row.dtype) * (len(row) - 1)
    below = places.long()
    quartiles = torch.lerp(row[below], row[places.ceil().long()], places - below)
    q1, median, q3 = quartiles.tolist()
    reach = 1.5 * (q3 - q1)
    within = row[(row >= q1 - reach) & (row <= q3 + reach)]
    low, high = (float(within[0]), float(within[-1])) if len(within) else (q1, q3)
    return {"low": low, "q1": q1, "median": median, "q3": q3, "high": high}


def record_of(
    tallies: Sequence[Mapping[str, Any]], accuracies: Mapping[str, float],
    noted: Mapping[str, Tensor] = {}, *,
    epoch: int, step: int, learning_rate: float, seconds_validation: float,
) -> dict[str, Any]:  # fmt: skip
    """The record of an epoch.

    Args:
        tallies: State of each process's :class:`hauberk.train.loop.logs.Tally`.
        accuracies: Those on the held-out examples.
        noted: Numbers of the examples, whose spread is kept.
        epoch: Its number, from 1.
        step: Optimiser steps done so far.
        learning_rate: That of its last step.
        seconds_validation: Time that validating took.
    """
    attacking = max(tally["attacking"] for tally in tallies)
    return {
        "epoch": epoch,
        "step": step,
        **means(tallies),
        **{f"{k} {end}": v for k, row in noted.items() for end, v in box_of(row).items()},
        **accuracies,
        "learning_rate": learning_rate,
        "forwards": sum(tally["forwards"] for tally in tallies),
        "backwards": sum(tally["backwards"] for tally in tallies),
        "seconds_attack": attacking,
        "seconds_training": max(tally["seconds"] for tally in tallies) - attacking,
        "seconds_validation": seconds_validation,
    }
