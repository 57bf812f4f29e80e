"""What a run for a universal perturbation returns."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hauberk.data.examples import Examples, portions
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import decide, judge
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import Model, prepare
from hauberk.evaluation.core.summary import RunResult
from hauberk.store.ledger import Store
from hauberk.threats.base import Box
from hauberk.threats.shared import Shared


def table_of(summary: dict[str, Any]) -> str:
    """The short table of a run, as text."""
    rows = [("clean", summary["clean_accuracy"]), ("perturbed", summary["accuracy"])]
    rows.append(("class changed", summary["changed"]))
    lines = [f"universal perturbation, {summary['threat']}, {summary['n']} examples"]
    return "\n".join([*lines, *(f"{name:14} {100 * share:6.2f}" for name, share in rows)])


@dataclass(frozen=True)
class Universal(RunResult):
    """A perturbation for every input.

    Attributes:
        delta: ``(...)``, inside the ball.
        threat: the ball, shared; inputs are clipped to the box after it is added.
        losses: mean loss of each minibatch, in the order in which they were used.
        forwards, backwards: passes spent.

    Example:
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> found = hb.universal(net, x, y, "linf:0.1", epochs=1, minibatch=3)
        >>> found.delta.shape, found.apply(x).shape
        (torch.Size([4]), torch.Size([6, 4]))
    """

    tabulate = staticmethod(table_of)

    delta: Tensor
    threat: Shared
    box: Box
    losses: tuple[float, ...]
    forwards: int
    backwards: int
    summary: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    store: Store | None = field(default=None, repr=False, compare=False)

    def columns(self) -> dict[str, Any]:
        """A row an example: beside the common columns, whether the perturbation fools it."""
        rows = {} if self.store is None else self.store.rows("apply-")
        return {**super().columns(), "fooled": rows["broken"], "perturbed": rows["prediction"]}

    def apply(self, x: Tensor) -> Tensor:
        """Perturbed inputs, ``(B, ...)``."""
        lo, hi = self.box.bounds(x)
        return torch.clamp(x + self.delta.to(x), lo, hi)

    def test(
        self,
        model: Model,
        images: Examples,
        labels: Tensor,
        batch_size: int | None = None,
    ) -> "Tested":
        """What it does to images ``(N, ...)`` that it need not have seen, as the judge finds.

        Args:
            model: a classifier, the one that the perturbation was made on or another.
            images: floats in the box, of the perturbation's shape.
            labels: ``(N,)`` integer classes.
            batch_size: images through the model at once; chosen if left out.

        Raises:
            InputError: for bad input, or another shape than the perturbation was made for.
        """
        if images.shape[1:] != self.delta.shape:
            raise InputError(
                f"the perturbation has shape {tuple(self.delta.shape)}, the inputs "
                f"{tuple(images.shape[1:])}: test it on inputs of its own shape"
            )
        options = RunOptions(box=self.box, batch_size=batch_size)
        setting = prepare({"model": model}, images, labels, options)
        victim, found = setting.victim, []
        for start, some in portions(setting.x):
            x, y = some.to(victim.device), setting.y[start : start + len(some)].to(victim.device)
            before, was_wrong = decide(victim, x, y)
            after = judge(victim, self.threat.threat, x, self.apply(x), y, self.box)
            changed = before.argmax(1) != after.prediction
            found.append(torch.stack([was_wrong, after.broken, changed]).cpu())
        wrong, broken, changed = torch.cat(found, 1)
        return Tested(
            clean=1 - float(wrong.double().mean()),
            accuracy=1 - float(broken.double().mean()),
            changed=float(changed.double().mean()),
            wrong=broken,
        )


@dataclass(frozen=True)
class Tested:
    """Accuracy on clean and perturbed inputs, share whose class changed, and which are wrong."""

    clean: float
    accuracy: float
    changed: float
    wrong: Tensor = field(repr=False)
