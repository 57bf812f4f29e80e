"""Accuracy of models on common corruptions, by kind and severity, and what it adds up to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from time import perf_counter
from typing import Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.data import open_data
from hauberk.data.corruptions import KINDS, SEVERITIES, Corruption
from hauberk.data.examples import Examples
from hauberk.data.sources.cifar10c import FILES
from hauberk.errors import InputError, note
from hauberk.evaluation.core.identity import snapshot
from hauberk.evaluation.core.judge import PointJudge
from hauberk.evaluation.core.options import RunFields, RunOptions, with_run_options
from hauberk.evaluation.core.prepare import Model, Setting, prepare
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.run import manifest_of
from hauberk.evaluation.core.summary import RunResult, fingerprint, interval, share
from hauberk.evaluation.core.together import open_store, recorded
from hauberk.report.tables.corruptions import table
from hauberk.store.ledger import Store
from hauberk.victims.threads import tell

Images = Callable[[str, int, slice], Tensor]
"""The corrupted images ``(N, C, H, W)`` of a kind and a severity."""

Right = npt.NDArray[np.bool_]

CLEAN = "clean"


@dataclass(frozen=True)
class CorruptionTable(RunResult):
    """Accuracies on corrupted images; shares of all examples, whatever the model says when clean.

    Example:
        >>> one = {"mean": 0.5, "interval": [0.4, 0.6], "mce": None}
        >>> found = CorruptionTable({"models": {"net": one}})
        >>> found.mean, found.mce
        ({'net': 0.5}, {'net': None})
    """

    summary: dict[str, Any]
    store: Store | None = field(default=None, repr=False, compare=False)
    tabulate: ClassVar[Any] = staticmethod(table)

    @property
    def mean(self) -> dict[str, float]:
        """By model, the mean accuracy over kinds and severities."""
        return {name: model["mean"] for name, model in self.summary["models"].items()}

    @property
    def mce(self) -> dict[str, float | None]:
        """By model, the mean corruption error beside the baseline's; None without a baseline."""
        return {name: model["mce"] for name, model in self.summary["models"].items()}

    def accuracy(self, model: str, kind: str, severity: int) -> float:
        """Accuracy of a model on one kind at one severity."""
        kinds = self.summary["models"][model]["kinds"]
        return float(kinds[kind]["severities"][str(severity)])


@with_run_options
def corruption_table(
    models: Mapping[str, Model],
    images: Examples,
    labels: Tensor,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    severities: Sequence[int] = SEVERITIES,
    baseline: str | None = None,
    files: str | Path | None = None,
    **run: Unpack[RunFields],
) -> CorruptionTable:
    """Accuracy of models under every kind of corruption at every severity.

    Args:
        models: by name.
        images: clean ones, ``(N, C, H, W)`` in [0, 1], grey or RGB, 8 x 8 pixels or more.
        labels: ``(N,)`` integer classes.
        kinds: names of :data:`hauberk.data.corruptions.KINDS`; all fifteen by default.
        severities: of 1 to 5.
        baseline: the model beside whose errors the others' are measured (mCE).
        files: the folder of CIFAR-10-C's published files, to read them instead of corrupting
            ``images``; ``ids`` are then the positions of the images in CIFAR-10's test set.
        run: the options of every run, see :class:`~hauberk.evaluation.core.options.RunOptions`.

    Raises:
        InputError: for bad input, before anything is written; for files of other images; for
            another run in ``out``.

    Source: Hendrycks & Dietterich 2019 (corruption error); Maini et al. 2020, Table 7 (accuracy).

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
        >>> found = corruption_table({"net": net}, x, y, kinds=["fog"], severities=[1, 5])
        >>> sorted(found.summary["models"]["net"]["kinds"]["fog"]["severities"])
        ['1', '5']
    """
    options = RunOptions(**run)
    cells = _cells(kinds, severities, files is not None)
    if baseline is not None and baseline not in models:
        named = ", ".join(models)
        raise InputError(f"baseline is '{baseline}': give the name of a model, one of {named}")
    options.require_whole("corruptions are counted")
    before, known = snapshot(models), recorded(options) or {}
    setting = prepare(
        models, images, labels, options, known.get("threads"), known.get("batch_sizes")
    )
    made = _made(setting) if files is None else _read(files, setting)
    for rows in _portions(setting):  # refuses images and folders before anything is written
        made(*cells[0], rows)
    facts = {
        "kind": "corruptions",
        "kinds": list(dict.fromkeys(kind for kind, _ in cells)),
        "severities": list(dict.fromkeys(severity for _, severity in cells)),
        "images": "made" if files is None else "files",
    }
    store = open_store(
        manifest_of(facts, setting, options, before=before, known=recorded(options)), options
    )
    reporter = Reporter(options.progress, list(setting.victims.values()), len(cells) + 1)
    with tell(setting.threads).used():
        _look(setting, store, CLEAN, lambda rows: setting.x[rows])
        reporter.finish(1, CLEAN)
        for kind, severity in cells:
            _look(setting, store, f"{kind}-{severity}", partial(made, kind, severity))
            reporter.finish(1, f"{kind}:{severity}")
    summary = summarise(store, list(setting.victims), cells, baseline)
    store.write_summary(summary)
    note(summary.get("warnings") or ())
    return CorruptionTable(summary, store)


