"""The one run: blocks of examples, the tasks of a question, and a ledger of what was found."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.errors import InputError
from hauberk.evaluation.core.identity import fingerprints, snapshot
from hauberk.evaluation.core.judge import Judge
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import Model, Setting, prepare
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.same import require_same_decisions
from hauberk.evaluation.core.task import Block, Task, do, first
from hauberk.store.files import read_json
from hauberk.store.ledger import MANIFEST, Ledger, MemoryLedger, Store
from hauberk.victims.threads import tell

R = TypeVar("R")

CLEAN = "clean-{:05d}"
"""Key of a block's clean part."""


def run(
    question: Question[R],
    models: Mapping[str, Model],
    images: Examples,
    labels: Tensor,
    options: RunOptions,
) -> R:
    """Ask a question of models and data: whatever ``options.out`` does not hold yet is done.

    Raises:
        InputError: for bad input, before anything is written; for another run in ``options.out``.
    """
    before, kept = snapshot(models), (recorded(options) or {}).get("threads")
    setting = prepare(models, images, labels, options, kept)
    with tell(setting.threads).used():
        return _run(question, setting, options, before)


def _run(
    question: Question[R], setting: Setting, options: RunOptions,
    before: Mapping[str, Mapping[str, str]],
) -> R:  # fmt: skip
    """The run on models and data as they were prepared; ``before``: :func:`snapshot` of models."""
    question, setting = question.bind(setting)
    tasks = list(question.tasks(setting))
    for task in tasks:
        task.check(setting)
    size = options.block or question.block
    facts = {"kind": question.kind, **question.facts(), "block": size}
    store = open_store(facts, setting, options, question.parts(), before=before)
    each = sum(task.weight for task in tasks)
    total = each * len(setting.x) + question.extra_weight(setting)
    reporter = Reporter(options.progress, list(setting.victims.values()), max(total, 1e-30))
    question.before(setting, store, reporter)
    judge = question.judge(setting)
    for block in blocks(setting, store, size, judge):
        with reporter.share(each * len(block.x)):
            for task in question.plan(block, tasks):
                weight = task.weight * len(block.x)
                take(task, block, judge, reporter.within(weight, task.label))
                reporter.finish(weight, task.label)
    question.after(setting, store, judge, reporter)
    summary = question.summarise(store)
    store.write_summary(summary)
    return question.result(store, summary)


def open_store(
    facts: Mapping[str, Any], setting: Setting, options: RunOptions, parts: Any = (), *,
    before: Mapping[str, Mapping[str, str]],
) -> Store:  # fmt: skip
    """The ledger of a run, in ``options.out`` or in memory; new, or the one that is resumed.

    Args:
        facts: what the manifest says of the question asked.
        setting: models and data, whose fingerprints and facts it holds.
        parts: what has functions or models of its own (:func:`fingerprints`).
        before: :func:`snapshot` of the models before they were first run.

    Raises:
        InputError: for another run in ``options.out``.
    """
    manifest = {
        **facts,
        **fingerprints(
            setting.victims,
            parts,
            before=before,
            recorded=recorded(options),
            x=setting.few(2),
        ),
        **setting.facts(),
        **(options.manifest or {}),
    }
    if options.out is None:
        return MemoryLedger(manifest)
    return Ledger.create(options.out, manifest, resume=options.resume)


def recorded(options: RunOptions) -> dict[str, Any] | None:
    """The manifest of the run that is resumed, if there is one that can be read."""
    if not options.resume or options.out is None:
        return None
    file = Path(options.out) / MANIFEST
    try:
        return read_json(file) if file.is_file() else None
    except (InputError, OSError):
        return None


def take(task: Task, block: Block, judge: Judge, report: Any) -> None:
    """Do a task if the store lacks its part and it is called for, and take the part in."""
    key = task.part(block.number)
    if not block.store.has(key):
        index = task.due(block)
        if index is None:
            return
        do(task, block, index, judge, report)
    block.taken.append((task, key, block.store.part(key)))


def blocks(setting: Setting, store: Store, size: int, judge: Judge) -> Iterator[Block]:
    """Blocks of examples, their clean parts written, or compared with what the store holds."""
    for number, start in enumerate(range(0, len(setting.x), size)):
        rows = slice(start, start + size)
        begun = perf_counter()
        x, y, ids = setting.x[rows], setting.y[rows], setting.ids[rows]
        clean = judge.clean(x, y, ids)
        key = CLEAN.format(number)
        known = store.has(key)
        if not known:
            columns = {
                "id": first(ids).numpy(),
                "label": first(y).cpu().numpy(),
                "margin": clean.margin.numpy(),
                "correct": clean.correct.numpy(),
                **clean.columns,
            }
            columns["seconds"] = np.full(len(x), (perf_counter() - begun) / max(1, len(x)))
            store.write(key, columns, {"originals": x.detach().cpu().contiguous(), **clean.tensors})
        part = store.part(key)
        if known and setting.steady:  # what was just written needs no second reading
            margins = store.tensors(key).get("margins")
            require_same_decisions(part, margins, first(ids), clean, setting.victim.dtype)
        yield Block(setting, store, number, rows, x, clean, part)


def originals(store: Store, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and ids of a clean part; those of groups as groups.

    Raises:
        KeyError: if it holds no inputs.
    """
    part, tensors = store.part(key), store.tensors(key)
    y, ids = (torch.from_numpy(part[name].astype(np.int64)) for name in ("label", "id"))
    return tensors["originals"], tensors.get("labels", y), tensors.get("ids", ids)
