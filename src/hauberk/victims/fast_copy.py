"""A copy of a model that computes faster, in which attacks search; the model itself decides."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.victims.victim import Victim

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The words for precisions."""

LOSS_SCALE = 1024.0
"""Factor of losses on their way back in float16, where small gradients would vanish."""


@dataclass(frozen=True, kw_only=True)
class SearchOn:
    """What attacks search on instead of the model as it is; nothing of it by default.

    Args:
        precision: ``fp32``, ``bf16`` or ``fp16``; None for the model's own.
        channels_last: whether images lie in memory channel by channel.
        compile: whether the copy goes through ``torch.compile``. Softened gradients, which need
            the single operations, are computed on the copy uncompiled.

    Raises:
        InputError: for another word.

    Example:
        >>> SearchOn(precision="bf16").facts()
        {'search_precision': 'bf16'}
    """

    precision: str | None = None
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise InputError(f"search_precision is '{self.precision}': choose one of {known}")

    def __bool__(self) -> bool:
        return self != SearchOn()

    def facts(self) -> dict[str, Any]:
        """What a manifest records of it: what differs from the model as it is."""
        found = {
            "search_precision": self.precision,
            "channels_last": self.channels_last,
            "compile": self.compile,
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """From what a manifest records."""
        return cls(
            precision=manifest.get("search_precision"),
            channels_last=bool(manifest.get("channels_last")),
            compile=bool(manifest.get("compile")),
        )


class FastCopy(Victim):
    """A copy of a victim's model to search on: its logits are float32, or the model's own dtype.

    The model itself is left as it is. Inputs are cast inside, so attacks move float32 numbers, and
    gradients come back to them. What a copy finds has to be judged by the model: where its largest
    logits are nearer to each other than they are rounded (:attr:`rounding`), it knows nothing.

    Args:
        victim: the model as it is; a plain one.
        on: how the copy differs.

    Raises:
        InputError: if the model cannot be copied.

    Example:
        >>> fast = FastCopy(Victim(nn.Linear(4, 3)), SearchOn(precision="bf16"))
        >>> fast.model.weight.dtype, fast.logits(torch.rand(2, 4)).dtype
        (torch.bfloat16, torch.float32)
    """

    def __init__(self, victim: Victim, on: SearchOn) -> None:
        self.own, self.on = victim, on
        try:
            model = copy.deepcopy(getattr(victim.model, "_orig_mod", victim.model))
        except Exception as error:  # whatever a user's model raises
            line = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise InputError(
                f"the model cannot be copied to search on ({line[0]}): leave out "
                f"{', '.join(on.facts())}"
            ) from error
        if on.precision is not None:
            model = model.to(PRECISIONS[on.precision])
        if on.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for p in model.parameters():
            p.requires_grad_(False)
        # Batches shrink as points leave: one graph for all sizes.
        fast: Any = torch.compile(model, dynamic=True) if on.compile else model
        super().__init__(fast, victim.asked_batch)
        self.boundary, self.goal, self.exact = victim.boundary, victim.goal, victim.exact
        self.take(victim.rows, victim.row_bytes)

    @property
    def rounding(self) -> float:
        """Share of the largest logit by which logits of the copy may be off by rounding alone."""
        return 0.0 if self.dtype == self.own.dtype else torch.finfo(self.dtype).eps

    def wrong(self, logits: Tensor, y: Tensor) -> Tensor:
        """True where the decision is not ``y`` by more than rounding, ``(B,)``; NaN is wrong.

        A search that left a point as soon as it seems to fool would leave many that do not.
        """
        if not self.rounding or self.boundary != "decision":
            return super().wrong(logits, y)
        scale = logits.detach().double().abs().nan_to_num(nan=0.0, posinf=0.0).amax(1)
        return (self.margin(logits, y) <= self.rounding * scale).logical_not_()

    @contextmanager
    def counted(self) -> Iterator[Self]:
        """Passes of the block count as passes of the model."""
        before = self.forwards, self.backwards
        try:
            yield self
        finally:
            self.own.forwards += self.forwards - before[0]
            self.own.backwards += self.backwards - before[1]

    def logits(self, x: Tensor, soften: float = 0.0) -> Tensor:
        given = x.to(self.dtype)
        if self.on.channels_last and given.dim() == 4:
            given = given.contiguous(memory_format=torch.channels_last)
        out = super().logits(given, soften)
        return out if out.dtype in (torch.float32, torch.float64) else out.float()

    def gradient(self, head: Tensor, slope: Tensor | None, u: Tensor, keep: bool = False) -> Tensor:
        if self.dtype != torch.float16 or not head.requires_grad:
            return super().gradient(head, slope, u, keep)
        scaled = torch.ones_like(head) if slope is None else slope
        return super().gradient(head, scaled * LOSS_SCALE, u, keep).div_(LOSS_SCALE)


def fast_copy(victim: Victim, on: SearchOn, x: Tensor) -> tuple[FastCopy | None, str]:
    """A copy that works, or None and why there is none.

    Args:
        x: a few inputs to try it on, ``(N, ...)``.
    """
    if type(victim) is not Victim or not isinstance(victim.model, nn.Module):
        return None, "only one plain model can be copied to search on"
    if victim.stiff is not None:
        return None, victim.stiff
    try:
        fast = FastCopy(victim, on)
        with fast.held(), torch.enable_grad():
            u = x.to(fast.device).clone().requires_grad_(True)
            logits = fast.logits(u)
            finite = fast.gradient(logits.sum(), None, u).isfinite().all() & logits.isfinite().all()
    except Exception as error:  # noqa: BLE001  # whatever a model raises in another precision
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0]
    if not bool(finite):
        return None, "its numbers are too large for that precision"
    fast.forwards = fast.backwards = 0
    return fast, ""