def _cells(kinds: Sequence[str], severities: Sequence[int], files: bool) -> list[tuple[str, int]]:
    """Every kind at every severity, each checked."""
    if not kinds or not severities:
        raise InputError("give at least one kind and one severity of corruption")
    for what, values in (("kind", kinds), ("severity", severities)):
        if len(set(values)) < len(values):
            given = ", ".join(map(str, values))
            raise InputError(f"a {what} of {given} is given twice: give each once")
    for kind in kinds:
        for severity in severities:
            Corruption(next(iter(KINDS)) if files and kind in FILES else kind, severity)
    return [(kind, severity) for kind in kinds for severity in severities]


def _made(setting: Setting) -> Images:
    def make(kind: str, severity: int, rows: slice) -> Tensor:
        return Corruption(kind, severity)(setting.x[rows], setting.ids[rows], setting.seed)

    return make


def _read(folder: str | Path, setting: Setting) -> Images:
    first, last = int(setting.ids.min()), int(setting.ids.max())

    def read(kind: str, severity: int, rows: slice) -> Tensor:
        spec = f"cifar10c:{kind}:{severity}"
        data = open_data(spec, folder, limit=last - first + 1, offset=max(0, first))
        if first < 0 or len(data) <= last - first:
            raise InputError(f"{spec} holds too few images for the ids {first} to {last}")
        if not torch.equal(data.labels[setting.ids - first], setting.y.cpu()):
            raise InputError(
                f"{spec}: its labels are not those of the images: give CIFAR-10's test images in "
                "their order (--data cifar10:test), with ids"
            )
        return data.images[setting.ids[rows] - first]

    return read


def _look(setting: Setting, store: Store, key: str, images: Callable[[slice], Tensor]) -> None:
    """Write which decisions are right on some images, unless the store has it."""
    if store.has(key):
        return
    begun = perf_counter()
    correct: list[list[npt.NDArray[Any]]] = [[] for _ in setting.victims]
    for rows in _portions(setting):
        x = images(rows).to(setting.x.dtype)
        for found, (name, victim) in zip(correct, setting.victims.items(), strict=True):
            judge = PointJudge(victim, setting.box)
            try:
                verdict = judge.clean(x, setting.y[rows], setting.ids[rows])
            except InputError as error:
                raise InputError(f"{name} on {key}: {error}") from error
            found.append(verdict.correct.numpy())
    columns = {"id": setting.ids.numpy()}
    columns |= {f"correct_{k}": np.concatenate(found) for k, found in enumerate(correct)}
    many = len(setting.x)
    columns["seconds"] = np.full(many, (perf_counter() - begun) / many)
    store.write(key, columns)


def _portions(setting: Setting) -> Iterator[slice]:
    """Rows that are in memory together: a batch of the model that takes most."""
    size = max(victim.batch_size(setting.few(1)) for victim in setting.victims.values())
    for start in range(0, len(setting.x), size):
        yield slice(start, start + size)


