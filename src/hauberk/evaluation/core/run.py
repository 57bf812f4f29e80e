"""The one run: blocks of examples, the tasks of a question, and a ledger of what was found."""

from collections.abc import Iterable, Iterator, Mapping
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hauberk.data.examples import Examples
from hauberk.errors import note
from hauberk.evaluation.core import given
from hauberk.evaluation.core.identity import fingerprints, snapshot
from hauberk.evaluation.core.judge import Judge
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import Model, Setting, prepare, with_sizes
from hauberk.evaluation.core.progress import Reporter
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.same import require_same_decisions
from hauberk.evaluation.core.shard import Shard
from hauberk.evaluation.core.task import Block, Task, do, first
from hauberk.evaluation.core.together import (
    Summed,
    answered,
    gathered,
    note_idle,
    opened,
    quiet,
    recorded,
)
from hauberk.machines.group import Group, together
from hauberk.store.ledger import Store
from hauberk.victims.memory import give_back
from hauberk.victims.threads import is_settled, tell

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
    with together(options.devices, options.nodes).run() as group, quiet(group):
        before, known = snapshot(models), recorded(options) or {}
        kept = known.get("threads")
        if not (group.is_first or is_settled(options.threads)):
            kept = group.hear("threads")
        setting = prepare(models, images, labels, options, kept, known.get("batch_sizes"))
        group.say("threads", setting.threads.number)
        with tell(setting.threads).used():
            return _run(question, setting, options, before, group)


def _run(
    question: Question[R], setting: Setting, options: RunOptions,
    before: Mapping[str, Mapping[str, str]], group: Group,
) -> R:  # fmt: skip
    """The run on models and data as they were prepared; ``before``: :func:`snapshot` of models."""
    setting = with_sizes(setting, question.sizes())
    question, setting = question.bind(setting)
    tasks = list(question.tasks(setting))
    for task in tasks:
        task.check(setting)
    size, shard = options.block or question.block, Shard.of(options.shard)
    if shard:
        question.in_shards()
    mine = shard.blocks(-(-len(setting.x) // size))
    arrays = given.recorded(question, setting.x.shape)
    facts = {"kind": question.kind, **question.facts(), "block": size, **shard.facts()}
    facts |= given.facts(arrays)

    def manifest(known: Mapping[str, Any] | None) -> dict[str, Any]:
        return manifest_of(facts, setting, options, question.parts(), before=before, known=known)

    note_idle(group, len(mine), size)
    with opened(group, options, manifest) as store:
        each = sum(task.weight for task in tasks)
        examples = sum(len(setting.y[k * size : (k + 1) * size]) for k in mine)
        total = each * examples + (0.0 if shard else question.extra_weight(setting))
        progress = options.progress if group.is_alone else Summed(options.progress, group)
        reporter = Reporter(progress, list(setting.victims.values()), max(total, 1e-30))
        if group.is_first:
            given.keep(store, arrays)
            question.before(setting, store, reporter)
        group.after_first("begun")
        judge = question.judge(setting)
        for block in blocks(setting, store, size, judge, group.deal(mine)):
            with reporter.share(each * len(block.x)):
                for task in question.plan(block, tasks):
                    weight = task.weight * len(block.x)
                    take(task, block, judge, reporter.within(weight, task.label))
                    reporter.finish(weight, task.label)
            del block  # before the next one is read
            give_back()
        gathered(group, store, reporter)
        if group.is_first and not shard:
            question.after(setting, store, judge, reporter)
        store, summary = answered(group, store, options, question.summarise)
        note(summary.get("warnings") or ())
        return question.result(store, summary)


def manifest_of(
    facts: Mapping[str, Any], setting: Setting, options: RunOptions, parts: Any = (), *,
    before: Mapping[str, Mapping[str, str]], known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The manifest of a run.

    Args:
        facts: what it says of the question asked.
        setting: models and data, whose fingerprints and facts it holds.
        parts: what has functions or models of its own (:func:`fingerprints`).
        before: :func:`snapshot` of the models before they were first run.
        known: what the manifest of the run in ``options.out`` says.
    """
    return {
        **facts,
        **fingerprints(
            setting.victims,
            parts,
            before=before,
            recorded=known,
            x=setting.few(2),
        ),
        **setting.facts(),
        **(options.manifest or {}),
    }


def take(task: Task, block: Block, judge: Judge, report: Any) -> None:
    """Do a task if the store lacks its part and it is called for, and take the part in."""
    key = task.part(block.number)
    if not block.store.has(key):
        index = task.due(block)
        if index is None:
            return
        do(task, block, index, judge, report)
    block.taken.append((task, key, block.store.part(key)))


def blocks(
    setting: Setting, store: Store, size: int, judge: Judge, numbers: Iterable[int]
) -> Iterator[Block]:
    """Blocks of examples, their clean parts written, or compared with what the store holds."""
    for number in numbers:
        yield _block(setting, store, number, slice(number * size, (number + 1) * size), judge)


def _block(setting: Setting, store: Store, number: int, rows: slice, judge: Judge) -> Block:
    """One block, in a function of its own so that nothing of it stays when it is done."""
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
    return Block(setting, store, number, rows, x, clean, part)


def originals(store: Store, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and ids of a clean part; those of groups as groups.

    Raises:
        KeyError: if it holds no inputs.
    """
    part, tensors = store.part(key), store.tensors(key)
    y, ids = (torch.from_numpy(part[name].astype(np.int64)) for name in ("label", "id"))
    return tensors["originals"], tensors.get("labels", y), tensors.get("ids", ids)
