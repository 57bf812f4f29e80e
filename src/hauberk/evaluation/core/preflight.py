"""Warnings about a model, from a few looks at it before a run starts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.evaluation.core.findings import Finding
from hauberk.maths.modules import eval_mode, trained_parts
from hauberk.objectives.base import Objective
from hauberk.threats.box import Box
from hauberk.victims.alone import Alone, BatchDependent
from hauberk.victims.averaged import Averaged
from hauberk.victims.batch_size import settle_batch
from hauberk.victims.memory import MEMORY_ERRORS
from hauberk.victims.neighbours import Dependence, dependence
from hauberk.victims.outputs import require_logit
from hauberk.victims.softening_check import gap, stiffness
from hauberk.victims.victim import Victim

DRAWS = 10
"""Passes behind each decision of a model whose output changes between identical calls."""

ROUNDING = 1e-5
"""Share of the largest logit by which identical calls may differ: threads and kernels do that."""


@dataclass(frozen=True)
class Preflight:
    """What a look at a model found.

    Attributes:
        victim: what to attack: the model as it is, or its average over draws if its output changes
            between identical calls, or each example alone if it depends on the batch.
        classes: number of its classes.
        findings: what may make numbers mislead.
        steady: whether the victim decides alike in identical calls.
    """

    victim: Victim
    classes: int
    findings: list[Finding]
    steady: bool = True

    @property
    def warnings(self) -> list[str]:
        """The findings, one line each."""
        return list(map(str, self.findings))


def preflight(
    victim: Victim, x: Tensor, y: Tensor, seed: int = 0, *, box: Box = Box(),
    batch_dependent: BatchDependent = "refuse",
) -> Preflight:  # fmt: skip
    """Look at a model on a few clean inputs, before any work is lost.

    Args:
        x: clean inputs ``(N, ...)`` in the box; y: labels ``(N,)`` int64.
        box: the valid range of the inputs.
        batch_dependent: what becomes of a model whose output depends on the rest of the batch.

    Raises:
        InputError: for a model that nothing can be said about, or that depends on the batch.
    """
    _mode(victim.model)
    few = x[: min(len(x), victim.batch_size(x[:1]), 64)]
    settle_batch(victim, few)
    logits, again = _twice(victim, few)
    require_logit(victim.single, logits)
    _labels(y, logits.shape[1])
    if bool(logits.isnan().any()):
        bad = int(logits.isnan().any(1).nonzero()[0])
        raise InputError(f"the model returns NaN logits on clean input {bad}: repair it first")
    found: list[Finding] = []
    most = _change(logits, again)
    if most and type(victim) is Victim:
        found.append(
            Finding.of(
                "random output",
                f"the model's output changes between identical calls (by up to {most:.2g}): it is "
                f"attacked and judged by its mean probability over {DRAWS} draws, at {DRAWS} times "
                "the passes",
                "Fix its random numbers if they are not meant",
            )
        )
        victim = Averaged(victim.model, DRAWS, seed=seed, batch_size=victim.asked_batch)
        with victim.held():
            most = _change(victim.predict(few[:4]), victim.predict(few[:4]))
    if most:
        found.append(_unsteady(victim, most))
    victim, told = _by_itself(victim, few, seed, box, batch_dependent, steady=not most)
    found += told
    if told:
        with victim.held():
            logits = victim.predict(few)
    if _probabilities(logits):
        found.append(
            Finding.of(
                "probabilities",
                "the model returns probabilities: their gradients vanish where it is confident, "
                "and attacks fail for that reason alone",
                "Return logits, without the softmax",
            )
        )
    if one := _flat(victim, few, y[: len(few)]):
        found.append(one)
    if message := stiffness(victim, few[:4], seed):
        found.append(Finding.of("gradients out of sight", *message.rsplit(". ", 1)))
    return Preflight(victim, logits.shape[1], found, steady=not most)


MEND = "make it a function of the input alone (running statistics in eval mode, say)"


def require_by_itself(victim: Victim, x: Tensor, box: Box, seed: int = 0) -> None:
    """Refuse a model whose output for an input depends on the rest of the batch.

    Args:
        x: clean inputs ``(N, ...)``, of which a few are looked at.

    Raises:
        InputError: naming the module that is the cause, if it is found.
    """
    found = dependence(victim, x, box, seed, steady=False)
    if found is not None:
        raise InputError(f"{_depends(found)}. No example has a decision of its own then: {MEND}")


def _depends(found: Dependence) -> str:
    return f"the model's output for an input depends on the rest of the batch, {found}"


def _by_itself(
    victim: Victim, few: Tensor, seed: int, box: Box, rule: BatchDependent, steady: bool
) -> tuple[Victim, list[Finding]]:
    """The victim, or each example alone where the output depends on the rest of the batch."""
    found = dependence(victim, few, box, seed, steady)
    if found is None:
        return victim, []
    if rule == "refuse" or type(victim) is not Victim:
        own = type(victim) is Victim
        other = ", or give batch_dependent=alone, which shows it each example by itself" * own
        raise InputError(
            f"{_depends(found)}. No example has a decision of its own then: {MEND}{other}"
        )
    alone = Alone(victim.model, victim.asked_batch)
    told = Finding.of(
        "depends on the batch",
        f"{_depends(found)}: each example is shown to it alone, in the search and to the judge",
        f"If that is not how it is used, {MEND}",
    )
    return alone, [told]


def _twice(victim: Victim, few: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of two identical calls."""
    with victim.held():
        try:
            return victim.predict(few), victim.predict(few)
        except InputError:
            raise
        except Exception as error:  # whatever a user's model raises
            shape = tuple(few.shape[1:])
            line = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise InputError(
                f"the model fails on a batch of inputs of shape {shape}: "
                f"{type(error).__name__}: {line}{_advice(shape, line)}"
            ) from error


