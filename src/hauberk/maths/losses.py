"""Losses per example. All are maximised by the attacker.

Every function takes logits ``(B, C)`` and labels ``(B,)`` and returns ``(B,)`` in the dtype of the
logits (at least float32). Infinite logits are read as very large finite ones, so that two equal
infinities are a tie and not a NaN; NaN logits stay NaN.
"""

from collections.abc import Callable
from math import inf, isfinite

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
TargetedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

SHARP = 0.3
"""Temperature of the scaled losses, in units of the logits' spread."""


def _finite(logits: Tensor) -> Tensor:
    """Logits with ±inf replaced by ±1e30, so that differences and softmax stay defined."""
    z = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    # Clamping and its gradient cost a third of a small model's pass; reading a CPU value is free.
    if z.device.type == "cpu" and isfinite(z.detach().sum()):
        return z
    return z.clamp(-1e30, 1e30)


def _runner_up(z: Tensor, y: Tensor) -> Tensor:
    """The class of the largest logit but the label's, ``(B, 1)``."""
    return z.detach().scatter(1, y.unsqueeze(1), -inf).argmax(1, keepdim=True)


def _combine(z: Tensor, *terms: tuple[float, Tensor]) -> Tensor:
    """Sum of ``weight * z_index`` over the terms, ``(B,)``.

    One product with constant weights: its gradient costs half of that of picking logits out.
    """
    weights = torch.zeros_like(z, requires_grad=False)
    for weight, index in terms:
        weights.scatter_(1, index, weight, reduce="add")
    return (z * weights).sum(1)


def _top(z: Tensor, k: int) -> list[Tensor]:
    """Classes of the k largest logits, each ``(B, 1)``."""
    return list(z.detach().topk(k, dim=1).indices.split(1, dim=1))


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, ``-log softmax(z)_y``, in [0, inf)."""
    return F.cross_entropy(_finite(logits), y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Logit margin ``max_{j != y} z_j - z_y``: 0 or more means wrong, a tie counts as wrong.

    Source: Ding et al. 2020, section 2 (LM).
    """
    z = _finite(logits)
    return _combine(z, (1.0, _runner_up(z, y)), (-1.0, y.unsqueeze(1)))


def soft_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Soft logit margin ``logsumexp_{j != y} z_j - z_y``, an upper bound of the logit margin.

    Source: Ding et al. 2020, section 2 (SLM).
    """
    z = _finite(logits)
    own = y.unsqueeze(1)
    return z.scatter(1, own, -inf).logsumexp(1) - z.gather(1, own).squeeze(1)


def cw(logits: Tensor, y: Tensor, confidence: float = 50.0) -> Tensor:
    """C&W loss ``min(max_{j != y} z_j - z_y, confidence)``.

    Source: Carlini & Wagner 2017; Wang et al. 2021 minimise its negative at confidence 50.
    """
    return margin(logits, y).clamp(max=confidence)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio: the logit margin over ``z_(1) - z_(3)``.

    With two classes there is no third logit and the ratio would be constant: the plain logit
    margin is returned. Source: Croce & Hein 2020, equation 6.
    """
    z = _finite(logits)
    loss = _combine(z, (1.0, _runner_up(z, y)), (-1.0, y.unsqueeze(1)))
    if z.shape[1] < 3:
        return loss
    first, _, third = _top(z, 3)
    return loss / (_combine(z, (1.0, first), (-1.0, third)) + 1e-12)


def scaled_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of logits over their own spread, which no factor on the logits changes.

    They are divided by :data:`SHARP` times their mean absolute deviation, of which no gradient is
    taken. With two classes that would be constant: the plain logit margin is returned.
    """
    z = _finite(logits)
    return cross_entropy(_scaled(z)[0], y) if z.shape[1] > 2 else margin(z, y)


def targeted_scaled_cross_entropy(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Minus the scaled cross-entropy of the target class."""
    z = _finite(logits)
    return (
        -cross_entropy(_scaled(z)[0], target) if z.shape[1] > 2 else targeted_margin(z, y, target)
    )


