"""The training loop: a model, data and a strategy in; a trained model and its history out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.data.dataset import Dataset
from hauberk.threats.base import Box
from hauberk.train.loop.logs import Progress
from hauberk.train.loop.schedule import Schedule
from hauberk.train.settings import Settings
from hauberk.train.strategies.base import Strategy


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes:
        model: the model that was passed in, in eval mode, with the selected weights.
        history: a record of numbers per epoch: loss, logs, accuracies, rate, passes, seconds.
        summary: the selected epoch and its accuracies, passes and seconds in all.
        paths: the files written, by what they are; empty without ``out``.
    """

    model: nn.Module
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    paths: dict[str, Path] = field(default_factory=dict)


def fit(
    model: nn.Module,
    data: Dataset | tuple[Tensor, Tensor],
    strategy: Strategy,
    *,
    epochs: int,
    minibatch: int = 128,
    optimiser: str | Callable[..., Any] = "adam",
    learning_rate: float = 1e-3,
    schedule: Schedule = None,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip: float | None = None,
    ema: float | None = None,
    natural: float | None = None,
    augment: Sequence[str] = (),
    validation: int | Dataset | tuple[Tensor, Tensor] = 0,
    select: str = "union",
    validate_steps: int = 20,
    patience: int | None = None,
    seed: int = 0,
    box: Box | Sequence[Any] = (0.0, 1.0),
    attack_mode: str = "eval",
    out: str | Path | None = None,
    resume: bool = False,
    every_minutes: float = 5.0,
    device: str | torch.device | None = None,
    devices: int = 1,
    nodes: int = 1,
    precision: str = "32-true",
    compile: bool = False,
    channels_last: bool = False,
    progress: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    model_spec: str | None = None,
) -> Trained:
    """Train a model in place as a strategy says.

    Everything random hangs on (seed, epoch or step, example), so a run that was killed at any
    moment and resumed ends where an uninterrupted one does, within rounding.

    Args:
        data: a data set, or images ``(N, ...)`` in the box and labels ``(N,)``.
        minibatch: examples per step, over all processes; the last one of an epoch may be smaller,
            or hold one more: a single example left over joins it, for batch normalisation.
        optimiser: ``adam``, ``sgd``, or a function of the list of parameters that returns one.
        schedule: None for a constant rate; ``[(epoch, rate), ...]`` for straight lines between;
            ``("steps", [(step, factor), ...])`` or ``("epochs", ...)`` for steps down.
        clip: largest norm of the gradient. ema: decay of an average of the weights, which is what
            is validated and kept.
        natural: share of natural training, whose steps on the clean minibatches are projected on
            those of the strategy after each epoch (Jiang & Singh 2024, with 0.5). A pass each way
            more per example; not with ema, which would miss the mixtures.
        augment: ``"pad-crop:4"`` and ``"flip"``, for images ``(N, C, H, W)``.
        validation: how many of the first examples to hold out (of examples grouped by class,
            as many from all over), or data of its own; 0 for none.
        select: the weights that are kept: those of the best epoch by accuracy on the ``union`` of
            the strategy's threats (PGD and softened Auto-PGD of ``validate_steps``) or on ``clean``
            examples (so too without threats), by mean ``margin`` in its lp balls (AN-PGD, the least
            over the threats in units of their radii), or the ``last``, as without validation.
        patience: stop after so many epochs without a better one.
        attack_mode: ``eval``, or ``train`` for attacks on the model in train mode; its running
            statistics are left alone.
        out: folder for checkpoints, weights, history and TensorBoard files; ``resume`` continues
            the run in it (or begins it), ``every_minutes`` a checkpoint is written, and each epoch.
        device: where to train; where the model is by default. devices, nodes: processes on each of
            so many machines, begun with ``torchrun``; each takes its share of every minibatch.
            Batch normalisation and dropout see a process's own share.
        precision: ``32-true`` or ``bf16-mixed`` (attacks too); float64 models stay in float64.
        progress, on_epoch: called after each step with :class:`Progress`, and after each epoch with
            its record, in the first process.
        model_spec: import path of the model, for ``model.yaml``; the class by default.

    Raises:
        InputError: before epoch 0, for whatever of this cannot work; for a full disk, and for a
            strategy that returns what is no loss.
        TrainingError: if the loss or a weight is not finite.
    """
    from hauberk.train.loop.arguments import require_callable
    from hauberk.train.loop.trainer import Run

    require_callable("progress", progress)
    require_callable("on_epoch", on_epoch)
    settings = Settings(
        epochs=epochs, minibatch=minibatch, optimiser=optimiser, learning_rate=learning_rate,
        schedule=schedule, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
        clip=clip, ema=ema, natural=natural, augment=augment, select=select,
        validate_steps=validate_steps, patience=patience, seed=seed, attack_mode=attack_mode,
        precision=precision,
    )  # fmt: skip
    run = Run(
        model, data, strategy, settings, validation=validation, box=Box.of(box), device=device,
        devices=devices, nodes=nodes, compile=compile, channels_last=channels_last,
    )  # fmt: skip
    run.tell(progress, on_epoch)
    try:
        run.open(out, resume, every_minutes, model_spec)
        return run()
    finally:
        run.close()
