"""Whether the gradients of a model can be softened: logits are compared with and without."""

import torch
from torch import Tensor, nn

from hauberk.maths.seeding import seeded
from hauberk.victims.victim import Victim

SAME = 1e-4
"""Share of the spread of the logits by which softening may change them."""


def stiffness(victim: Victim, x: Tensor, seed: int) -> str | None:
    """A warning if gradients cannot be softened, which the suites count on; the victim notes it.

    Args:
        x: a few inputs, ``(B, ...)``.
        seed: of the model's random numbers, which are the same with and without softening.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> stiffness(Victim(net), torch.rand(2, 4), seed=0) is None
        True
    """
    x = x.detach().to(victim.device).requires_grad_(True)

    def ask(soften: float) -> Tensor:
        # The same random numbers each time.
        with victim.held(), torch.enable_grad(), seeded(seed, victim.device):
            return victim.logits(x, soften).detach()

    if victim.stiff is None:
        plain, soft = ask(0.0), ask(0.1)
        share = max(SAME, 8 * torch.finfo(victim.dtype).eps)
        finite = plain.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        allowed = share * (finite.amax(1) - finite.amin(1)).amax()
        most = gap(plain, soft).amax()
        # Of a model that does not repeat itself, nothing is learnt by comparing.
        if bool(most > allowed) and bool(gap(plain, ask(0.0)).amax() <= allowed):
            victim.stiff = (
                f"softened gradients change its output, by up to {float(most):.2g}, as in a model "
                "that computes gradients on the way"
            )
    if victim.stiff is None:
        return _partly(victim.model)
    return (
        f"the model cannot be looked into ({victim.stiff}): attacks use its own gradients only, "
        "and may miss what masked gradients hide. Judge it by the suite gradient-free as well"
    )


def _partly(model: nn.Module) -> str | None:
    """A warning if a part of the model is out of sight."""
    parts = model.named_modules() if isinstance(model, nn.Module) else ()
    sealed = [name for name, part in parts if isinstance(part, torch.jit.ScriptModule)]
    if not sealed:
        return None
    return (
        f"the model's part '{sealed[0]}' is TorchScript, which cannot be looked into: attacks "
        "use its own gradients there only, and may miss what masked gradients hide. Give the "
        "module that it was made from, or judge the model by the suite gradient-free as well"
    )


def gap(a: Tensor, b: Tensor) -> Tensor:
    """``|a - b|`` in float64: 0 between equal infinities or NaN, inf between others.

    Example:
        >>> gap(torch.tensor([1.0, torch.inf]), torch.tensor([0.5, torch.inf])).tolist()
        [0.5, 0.0]
    """
    a, b = a.detach().double(), b.detach().double()
    same = (a == b) | (a.isnan() & b.isnan())
    return torch.where(same, 0.0, (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf))
