"""How many examples go through a model at once: by the memory that a pass of a few takes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hauberk.victims.memory import MEMORY_ERRORS, Growth, free_memory, out_of_memory
from hauberk.victims.victim import Victim, usual_batch

SHARE = 0.5
"""Share of the free memory that a batch may take."""

MOST = {"cpu": 2**31}
"""Bytes that a batch may take at most; larger ones are no faster."""

MOST_ELSEWHERE = 2**34

FEW = 4
"""Examples of a trial."""

KEPT = 1.25
"""A pass takes so much of what it keeps for the way back: gradients on that way come to it."""

log = logging.getLogger("hauberk")


@dataclass(frozen=True)
class BatchSize:
    """A number of examples, and why it is that one.

    Attributes:
        size: examples through the model at once; of a stochastic model, passes.
        why: in a few words.
        each: bytes that an example takes, there and back; None if that was not measured.
        free: bytes that were free.
        limited: whether memory made it smaller than usual.

    Example:
        >>> print(BatchSize(58, "measured", 36_000_000, 12_000_000_000, True))
        batches of 58 (an example takes 36 MB, of 12 GB that are free)
    """

    size: int
    why: str
    each: int | None = None
    free: int | None = None
    limited: bool = False

    def __str__(self) -> str:
        why = self.why
        if self.each is not None:
            why = f"an example takes {_text(self.each)}"
            why += "" if self.free is None else f", of {_text(self.free)} that are free"
        return f"batches of {self.size} ({why})"


def choose(
    victim: Victim, x: Tensor, n: int, kept: int | None = None, sharing: int = 1
) -> BatchSize:
    """How many examples of ``x`` (N, ...) go through a model at once.

    What was asked for wins. Otherwise a pass of four examples, there and back, is made, and as many
    are taken as fit into half of the free memory, at most 2 GB on a CPU and 16 GB elsewhere; never
    more than are usual for inputs of that size (:func:`~hauberk.victims.victim.usual_batch`), and
    where fewer fit, a power of two. For eight examples or fewer no trial is made. Random numbers of
    torch are left as they are, and so are the victim's counted passes.

    Args:
        n: examples of the run.
        kept: what a resumed run was begun with: no more than that are taken.
        sharing: processes that share the memory.

    Example:
        >>> choose(Victim(torch.nn.Linear(2, 2), batch_size=5), torch.rand(3, 2), 3).size
        5
    """
    if victim.asked_batch is not None:
        return BatchSize(victim.asked_batch, "as asked")
    usual = usual_batch(victim.device, x[:1])
    most = usual if kept is None or kept < 1 else min(usual, kept)
    why = "as is usual for inputs of this size" if most == usual else "as the run was begun"
    if min(n, most) <= 2 * FEW:
        return BatchSize(most, why)
    each, free = measured(victim, x), free_memory(victim.device)
    if each is None:
        return BatchSize(most, why)
    room = MOST.get(victim.device.type, MOST_ELSEWHERE)
    if free is not None:
        room = min(room, int(SHARE * free / sharing))
    size = max(1, min(most, room // max(1, each)))
    if size < most:  # a power of two: the next trial, which differs a little, finds the same
        size = 1 << (size.bit_length() - 1)
    return BatchSize(size, why if size == most else "measured", each, free, size < most)


def measured(victim: Victim, x: Tensor) -> int | None:
    """Bytes that an example takes on its way through a model and back; None if that is not known.

    On a GPU the most that was allocated; on a CPU the larger of two: what a pass keeps for the way
    back, a quarter more, and how much further the process's resident memory grows with four
    examples than with one.

    Args:
        x: inputs, of which the first four are taken, again and again if there are fewer.
    """
    counts, device = (victim.forwards, victim.backwards), victim.device
    few = x[torch.arange(FEW) % len(x)].to(device)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            _pass(victim, few[:1])  # makes things ready
            meter = _METERS.get(device.type)
            found = None if meter is None else meter(victim, few)
    except MEMORY_ERRORS as error:
        return 2**62 if out_of_memory(error) else None
    except Exception:  # noqa: BLE001  # whatever a model raises, the run says it better
        return None
    finally:
        victim.forwards, victim.backwards = counts
    return None if found is None else -(-found // victim.draws)


def tell(batch: BatchSize, name: str = "") -> BatchSize:
    """The same, in the log: as a line that the commands print where memory decided."""
    level = logging.INFO if batch.limited else logging.DEBUG
    log.log(level, "%s%s", f"{name}: " if name else "", batch)
    return batch


def _pass(victim: Victim, x: Tensor) -> None:
    with victim.held(), torch.enable_grad():
        u = x.detach().clone().requires_grad_(True)
        victim.gradient(victim.logits(u).sum(), None, u)


def _on_cpu(victim: Victim, few: Tensor) -> int:
    model: Any = victim.model
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with Growth() as one:
        _pass(victim, few[:1])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value), Growth() as all_:
        _pass(victim, few)
    grown = 0
    if one.bytes is not None and all_.bytes is not None:
        grown = (all_.bytes - one.bytes) // (FEW - 1)
    return max(int(KEPT * sum(kept.values())) // FEW, grown)


def _on_gpu(victim: Victim, few: Tensor) -> int:
    device = victim.device
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    _pass(victim, few)
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) // FEW


_METERS: dict[str, Callable[[Victim, Tensor], int]] = {"cpu": _on_cpu, "cuda": _on_gpu}


def _text(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.2g} {name}" if size < 100 * unit else f"{size / unit:.0f} {name}"
    return f"{size} bytes"
