"""The options that every kind of run has, declared and documented once."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar, get_args

import numpy as np
from torch import Tensor

from hauberk.data.examples import ReadByRows
from hauberk.data.labelled import holds_labels, labelled
from hauberk.data.labels import to_labels
from hauberk.errors import InputError
from hauberk.evaluation.core.progress import Progress
from hauberk.evaluation.core.shard import Shard
from hauberk.threats.base import Box
from hauberk.victims.alone import BatchDependent
from hauberk.victims.threads import require_threads

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS = """\
        box: valid range of the inputs, ``(lo, hi)`` of numbers or tensors.
        seed: of all random numbers.
        ids: names of the examples, ``(N,)`` different integers; 0 to N - 1 by default. Random
            numbers are made from them, so an example keeps its draws in another selection.
        batch_size: examples through the model at once. If left out, by a trial of the memory that
            a pass takes (:func:`hauberk.victims.batches.choose`); halved if memory runs out.
        threads: of the CPU. If left out, ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` if one is set,
            else found by timing a pass at 1, 2, 4, ... up to what torch is set to (see
            :func:`hauberk.victims.threads.choose`). Torch is left as it was. Another number may
            change results in their last digits.
        out: folder of the ledger; nothing is written without it.
        resume: continue the run that ``out`` holds.
        progress: called now and then with a
            :class:`~hauberk.evaluation.core.progress.Progress`.
        manifest: further facts to record, such as where model and data come from.
        batch_dependent: what becomes of a model whose output for an input depends on the rest of
            the batch: ``refuse``, or ``alone``, which shows it each example by itself.
        block: examples whose results are written together: an interrupted run repeats at most one
            part of so many.
        devices: processes on each machine, to which blocks are dealt, where torchrun began them.
        nodes: machines.
        shard: ``"2/4"`` or ``(2, 4)``: do the second of four shares of the blocks alone; their
            ledgers become one by :func:`hauberk.merge`."""


class RunFields(TypedDict, total=False):
    """The keyword arguments of :class:`RunOptions`, for functions that pass them on."""

    box: Box | Sequence[Any]
    seed: int
    ids: Tensor | None
    batch_size: int | None
    threads: int | None
    out: str | Path | None
    resume: bool
    progress: Callable[[Progress], None] | None
    manifest: Mapping[str, Any] | None
    batch_dependent: BatchDependent
    block: int | None
    devices: int
    nodes: int
    shard: str | tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out, whatever it asks; see :data:`OPTIONS`.

    Example:
        >>> RunOptions(seed=3).seed
        3
    """

    box: Box | Sequence[Any] = (0.0, 1.0)
    seed: int = 0
    ids: Tensor | None = field(default=None, repr=False)
    batch_size: int | None = None
    threads: int | None = None
    out: str | Path | None = None
    resume: bool = False
    progress: Callable[[Progress], None] | None = field(default=None, repr=False)
    manifest: Mapping[str, Any] | None = field(default=None, repr=False)
    batch_dependent: BatchDependent = "refuse"
    block: int | None = None
    devices: int = 1
    nodes: int = 1
    shard: str | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        Box.of(self.box)  # refuses what is none
        if isinstance(self.seed, int) and not -(2**63) <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}: give a number below 2 to the 63rd")
        require_threads(self.threads)
        if self.batch_dependent not in get_args(BatchDependent):
            known = " or ".join(get_args(BatchDependent))
            raise InputError(f"batch_dependent is {self.batch_dependent!r}: give {known}")
        if self.resume and self.out is None:
            raise InputError("resume continues a run on disk: give out=, its folder")
        if self.block is not None and (not isinstance(self.block, int) or self.block < 1):
            raise InputError(f"block is {self.block}: give 1 or more examples")
        for name in ("devices", "nodes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}: give 1 or more")
        if self.nodes > 1 and self.out is None:
            raise InputError(
                "several machines need a folder that all of them see: give out=, e.g. runs/x"
            )
        Shard.of(self.shard)  # refuses what is none

    def require_whole(self, what: str) -> None:
        """Refuse several processes and shards, of work that is not made of blocks.

        Args:
            what: the work, as the start of a sentence.

        Raises:
            InputError: if they are asked for.
        """
        if self.devices * self.nodes > 1 or Shard.of(self.shard):
            raise InputError(f"{what} in one process: leave devices, nodes and shard out")


def with_run_options(function: Callable[P, R]) -> Callable[P, R]:
    """Spell out ``**run``, the :class:`RunFields`, in the signature and docstring of a function.

    An unknown keyword is a TypeError that lists the known ones.
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    kinds = RunFields.__annotations__
    common = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name]
        )
        for f in fields(RunOptions)
        if f.name not in signature.parameters
    ]
    known = [p.name for p in (*own, *common)]
    order = [p.name for p in own if p.kind is not p.KEYWORD_ONLY]

    @wraps(function)
    def checked(*args: P.args, **given: P.kwargs) -> R:
        if unknown := [name for name in given if name not in known]:
            raise TypeError(
                f"{function.__name__}() has no argument '{unknown[0]}': it has {', '.join(known)}"
            )
        return function(*_with_data(order, args, given), **given)

    checked.__signature__ = signature.replace(parameters=[*own, *common])  # type: ignore[attr-defined]
    lines = [
        line if not line.strip().startswith("run: ") else OPTIONS
        for line in (function.__doc__ or "").split("\n")
    ]
    checked.__doc__ = "\n".join(lines)
    return checked


def _with_data(order: list[str], args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments, images and labels as tensors or :class:`ReadByRows`; `given` is changed.

    A data set or loader, given as `images`, holds its labels: they are left out, whether what
    follows them is given by its place or by its name.
    """
    if order[1:3] != ["images", "labels"]:
        return args
    rest = list(args)
    images = rest[1] if len(rest) > 1 else given.get("images")
    if 2 < len(rest) < len(order) and holds_labels(images) and rest[2] is not None:
        rest.insert(2, None)  # what stands in the place of the labels follows them
    labels = rest[2] if len(rest) > 2 else given.get("labels")
    plain = isinstance(images, Tensor | ReadByRows) and images.dtype.is_floating_point
    if images is None or (plain and isinstance(labels, Tensor)):
        return args
    if plain:
        found: Any = images, to_labels(np.asarray(labels), "labels", None)
    else:
        data = labelled(images, labels, given.get("box", (0.0, 1.0)))
        found = data.images, data.labels
        if holds_labels(images) and given.get("ids") is None:
            given["ids"] = data.ids
        if data.class_names is not None:
            facts = {"class_names": list(data.class_names)}
            given["manifest"] = facts | dict(given.get("manifest") or {})
    for place, (name, value) in enumerate(zip(("images", "labels"), found, strict=True), 1):
        if place < len(rest):
            rest[place] = value
        else:
            given[name] = value
    return tuple(rest)
