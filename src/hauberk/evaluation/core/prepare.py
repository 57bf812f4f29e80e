"""Models and data of a run, checked once before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.__about__ import __version__
from hauberk.data.examples import Changed, Examples, crc_of, gone_through
from hauberk.engine.inputs import check_kinds, check_values, units
from hauberk.errors import InputError
from hauberk.evaluation.core.channels_check import greyed
from hauberk.evaluation.core.data_check import odd_data
from hauberk.evaluation.core.findings import Finding, tell
from hauberk.evaluation.core.labels_check import fewer_named, misfits
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.preflight import preflight, require_by_itself
from hauberk.evaluation.core.sample import MOST, Sample, spread_rows
from hauberk.evaluation.core.sizes_check import PAIRED, odd_sizes
from hauberk.threats.base import Box, Threat
from hauberk.victims.alone import Alone
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
        findings: what was noticed about models and data.
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
    findings: tuple[Finding, ...] = ()
    steady: bool = True
    threads: Threads = field(default_factory=Threads.of_torch)
    copy: FastCopy | None = field(default=None, repr=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings, one line each."""
        return tuple(map(str, self.findings))

    @property
    def victim(self) -> Victim:
        """The first model, or the only one."""
        return next(iter(self.victims.values()))

    def few(self, many: int) -> Tensor:
        """The first inputs, at most so many, ``(B, ...)``; of groups, those of the first group."""
        return self.x[:many] if self.y.dim() == 1 else self.x[:1].flatten(0, 1)[:many]

    def facts(self) -> dict[str, Any]:
        """What the manifest records of data, surroundings and random numbers."""
        alone = [name for name, victim in self.victims.items() if isinstance(victim, Alone)]
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
            "findings": [found.plain() for found in self.findings],
            **({"alone": alone} if alone else {}),
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
    message = units(few, box)
    found = [Finding.of("inputs look normalised", *message.split(". ", 1))] if message else []
    counts: dict[str, int] = {}
    steady = True
    for name, victim in wrapped.items():
        with chosen.used():
            looked = preflight(
                victim, few, y, options.seed, box=box, batch_dependent=options.batch_dependent
            )  # fmt: skip
        victims[name], counts[name] = looked.victim, looked.classes
        looked.victim.take(sizes[name].size, sizes[name].each)
        steady &= looked.steady
        found += [each.under(name) if len(wrapped) > 1 else each for each in looked.findings]
    if len(set(counts.values())) > 1:
        several = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"the models differ in their number of classes ({several}): choose others")
    classes = next(iter(counts.values()))
    if not isinstance(images, Tensor):
        images = gone_through(images, lambda some, start: check_values(some, box, start))
    with chosen.used():
        found += _seen_in_a_sample(victims, images, y, box, options)
    tell(found)
    return Setting(
        victims, images, y, ids, box, options.seed, options.batch_size, classes, tuple(found),
        steady, chosen,
    )  # fmt: skip


def look_at(
    models: Mapping[str, Model], images: Examples, labels: Tensor, options: RunOptions,
    threats: Sequence[Threat] = (),
) -> None:  # fmt: skip
    """Warn of what a run would warn of, about models, data and sizes, where nothing is a run.

    Args:
        models: by name; images: ``(N, ...)`` in the box; labels: ``(N,)``; threats: to be attacked.

    Raises:
        InputError: for a model whose output depends on the rest of the batch.
    """
    box = Box.of(options.box)
    victims = {name: Victim.of(model, options.batch_size) for name, model in models.items()}
    for victim in victims.values():
        require_by_itself(victim, images[:LOOK], box, options.seed)
    found = _seen_in_a_sample(victims, images, labels, box, options)
    found += odd_sizes(threats, *_spread(images, labels, PAIRED), box)
    tell(found)


def _spread(x: Examples, y: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Some of the examples, spread over all, of which not too many are read at once."""
    rows = spread_rows(len(x), most)
    return torch.cat([x[some] for some in rows.split(LOOK)]), y[rows]


def _seen_in_a_sample(
    victims: Mapping[str, Victim], images: Examples, y: Tensor, box: Box, options: RunOptions
) -> list[Finding]:
    """What is odd about the data, and about what each model says of them."""
    some, labels = _spread(images, y, MOST)
    found: list[Finding] = []
    for name, victim in victims.items():
        sample = Sample.of(victim, some, labels, box)
        each = [*misfits(sample, _weights(options)), *greyed(victim, some)]
        found += [one.under(name) if len(victims) > 1 else one for one in each]
    names = (options.manifest or {}).get("class_names") or ()
    return [*found, *fewer_named(names, sample.classes), *odd_data(some, y, sample.classes, box)]


def with_sizes(setting: Setting, threats: Sequence[Threat]) -> Setting:
    """The setting with what is odd about the sizes of a question's threats."""
    found: list[Finding] = []
    if threats and setting.y.dim() == 1:
        found = odd_sizes(threats, *_spread(setting.x, setting.y, PAIRED), setting.box)
    tell(found)
    return replace(setting, findings=(*setting.findings, *found))


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


def _weights(options: RunOptions) -> bool:
    """False if the manifest says that some model was given no weights."""
    given = (options.manifest or {}).get("weights", "")
    return None not in (given if isinstance(given, list) else [given])
