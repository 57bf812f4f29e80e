"""Whether the gradients of a model can be softened: logits are compared with and without."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hauberk.maths.seeding import seeded
from hauberk.victims.victim import Victim

SAME = 1e-4
"""Share of the spread of the logits by which softening may change them."""

NARROW = 0.01
"""Width at which softened gradients are compared with exact ones."""
SHORT = 1e-3
"""Length of a step along them, a feature."""
FAR_LESS = 0.2
"""Share of what a step along exact gradients takes that one along softened ones should take."""


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
        repeats = bool(gap(plain, ask(0.0)).amax() <= allowed)
        if repeats and bool(most > allowed):
            victim.stiff = (
                f"softened gradients change its output, by up to {float(most):.2g}, as in a model "
                "that computes gradients on the way"
            )
        elif repeats and victim.stiff is None:
            victim.stiff = lost(victim, x, seed)
    if victim.stiff is None:
        return _partly(victim.model)
    return (
        f"the model cannot be looked into ({victim.stiff}): attacks use its own gradients only, "
        "and may miss what masked gradients hide. Judge it by the suite gradient-free as well"
    )


def lost(victim: Victim, x: Tensor, seed: int) -> str | None:
    """Why softened gradients are worse than exact ones, if they are: that is no model's strength.

    At a small width they should lead at least as far downhill. Where they are zero or no numbers
    and exact ones are not, or where a short step along them takes far less of the margin, a part of
    the model has got out of sight.

    Args:
        x: a few inputs, ``(B, ...)``, on the victim's device.
        seed: of the model's random numbers.
    """
    x = x.detach()

    def ask(inputs: Tensor, soften: float = 0.0) -> Tensor:
        with seeded(seed, victim.device):
            return victim.logits(inputs, soften).double()

    def slope(soften: float) -> Tensor:
        u = x.clone().requires_grad_(True)
        with torch.enable_grad():
            gap = _lead(ask(u, soften), pair)
            grad = torch.autograd.grad(gap.sum(), u, allow_unused=True) if gap.requires_grad else ()
        return torch.zeros_like(u) if not grad or grad[0] is None else grad[0]

    with victim.held():
        pair = ask(x).detach().topk(2, 1).indices
        try:
            exact, soft = slope(0.0), slope(NARROW)
        except RuntimeError as error:
            return f"gradients cannot be compared: {error}".splitlines()[0]
        if victim.stiff is not None:
            return victim.stiff
        return _worse(victim, x, pair, exact, soft, ask)


def _worse(
    victim: Victim, x: Tensor, pair: Tensor, exact: Tensor, soft: Tensor,
    ask: Callable[[Tensor], Tensor],
) -> str | None:  # fmt: skip
    """Why softened gradients ``(B, ...)`` are worse than exact ones, if they are."""
    told = exact.isfinite().flatten(1).all(1) & (exact != 0).flatten(1).any(1)
    none = told & ~(soft.isfinite().flatten(1).all(1) & (soft != 0).flatten(1).any(1))
    if bool(none.any()):
        return "softened gradients are zero, or no numbers, where its own are not"
    before = _lead(ask(x).detach(), pair)

    def taken(grad: Tensor) -> Tensor:
        flat = grad.nan_to_num().flatten(1)
        length = SHORT * flat.shape[1] ** 0.5 / flat.norm(dim=1, keepdim=True).clamp_min(1e-30)
        return before - _lead(ask(x - (flat * length).view_as(x)).detach(), pair)

    by_exact, by_soft = taken(exact), taken(soft)
    tells = told & (by_exact > max(1e-4, 16 * torch.finfo(victim.dtype).eps) * before.abs())
    worse = tells & (by_soft < FAR_LESS * by_exact)
    if 2 * int(worse.sum()) > int(tells.sum()):
        return "softened gradients lead much less far than its own"
    return None


def _lead(logits: Tensor, pair: Tensor) -> Tensor:
    """One logit less another, ``(B,)``."""
    both = logits.gather(1, pair)
    return both[:, 0] - both[:, 1]


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