def _advice(shape: tuple[int, ...], line: str) -> str:
    """What to do about images of another shape than the model takes, as the end of a sentence."""
    if len(shape) == 3 and shape[-1] in (1, 3, 4) and shape[0] not in (1, 3, 4):
        return "; are their channels last? --layout nhwc"
    if len(shape) == 3 and "channels" in line:
        return "; " + ("grey images become RGB by --rgb" if shape[0] == 1 else "see --grey, --rgb")
    if len(shape) == 1 and ("Conv" in line or "conv" in line or "channels" in line):
        return "; flat examples become images by --layout 1x28x28"
    if len(shape) == 3 and "shapes cannot be multiplied" in line:
        return "; does it take images of another size? --resize"
    return ""


def _change(logits: Tensor, again: Tensor) -> float:
    """The largest difference between two sets of logits; 0 if it is within rounding.

    A decision that differs by more than rounding would, in either set, is such a difference.
    """
    share = max(ROUNDING, 2 * torch.finfo(logits.dtype).eps)
    largest = logits.double().abs().nan_to_num(nan=0.0, posinf=0.0).amax()
    most = gap(logits, again).amax()
    return float(most) if bool(most > share * largest) else 0.0


def _unsteady(victim: Victim, most: float) -> Finding:
    if isinstance(victim, Averaged):
        return Finding.of(
            "cannot be repeated",
            f"the model's output changes (by up to {most:.2g}) even where torch's generators are "
            "seeded: this run cannot be repeated, and verifying may refute it",
            "Draw the model's random numbers from torch, not from numpy or Python's random",
        )
    return Finding.of(
        "cannot be repeated",
        f"the model's output changes between identical calls (by up to {most:.2g}): this run "
        "cannot be repeated, and verifying may refute it",
        "Fix the model's random numbers",
    )


def _flat(victim: Victim, x: Tensor, y: Tensor) -> Finding | None:
    """A finding if gradients cannot guide an attack from the clean inputs."""
    objective, none, start, size = Objective("margin"), 0, 0, len(x)
    while start < len(x):
        u = x[start : start + size].detach().to(victim.device).requires_grad_(True)
        try:
            with victim.held(), torch.enable_grad():
                aim = y[start : start + size].to(victim.device)
                found = objective(victim, u, aim, None, None)
                grad = victim.gradient(found.head, found.slope, u)
        except MEMORY_ERRORS as error:
            size = victim.shrink(error, size)
            continue
        none += int((grad.flatten(1) == 0).all(1).sum())
        start += size
    if not none:
        return None
    return Finding.of(
        "zero gradients at clean inputs",
        f"the gradient of the logit margin is exactly zero on {none} of {len(x)} clean inputs: "
        "attacks by gradients are blind there, and the accuracies may be far too high",
        "Look for rounding, thresholds, saturation or detach() in the model",
    )


def _mode(model: nn.Module) -> None:
    """Refuse a model parts of which stay in train mode, whatever is asked of them."""
    if not isinstance(model, nn.Module):
        return
    before = [(module, module.training) for module in model.modules()]
    try:
        eval_mode(model)
        stuck = next((name for name, module in model.named_modules() if module.training), None)
    finally:
        for module, training in before:
            module.training = training
    if stuck is not None:
        raise InputError(
            f"the model's part '{stuck or type(model).__name__}' stays in train mode after "
            "model.eval(): dropout and batch statistics would change the numbers; make it obey"
        )
    if parts := trained_parts(model):
        raise InputError(
            f"the model was exported in train mode ({', '.join(sorted(set(parts)))}): export "
            "model.eval()"
        )


def _labels(y: Tensor, classes: int) -> None:
    if bool((y < 0).any()) or bool((y >= classes).any()):
        first = ", so subtract 1" if int(y.min()) == 1 and int(y.max()) == classes else ""
        raise InputError(
            f"labels lie in [{int(y.min())}, {int(y.max())}] but the model has {classes} classes: "
            f"labels must be 0 to {classes - 1}{first}"
        )


def _probabilities(logits: Tensor) -> bool:
    z = logits.double()
    inside = bool(((z >= 0) & (z <= 1)).all())
    return inside and bool(((z.sum(1) - 1).abs() < 1e-3).all())