def summarise(
    store: Store, names: Sequence[str], cells: Sequence[tuple[str, int]], baseline: str | None
) -> dict[str, Any]:
    """What the parts of a run add up to: ``summary.json``.

    Args:
        store: with a part ``clean`` and one ``KIND-SEVERITY`` for each cell.
        names: of the models, in the order of the columns ``correct_0``, ``correct_1``, ...
        cells: kinds and severities.
        baseline: a name, or None.

    Example:
        >>> from hauberk.store.ledger import MemoryLedger
        >>> store = MemoryLedger({})
        >>> for key, right in (("clean", [True, True]), ("fog-1", [True, False])):
        ...     store.write(key, {"id": [0, 1], "correct_0": right, "seconds": [0.0, 0.0]})
        >>> summarise(store, ["net"], [("fog", 1)], None)["models"]["net"]["mean"]
        0.5
    """
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    severities = list(dict.fromkeys(severity for _, severity in cells))
    parts = {cell: store.part(f"{cell[0]}-{cell[1]}") for cell in cells}
    right = {
        name: np.stack([part[f"correct_{k}"].astype(bool) for part in parts.values()])
        for k, name in enumerate(names)
    }
    clean = store.part(CLEAN)
    errors = {name: dict(_errors(right[name], cells)) for name in names}
    base = errors[baseline] if baseline is not None else None
    draws = sum(dict(store.manifest.get("model_draws") or {}).values()) or len(names)
    seconds = sum(float(np.sum(part["seconds"])) for part in (clean, *parts.values()))
    return {
        "hauberk_version": store.manifest.get("hauberk_version"),
        "kind": "corruptions",
        "n": len(clean["id"]),
        "seed": store.manifest.get("seed"),
        "finished": True,
        "manifest_sha256": fingerprint(store.manifest),
        "warnings": list(store.manifest.get("warnings") or ()),
        "cost": {
            "forwards": draws * len(clean["id"]) * (1 + len(cells)), "backwards": 0,
            "seconds": seconds, "judge_forwards": 0,
        },
        "images": store.manifest.get("images"),
        "kinds": kinds,
        "severities": severities,
        "baseline": baseline,
        "models": {
            name: _model(clean[f"correct_{k}"].astype(bool), right[name], cells, errors[name], base)
            for k, name in enumerate(names)
        },
    }  # fmt: skip


def _errors(right: Right, cells: Sequence[tuple[str, int]]) -> Iterator[tuple[str, float]]:
    """By kind, the share of wrong decisions at all severities together."""
    for kind in dict.fromkeys(kind for kind, _ in cells):
        rows = [row for row, cell in enumerate(cells) if cell[0] == kind]
        yield kind, float(1 - right[rows].mean())


def _model(
    clean: Right,
    right: Right,
    cells: Sequence[tuple[str, int]],
    errors: Mapping[str, float],
    base: Mapping[str, float] | None,
) -> dict[str, Any]:
    """What the summary says of one model."""
    found: dict[str, Any] = {}
    for kind, error in errors.items():
        rows = {severity: row for row, (name, severity) in enumerate(cells) if name == kind}
        found[kind] = {
            "mean": 1 - error,
            "interval": mean_interval(right[list(rows.values())].mean(0)),
            "ce": None if base is None or not base[kind] else error / base[kind],
            "severities": {str(s): float(right[row].mean()) for s, row in rows.items()},
        }
    relative = [kind["ce"] for kind in found.values()]
    known = base is not None and None not in relative
    return {
        "clean_accuracy": share(clean),
        "clean_interval": interval(clean),
        "mean": float(right.mean()),
        "interval": mean_interval(right.mean(0)),
        "mce": sum(relative) / len(relative) if known else None,
        "kinds": found,
    }


def mean_interval(values: npt.NDArray[Any]) -> list[float] | None:
    """The 95% interval of the mean of numbers in [0, 1], by the normal law; None of fewer than two.

    An image's decisions under several corruptions depend on each other, so that images are
    counted, each with its mean, and not decisions.

    Args:
        values: one number an image, ``(N,)``.

    Example:
        >>> [round(end, 3) for end in mean_interval(np.array([0.0, 0.5, 0.5, 1.0]))]
        [0.1, 0.9]
    """
    if len(values) < 2:
        return None
    mean, half = float(values.mean()), float(values.std(ddof=1)) / sqrt(len(values))
    half *= NormalDist().inv_cdf(0.975)
    return [max(0.0, mean - half), min(1.0, mean + half)]
