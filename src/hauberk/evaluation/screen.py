"""What is looked at before any work is lost: inputs, labels and the model's manners."""

import warnings

import torch
from torch import Tensor, nn

from hauberk.engine.expectation import Averaged
from hauberk.engine.inputs import check
from hauberk.engine.objective import Objective
from hauberk.engine.victim import Victim
from hauberk.errors import HauberkWarning, InputError
from hauberk.threats.base import Box

DRAWS = 10
"""Passes behind each decision of a model whose output changes between identical calls."""


def screen(
    victim: Victim, x: Tensor, y: Tensor, box: Box, seed: int = 0
) -> tuple[Tensor, Tensor, list[str], Victim]:
    """Inputs and labels as they must be, warnings about the model, and whom to attack.

    That is the victim itself, or its average if its output changes between identical calls.

    Raises:
        InputError: for data or a model that nothing can be said about.
    """
    if not len(x):
        raise InputError("there are no examples: check --data, --limit and --offset")
    x, y = check(x, y, box)
    _mode(victim.model)
    few = x[: min(len(x), victim.batch_size(x[:1]), 64)]
    with victim.held():
        try:
            logits = victim.predict(few)
            again = victim.predict(few)
        except InputError:
            raise
        except Exception as error:  # whatever a user's model raises
            shape = tuple(few.shape[1:])
            line = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise InputError(
                f"the model fails on a batch of inputs of shape {shape}: "
                f"{type(error).__name__}: {line}"
            ) from error
    _labels(y, logits.shape[1])
    if bool(logits.isnan().any()):
        bad = int(logits.isnan().any(1).nonzero()[0])
        raise InputError(f"the model returns NaN logits on clean input {bad}: repair it first")
    found = []
    if not torch.equal(logits, again):
        most = float((logits - again).abs().max())
        found.append(
            f"the model's output changes between identical calls (by up to {most:.2g}): it is "
            f"attacked and judged by its mean probability over {DRAWS} draws, at {DRAWS} times the "
            "passes. Fix its random numbers if they are not meant"
        )
        if type(victim) is Victim:
            victim = Averaged(victim.model, DRAWS, seed=seed, batch_size=victim.asked_batch)
    if _probabilities(logits):
        found.append(
            "the model returns probabilities: their gradients vanish where it is confident, and "
            "attacks fail for that reason alone. Return logits, without the softmax"
        )
    if message := _flat(victim, few, y[: len(few)]):
        found.append(message)
    if message := _stiff(victim, few[:2]):
        found.append(message)
    for message in found:
        warnings.warn(message, HauberkWarning, stacklevel=3)
    return x, y, found, victim


def _flat(victim: Victim, x: Tensor, y: Tensor) -> str | None:
    """A warning if gradients cannot guide an attack from the clean inputs."""
    objective = Objective("margin")
    x = x.detach().to(victim.device).requires_grad_(True)
    with victim.held(), torch.enable_grad():
        found = objective(victim, x, y.to(victim.device), None, None)
        grad = victim.gradient(found.head, found.slope, x)
    none = int((grad.flatten(1) == 0).all(1).sum())
    if not none:
        return None
    return (
        f"the gradient of the logit margin is exactly zero on {none} of {len(x)} clean inputs: "
        "attacks by gradients are blind there, and the accuracies may be far too high. Look for "
        "rounding, thresholds, saturation or detach() in the model"
    )


def _stiff(victim: Victim, x: Tensor) -> str | None:
    """A warning if gradients cannot be softened, which the suites count on."""
    x = x.detach().to(victim.device).requires_grad_(True)
    with victim.held(), torch.enable_grad():
        victim.logits(x, soften=0.1)
    if victim.stiff is None:
        return None
    return (
        f"the model cannot be looked into ({victim.stiff}): attacks go by its own gradients only, "
        "and may miss what masked gradients hide. Judge it by the suite gradient-free as well"
    )


def _mode(model: nn.Module) -> None:
    """Refuse a model parts of which stay in train mode, whatever is asked of them."""
    if not isinstance(model, nn.Module):
        return
    before = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        stuck = next((name for name, module in model.named_modules() if module.training), None)
    finally:
        for module, training in before:
            module.training = training
    if stuck is not None:
        raise InputError(
            f"the model's part '{stuck or type(model).__name__}' stays in train mode after "
            "model.eval(): dropout and batch statistics would change the numbers; make it obey"
        )


def _labels(y: Tensor, classes: int) -> None:
    if bool((y < 0).any()) or bool((y >= classes).any()):
        raise InputError(
            f"labels lie in [{int(y.min())}, {int(y.max())}] but the model has {classes} classes: "
            f"labels must be 0 to {classes - 1}"
        )


def _probabilities(logits: Tensor) -> bool:
    z = logits.double()
    inside = bool(((z >= 0) & (z <= 1)).all())
    return inside and bool(((z.sum(1) - 1).abs() < 1e-3).all())
