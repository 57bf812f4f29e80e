"""Does a model's output depend on the rest of the batch, and on account of which module?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase as _Norm

from hauberk.maths.seeding import seeded
from hauberk.threats.box import Box
from hauberk.victims.victim import Victim

ROWS = 8
"""Inputs of the batches that are compared."""
SAME = 1e-5
"""Share of the largest logit by which the same row of batches of one shape may differ; in coarse
dtypes, a few of their roundings. Nearly all kernels make no difference at all."""
ROUNDED = 1e-3
"""Share of the largest logit by which batches of other sizes may differ without a second look."""

Call = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Dependence:
    """What was found of a model whose output depends on the batch.

    Attributes:
        change: the largest difference of a logit.
        when: what was changed, in words.
        cause: the module that brings it about, in words; empty if it was not found.
    """

    change: float
    when: str
    cause: str = ""

    def __str__(self) -> str:
        why = f": {self.cause}" if self.cause else ""
        return f"by up to {self.change:.2g} {self.when}{why}"


def dependence(victim: Victim, x: Tensor, box: Box, seed: int, steady: bool) -> Dependence | None:
    """Whether the output of a model for an input depends on the other inputs of the batch.

    First the other inputs are changed and the batch keeps its shape, which no rounding can explain;
    then inputs are shown alone, in halves and in reverse, where a difference must be beyond
    rounding, also that of a copy of the model in float64 if there can be one.

    Args:
        x: a few clean inputs, ``(N, ...)``.
        seed: of the model's random numbers, the same in all passes.
        steady: whether the model repeats itself; of others, and of those that draw random numbers,
            only the first is looked at.
    """
    rows = _batch(x.detach(), box)

    def ask(inputs: Tensor) -> Tensor:
        with victim.held(), torch.no_grad(), seeded(seed, victim.device):
            return victim.logits(inputs.to(victim.device)).detach().double().cpu()

    try:
        before = ask(rows)
        share = max(SAME, 4 * torch.finfo(victim.dtype).eps * (victim.dtype.itemsize < 4))
        for _ in range(2):
            change, scale = _change(before, ask(rows))
            if change > share * scale:
                return None  # it does not repeat itself, not even under seeds
        found = _with_other_neighbours(ask, rows, box, share)
        if found is None and steady and victim.draws == 1:
            found = _in_other_batches(ask, rows, before, victim)
    except Exception:  # noqa: BLE001  # a user's model may refuse such batches
        return None
    if found is None:
        return None
    return Dependence(found.change, found.when, _cause(victim, found, seed))


def _batch(x: Tensor, box: Box) -> Tensor:
    """A batch of inputs; where there are few, mirrored ones beside them."""
    rows = x[:ROWS]
    while len(rows) < 4:
        rows = torch.cat([rows, _mirrored(rows, box)])
    return rows


def _mirrored(x: Tensor, box: Box) -> Tensor:
    lo, hi = box.bounds(x)
    turned = (lo + hi) - x
    return torch.where(turned.isfinite(), turned, -x).maximum(lo).minimum(hi)


@dataclass(frozen=True)
class Found:
    """A change, its occasion, two batches, and the row of one input in both."""

    change: float
    when: str
    one: Tensor
    other: Tensor
    row: tuple[int, int]


def _with_other_neighbours(ask: Call, rows: Tensor, box: Box, share: float) -> Found | None:
    lo, hi = (v.expand_as(rows) for v in box.bounds(rows))
    low = torch.where(lo.isfinite(), lo, torch.zeros_like(rows))
    middle = torch.where((lo + hi).isfinite(), lo / 2 + hi / 2, torch.zeros_like(rows))
    dim = middle + (rows - middle) / 2
    row = len(rows) // 2  # a dependence on those before it alone, or those after, shows as well
    most: Found | None = None
    # A faint input as well: the largest value of a batch may be that of any other input.
    for kept in (rows, dim):
        whole = _with_row(rows, row, kept)
        before = ask(whole)[row : row + 1]
        for others in (_mirrored(rows, box), low, dim):
            batch = _with_row(others, row, kept)
            change, scale = _change(before, ask(batch)[row : row + 1])
            if change > share * scale and (most is None or change > most.change):
                when = "when the other inputs of the batch change"
                most = Found(change, when, whole, batch, (row, row))
    return most


def _with_row(batch: Tensor, row: int, kept: Tensor) -> Tensor:
    made = batch.clone()
    made[row] = kept[row]
    return made


def _in_other_batches(ask: Call, rows: Tensor, before: Tensor, victim: Victim) -> Found | None:
    half = len(rows) // 2
    trials = (
        ("when it is shown alone", rows[:1], [0]),
        ("when it is shown in half of the batch", rows[:half], [*range(half)]),
        ("when the order of the batch changes", rows.flip(0), [*range(len(rows))][::-1]),
    )
    share = max(ROUNDED, 16 * torch.finfo(victim.dtype).eps)
    for when, batch, at in trials:
        try:
            after = ask(batch)
        except Exception:  # noqa: BLE001  # some models take batches of one size only
            continue
        change, scale = _change(before[at], after)
        if change > share * scale and not _rounding(victim, rows, batch, at):
            return Found(change, when, rows, batch, (at[0], 0))
    return None


def _rounding(victim: Victim, rows: Tensor, batch: Tensor, at: list[int]) -> bool:
    """Whether a copy of the model in float64 does not show the difference."""
    try:
        copy = deepcopy(victim.model).double()
        with Victim(copy).held(), torch.no_grad():
            wide, part = (copy(v.to(victim.device).double()).cpu() for v in (rows, batch))
    except Exception:  # noqa: BLE001  # not every model can be copied
        return False
    change, scale = _change(wide[at], part)
    return wide.dtype == torch.float64 and change <= 1e-6 * scale


def _change(a: Tensor, b: Tensor) -> tuple[float, float]:
    """The largest difference, and the largest number."""
    both = a.double().nan_to_num(), b.double().nan_to_num()
    return float((both[0] - both[1]).abs().max()), float(torch.stack(both).abs().max())


def _cause(victim: Victim, found: Found, seed: int) -> str:
    """The innermost module that gives an input another output for the same input of its own."""
    model = victim.model
    if not isinstance(model, nn.Module):
        return ""
    logs: list[dict[str, tuple[Tensor, Tensor]]] = []
    for inputs, at in zip((found.one, found.other), found.row, strict=True):
        log: dict[str, tuple[Tensor, Tensor]] = {}
        size = len(inputs) * victim.draws
        with (
            _recorded(model, log, at, size), victim.held(), torch.no_grad(),
            seeded(seed, victim.device),
        ):  # fmt: skip
            victim.logits(inputs.to(victim.device))
        logs.append(log)
    guilty = [
        name
        for name, (given, got) in logs[0].items()
        if name in logs[1] and _alike(given, logs[1][name][0]) and not _alike(got, logs[1][name][1])
    ]
    inner = [
        n for n in guilty if not any(o != n and o.startswith(f"{n}." if n else "") for o in guilty)
    ]
    if not inner:
        return ""
    module = model.get_submodule(inner[0])
    kind = type(module).__name__
    what = f"module '{inner[0]}' ({kind})" if inner[0] else f"the forward of {kind} itself"
    if isinstance(module, _Norm) and module.running_mean is None:
        what += ", which normalises by the statistics of the batch (track_running_stats is off)"
    return what


def _alike(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    change, scale = _change(a, b)
    eps = torch.finfo(a.dtype).eps if a.is_floating_point() else 0.0
    return change <= max(1e-5, 4 * eps) * scale


@contextmanager
def _recorded(
    model: nn.Module, log: dict[str, tuple[Tensor, Tensor]], row: int, size: int
) -> Iterator[None]:
    """Notes what each module is given and returns for one row of the batch, at its first call."""

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def note(_: Any, given: Any, got: Any) -> None:
            first = next((v for v in given if isinstance(v, Tensor)), None) if given else None
            last = got
            if isinstance(got, tuple | list):
                last = next((v for v in got if isinstance(v, Tensor)), None)
            if name in log or not isinstance(first, Tensor) or not isinstance(last, Tensor):
                return
            if first.dim() and last.dim() and len(first) == len(last) == size:
                log[name] = first[row].detach().clone(), last[row].detach().clone()

        return note

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