def _scaled(z: Tensor) -> tuple[Tensor, Tensor]:
    """Logits below the largest one in units of their spread, and the unit ``(B, 1)``."""
    given = z.detach()
    spread = (given - given.mean(1, keepdim=True)).abs().mean(1, keepdim=True)
    unit = (SHARP * spread).clamp_min(1e-30)
    return (z - given.amax(1, keepdim=True)) / unit, unit


def targeted_cross_entropy(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Minus the cross-entropy of the target class, in (-inf, 0]."""
    return -F.cross_entropy(_finite(logits), target, reduction="none")


def targeted_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """``z_t - z_y``: 0 or more means that the target beats the label."""
    z = _finite(logits)
    return _combine(z, (1.0, target.unsqueeze(1)), (-1.0, y.unsqueeze(1)))


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR: ``(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)``.

    With three classes the divisor is ``z_(1) - z_(3)``, with two it is left out (see :func:`dlr`).
    Source: Croce & Hein 2020, equation 7.
    """
    z = _finite(logits)
    loss = _combine(z, (1.0, target.unsqueeze(1)), (-1.0, y.unsqueeze(1)))
    classes = z.shape[1]
    if classes < 3:
        return loss
    first, _, *rest = _top(z, min(classes, 4))
    low = [(-1.0 / len(rest), index) for index in rest]
    return loss / (_combine(z, (1.0, first), *low) + 1e-12)


def probability_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Probability margin ``d = max_{j != y} p_j - p_y`` as ``2 artanh(d)``: it never saturates.

    It rises with ``d`` and in the same direction, but where the model is sure the gradient of ``d``
    itself is 0. With two classes it is the logit margin; 0 or more means wrong, a tie counts as
    wrong. Source: Xie et al. 2025, "Towards million-scale adversarial robustness evaluation with
    stronger individual attacks", section 3.2 (there ``d``).
    """
    z = _finite(logits)
    return _lead(z, _runner_up(z, y), y)


def targeted_probability_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """``2 artanh(p_t - p_y)``: 0 or more means that the target beats the label."""
    return _lead(_finite(logits), target.unsqueeze(1), y)


def scaled_probability_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Probability margin of logits over their own spread, which no factor on the logits changes.

    The same unit as in :func:`scaled_cross_entropy`, and the plain logit margin for two classes.
    """
    z = _finite(logits)
    return probability_margin(_scaled(z)[0] if z.shape[1] > 2 else z, y)


def targeted_scaled_probability_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted probability margin of logits over their own spread."""
    z = _finite(logits)
    return targeted_probability_margin(_scaled(z)[0] if z.shape[1] > 2 else z, y, target)


def _two_sides(z: Tensor, j: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits with y's set to j's, and the other way round.

    Their logsumexps are ``log(1 + p_j - p_y)`` and ``log(1 - p_j + p_y)``, plus the same number.
    """
    own = y.unsqueeze(1)
    return z.scatter(1, own, z.gather(1, j)), z.scatter(1, j, z.gather(1, own))


def _lead(z: Tensor, j: Tensor, y: Tensor) -> Tensor:
    ahead, behind = _two_sides(z, j, y)
    return ahead.logsumexp(1) - behind.logsumexp(1)


def _lead_slope(z: Tensor, j: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    own = y.unsqueeze(1)
    ahead, behind = _two_sides(z, j, y)
    loss = ahead.logsumexp(1) - behind.logsumexp(1)
    ahead, behind = ahead.softmax(1), behind.softmax(1)
    # Each side holds one of the two classes twice, and the other not at all.
    slope = (ahead - behind).scatter_(1, j, ahead.gather(1, j).mul_(2))
    return loss, slope.scatter_(1, own, behind.gather(1, own).mul_(-2))


def cross_entropy_slope(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy ``(B,)`` and its gradient in the logits, ``softmax(z) - onehot(y)``, (B, C)."""
    z, own = _finite(logits), y.unsqueeze(1)
    # Through the soft margin: from a softmax, the loss and the label's 1 - p round to 0 long
    # before the other classes' p do, and the gradient points elsewhere.
    others = z.scatter(1, own, -inf)
    top = others.amax(1, keepdim=True)
    slope = others.sub_(top).exp_()
    total = slope.sum(1, keepdim=True)
    soft = total.log().add_(top).sub_(z.gather(1, own))
    r = soft.sigmoid()
    return F.softplus(soft).squeeze(1), slope.mul_(r / total).scatter_(1, own, r.neg_())


def margin_slope(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logit margin ``(B,)`` and its gradient in the logits, ``onehot(j) - onehot(y)``, (B, C)."""
    z = _finite(logits)
    return _difference(z, _runner_up(z, y), y)


def targeted_cross_entropy_slope(
    logits: Tensor, y: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Targeted cross-entropy and its gradient in the logits."""
    loss, slope = cross_entropy_slope(logits, target)
    return loss.neg_(), slope.neg_()


def scaled_cross_entropy_slope(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled cross-entropy and its gradient in the logits."""
    z = _finite(logits)
    if z.shape[1] < 3:
        return margin_slope(z, y)
    scaled, unit = _scaled(z)
    loss, slope = cross_entropy_slope(scaled, y)
    return loss, slope.div_(unit)


def targeted_scaled_cross_entropy_slope(
    logits: Tensor, y: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Targeted scaled cross-entropy and its gradient in the logits."""
    if logits.shape[1] < 3:
        return targeted_margin_slope(logits, y, target)
    loss, slope = scaled_cross_entropy_slope(logits, target)
    return loss.neg_(), slope.neg_()


def targeted_margin_slope(logits: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Targeted margin and its gradient in the logits."""
    return _difference(_finite(logits), target.unsqueeze(1), y)


def probability_margin_slope(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Probability margin and its gradient in the logits."""
    z = _finite(logits)
    return _lead_slope(z, _runner_up(z, y), y)


def targeted_probability_margin_slope(
    logits: Tensor, y: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Targeted probability margin and its gradient in the logits."""
    return _lead_slope(_finite(logits), target.unsqueeze(1), y)


def scaled_probability_margin_slope(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled probability margin and its gradient in the logits."""
    z = _finite(logits)
    scaled, unit = _scaled(z) if z.shape[1] > 2 else (z, z.new_ones(1))
    loss, slope = probability_margin_slope(scaled, y)
    return loss, slope.div_(unit)


def targeted_scaled_probability_margin_slope(
    logits: Tensor, y: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Targeted scaled probability margin and its gradient in the logits."""
    z = _finite(logits)
    scaled, unit = _scaled(z) if z.shape[1] > 2 else (z, z.new_ones(1))
    loss, slope = targeted_probability_margin_slope(scaled, y, target)
    return loss, slope.div_(unit)


def _difference(z: Tensor, j: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    slope = torch.zeros_like(z).scatter_(1, j, 1.0).scatter_(1, y.unsqueeze(1), -1.0)
    return (z * slope).sum(1), slope


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "ce_scaled": scaled_cross_entropy,
    "margin": margin,
    "soft_margin": soft_margin,
    "cw": cw,
    "dlr": dlr,
    "probability_margin": probability_margin,
    "probability_margin_scaled": scaled_probability_margin,
}
TARGETED: dict[str, TargetedLoss] = {
    "ce": targeted_cross_entropy,
    "ce_scaled": targeted_scaled_cross_entropy,
    "margin": targeted_margin,
    "dlr": targeted_dlr,
    "probability_margin": targeted_probability_margin,
    "probability_margin_scaled": targeted_scaled_probability_margin,
}
# Gradients in closed form spare the loss's own autograd, a third of a small model's pass.
SLOPES: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "ce": cross_entropy_slope,
    "ce_scaled": scaled_cross_entropy_slope,
    "margin": margin_slope,
    "probability_margin": probability_margin_slope,
    "probability_margin_scaled": scaled_probability_margin_slope,
}
TARGETED_SLOPES: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "ce": targeted_cross_entropy_slope,
    "ce_scaled": targeted_scaled_cross_entropy_slope,
    "margin": targeted_margin_slope,
    "probability_margin": targeted_probability_margin_slope,
    "probability_margin_scaled": targeted_scaled_probability_margin_slope,
}


def wrong(logits: Tensor, y: Tensor) -> Tensor:
    """True where the label's logit is not strictly the largest, ``(B,)`` bool.

    Ties and NaN count as wrong.
    """
    below = logits < logits.gather(1, y.unsqueeze(1))
    return below.sum(1) != logits.shape[1] - 1
