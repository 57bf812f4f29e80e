"""Grey images that arithmetic has quietly spread over the channels of a colour net."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hauberk.evaluation.core.findings import Finding
from hauberk.victims.victim import Victim

ARITHMETIC = frozenset(
    f"{before}{name}{after}"
    for name in ("add", "sub", "mul", "div", "truediv", "true_divide", "rsub", "radd", "rmul")
    for before, after in (("", ""), ("__", "__"), ("", "_"))
)
"""Operations that spread one channel over several; ``expand`` and ``repeat`` are meant to."""


def greyed(victim: Victim, x: Tensor) -> list[Finding]:
    """A finding if inputs of one channel meet a mean or deviation of several.

    Args:
        x: some inputs, ``(n, ...)``.
    """
    if x.dim() != 4 or x.shape[1] != 1:
        return []
    seen = _Spread(x[:2])
    try:
        with victim.held(), torch.no_grad(), seen:
            victim.logits(x[:2].to(victim.device))
    except Exception:  # noqa: BLE001  # a user's model may refuse so few, or be out of sight
        return []
    if not seen.channels:
        return []
    return [
        Finding.of(
            "grey images in a colour net",
            f"the images have 1 channel, which the model's arithmetic spreads over {seen.channels} "
            "(normalisation by as many means, say): it sees grey images where it was made for "
            "colours",
            "Give images in colour (--rgb), or a model for grey ones",
        )
    ]


class _Spread(TorchFunctionMode):
    """Notes over how many channels the input's one was spread."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.shape, self.channels = x.shape, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in ARITHMETIC and isinstance(out, Tensor):
            given = [v for v in args if isinstance(v, Tensor)]
            alike = [v for v in given if v.shape == self.shape]
            # One value a channel; a map of attention has as many as the image.
            per_channel = [v for v in given if v.numel() == out.shape[1:2].numel() > 1]
            if len(given) == 2 and alike and per_channel and out.dim() == 4:
                self.channels = out.shape[1]
        return out
