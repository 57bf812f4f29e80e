"""Models and data of a run, checked once before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.__about__ import __version__
from hauberk.data.examples import Changed, Examples, crc_of, gone_through
from hauberk.engine.inputs import check_kinds, check_values, units
from hauberk.errors import InputError, warn
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.preflight import preflight
from hauberk.threats.base import Box
from hauberk.victims.batches import choose as choose_batch
from hauberk.victims.batches import tell as tell_batch
from hauberk.victims.fast_copy import FastCopy
from hauberk.victims.threads import Threads, choose
from hauberk.victims.victim import Victim

Model = nn.Module | Victim

LOOK = 256
"""Inputs that the models are tried on before all are read, where they are not in memory."""


@dataclass(frozen=True)
class Setting:
    """What a question is asked of: models by name, and examples.

    Attributes:
        victims: the models, wrapped; a stochastic one is averaged over draws.
        x: clean inputs ``(N, ...)`` in the box; of groups ``(G, M, ...)``. They need not be in
            memory: what is asked for, ``x[rows]``, is read.
        y: labels ``(N,)`` int64; of groups ``(G, M)``.
        ids: of the examples, like ``y``.
        box, seed, batch_size: as in :class:`RunOptions`.
        classes: of every model.
        warnings: what was noticed about the models.
        steady: whether all of them decide alike in identical calls.
        threads: of the CPU, that the models are to be run with.
        copy: a faster copy of the one model, to search on; None to search on the model itself.
    """

    victims: Mapping[str, Victim]
    x: Examples = field(repr=False)
    y: Tensor = field(repr=False)
    ids: Tensor = field(repr=False)
    box: Box
    seed: int = 0
    batch_size: int | None = None
    classes: int = 2
    warnings: tuple[str, ...] = ()
    steady: bool = True
    threads: Threads = field(default_factory=Threads.of_torch)
    copy: FastCopy | None = field(default=None, repr=False)

    @property
    def victim(self) -> Victim:
        """The first model, or the only one."""
        return next(iter(self.victims.values()))

    def few(self, many: int) -> Tensor:
        """The first inputs, at most so many, ``(B, ...)``; of groups, those of the first group."""
        return self.x[:many] if self.y.dim() == 1 else self.x[:1].flatten(0, 1)[:many]

    def facts(self) -> dict[str, Any]:
        """What the manifest records of data, surroundings and random numbers."""
        return {
            "hauberk_version": __version__,
            "seed": self.seed,
            "box": [v.tolist() if isinstance(v, Tensor) else v for v in (self.box.lo, self.box.hi)],
            "n": len(self.x),
            "images_crc": crc_of(self.x),
            "labels_crc": crc_of(self.y),
            "ids_crc": crc_of(self.ids),
            "torch_version": torch.__version__,
            "device": str(self.victim.device),
            "batch_size": self.batch_size,
            "batch_sizes": {name: victim.rows for name, victim in self.victims.items()},
            "threads": self.threads.number,
            "draws": max(victim.draws for victim in self.victims.values()),
            "model_draws": {name: victim.draws for name, victim in self.victims.items()},
            "warnings": list(self.warnings),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def prepare(
    models: Mapping[str, Model], images: Examples, labels: Tensor, options: RunOptions,
    threads: int | None = None, batches: Mapping[str, int] | None = None,
) -> Setting:  # fmt: skip
    """Check models and data, and wrap the models.

    Args:
        models: one or several by name.
        images: ``(N, ...)``, floats in the box; labels: ``(N,)`` integer classes. Images that are
            not in memory are gone through once, after a look at the first of them.
        threads, batches: what a resumed run was begun with, batch sizes by model.

    Raises:
        InputError: for data or a model that nothing can be said about.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x, y = torch.rand(3, 2, 2), torch.tensor([0, 1, 1])
        >>> setting = prepare({"net": net}, x, y, RunOptions())
        >>> setting.classes, setting.ids.tolist()
        (2, [0, 1, 2])
    """
    if not models:
        raise InputError("no model: give at least one")
    box = Box.of(options.box)
    wrapped = {name: Victim.of(model, options.batch_size) for name, model in models.items()}
    if not len(images):
        raise InputError("there are no examples: check --data, --limit and --offset")
    y, ids = check_kinds(images, labels, box), _ids(options.ids, len(images))
    # What rounding alone put outside is clipped, wherever it is read.
    images = box.near(images) if isinstance(images, Tensor) else Changed(images, box.near)
    few = images if isinstance(images, Tensor) else images[:LOOK]
    check_values(few, box)
    sizes = {
        name: choose_batch(victim, few, len(images), (batches or {}).get(name), options.devices)
        for name, victim in wrapped.items()
    }
    for name, victim in wrapped.items():
        tell_batch(sizes[name], name if len(wrapped) > 1 else "")
        victim.take(sizes[name].size, sizes[name].each)
    chosen = choose(list(wrapped.values()), few, options.threads, threads)
    victims: dict[str, Victim] = {}
    warned = [message] if (message := units(few, box)) else []
    for message in warned:
        warn(message)
    counts: dict[str, int] = {}
    steady = True
    for name, victim in wrapped.items():
        with chosen.used():
            looked = preflight(victim, few, y, options.seed)
        victims[name], counts[name] = looked.victim, looked.classes
        looked.victim.take(sizes[name].size, sizes[name].each)
        steady &= looked.steady
        prefix = f"{name}: " if len(wrapped) > 1 else ""
        warned += [prefix + text for text in looked.warnings]
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"the models differ in their number of classes ({found}): choose others")
    classes = next(iter(counts.values()))
    if not isinstance(images, Tensor):
        images = gone_through(images, lambda some, start: check_values(some, box, start))
    return Setting(
        victims, images, y, ids, box, options.seed, options.batch_size, classes, tuple(warned),
        steady, chosen,
    )  # fmt: skip


def box_of(manifest: Mapping[str, Any]) -> Box:
    """The box that a manifest records, as :meth:`Setting.facts` writes it.

    Example:
        >>> box_of({"box": ["-inf", [0.5, "inf"]]}).hi
        tensor([0.5000,    inf], dtype=torch.float64)
    """

    edges = [np.array(value, dtype=np.float64) for value in manifest["box"]]
    return Box(*(torch.from_numpy(edge) if edge.ndim else float(edge) for edge in edges))


def _ids(ids: Tensor | None, n: int) -> Tensor:
    if ids is None:
        return torch.arange(n)
    ids = torch.as_tensor(ids).cpu().long()
    if ids.shape != (n,) or len(ids.unique()) != n:
        raise InputError(f"ids must be {n} different integers, one per example")
    return ids
