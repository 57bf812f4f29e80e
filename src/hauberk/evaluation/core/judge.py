"""The judge: decides what counts as broken, and trusts no attack.

It runs the model again on the point alone with its own dtype (TF32 and autocast off), takes the
decision, and checks threat and box in float64 without slack. A tie counts as broken.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from hauberk.maths.losses import margin
from hauberk.maths.rows import Rows
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim

NUMBERS = 2**21
"""Most float64 numbers of a tensor made in passing: 16 MB, of which a distance takes a few."""


@dataclass
class Verdict(Rows):
    """One row per point.

    Attributes:
        broken: wrong and allowed.
        wrong: the model's decision is not the label (ties and NaN count as wrong), ``(B,)``.
        allowed: the point lies in the threat and in the box, ``(B,)``.
        margin: the label's logit less the largest other, ``(B,)`` float64; at most 0 when wrong.
        distance: from the clean input, in the threat's unit, ``(B,)`` float64.
        prediction: the class decided for, ``(B,)`` int64.
    """

    broken: Tensor
    wrong: Tensor
    allowed: Tensor
    margin: Tensor
    distance: Tensor
    prediction: Tensor


def judge(
    victim: Victim,
    threat: Threat,
    x0: Tensor,
    x: Tensor,
    y: Tensor,
    box: Box,
    witness: Tensor | None = None,
) -> Verdict:
    """Judge points ``x`` (B, ...) against clean inputs ``x0`` and labels ``y`` (B,)."""
    x0, x, y = (v.to(victim.device) for v in (x0, x, y))
    logits, wrong = decide(victim, x, y)
    allowed, distance = measure(threat, x0, x, box, witness)
    return Verdict(
        broken=wrong & allowed,
        wrong=wrong,
        allowed=allowed,
        margin=-margin(logits.double(), y),
        distance=distance,
        prediction=logits.argmax(1),
    )


def measure(
    threat: Threat, x0: Tensor, x: Tensor, box: Box, witness: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Who is allowed, and how far away, ``(B,)`` each, in parts of bounded memory."""
    each = x0[:1].numel() * threat.copies
    parts = max(1, min(len(x), -(-len(x) * each // NUMBERS)))
    own: Sequence[Tensor | None] = [None] * parts
    if witness is not None:
        if len(witness) != len(x):  # proves nothing: for the region to say
            parts = 1
        own = witness.tensor_split(parts)
    allowed, distance = [], []
    for start, point, proof in zip(x0.tensor_split(parts), x.tensor_split(parts), own, strict=True):
        region = threat.at(start, box)
        allowed.append(region.contains(point, proof))
        distance.append(region.distance(point, proof))
    return torch.cat(allowed), torch.cat(distance)


def decide(victim: Victim, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(B, C)`` at full precision, and whether they decide wrongly, ``(B,)``."""
    with victim.held(), full_precision(victim.device):
        logits = victim.predict(x)
    if not len(x):
        return x.new_zeros(0, 2), torch.zeros(0, dtype=torch.bool, device=x.device)
    return logits, victim.wrong(logits, y)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Neither TF32, nor bfloat16 inside float32 products, nor autocast inside the block."""
    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    name: str = "allow_tf32"
    full: Any = False
    # Newer releases have one switch per kind of kernel; setting the older ones as well is an error.
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        cudnn, onednn = cast(Any, torch.backends.cudnn), cast(Any, torch.backends.mkldnn)
        places = [places[0], cudnn.conv, cudnn.rnn, onednn.matmul, onednn.conv, onednn.rnn]
        name, full = "fp32_precision", "ieee"
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, full)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)
