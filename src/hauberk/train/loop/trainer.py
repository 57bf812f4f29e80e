"""One training from its first step to its last."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hauberk.__about__ import __version__
from hauberk.errors import InputError, TrainingError
from hauberk.evaluation.core.preflight import stiffness
from hauberk.threats.base import Box
from hauberk.train.fit import Trained
from hauberk.train.loop.arguments import require_strategy, require_words
from hauberk.train.loop.checkpoint import Folder
from hauberk.train.loop.epochs import Epochs
from hauberk.train.loop.examples import Data, split
from hauberk.train.loop.loader import Loader
from hauberk.train.loop.logs import Progress, Tally
from hauberk.train.loop.natural import Natural
from hauberk.train.loop.nonfinite import Guard
from hauberk.train.loop.optimisers import Average, make_optimiser
from hauberk.train.loop.passes import ONE_EXAMPLE, Passes, all_finite, require_loss
from hauberk.train.loop.processes import Processes, seed_step
from hauberk.train.loop.validation import require_margins
from hauberk.train.settings import Settings
from hauberk.train.strategies.base import Batch, Loss, Strategy
from hauberk.victims.victim import Victim


class Run:
    """Everything of one call of :func:`hauberk.train.fit`."""

    def __init__(
        self, model: nn.Module, data: Data, strategy: Strategy, settings: Settings, *,
        validation: int | Data, box: Box, device: str | torch.device | None, devices: int,
        nodes: int, compile: bool, channels_last: bool,
    ) -> None:  # fmt: skip
        if not isinstance(model, nn.Module):
            raise InputError(f"the model must be a torch.nn.Module, not {type(model).__name__}")
        require_strategy(strategy)
        self.model, self.strategy, self.settings, self.box = model, strategy, settings, box
        if not all_finite(model.parameters()):
            raise InputError("a weight of the model is NaN or infinite: start from finite weights")
        train, held = split(data, validation, box, model)
        if settings.patience is not None and not len(held):
            raise InputError("patience needs validation examples: give validation=")
        if settings.select == "margin":
            if not len(held):
                raise InputError("select='margin' needs validation examples: give validation=")
            require_margins(strategy.threats)
        settings.augmentation.check(train.x)
        home, dtype = Victim(model).device, train.x.dtype
        if settings.precision == "bf16-mixed" and dtype != torch.float32:
            raise InputError(f"the model is in {dtype}: bf16-mixed wants float32, so call .float()")
        # 32-true leaves everything as it is, float64 too.
        self.processes = Processes(device, devices, nodes, settings.precision, home)
        if settings.minibatch < self.processes.world:
            raise InputError(
                f"minibatch is {settings.minibatch} for {self.processes.world} processes: "
                "give at least one example to each"
            )
        self.device = self.processes.device
        self.ids = train.ids
        self.guard = Guard(self)
        self.config = {
            "hauberk_version": ".".join(__version__.split(".")[:2]),
            **settings.describe(),
            "strategy": strategy.describe(),
            "box": str(box),
            "data": train.describe(),
            "validation": held.describe(),
            "model": {k: list(v.shape) for k, v in model.state_dict().items()},
        }
        model.to(self.device)
        if channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = self.make_optimiser(model)
        self.natural: Natural | None = None
        if settings.natural is not None:
            self.natural = Natural(model, settings.natural, self.make_optimiser)
        fast: Any = torch.compile(model) if compile else model
        # A model that was compiled before the library was imported cannot be compiled again.
        self.wrapped = self.processes.fabric.setup_module(fast, _reapply_compile=compile)
        self.passes = Passes(self.wrapped)
        self.victim = self.processes.victim(fast, settings.attack_mode)
        if strategy.softens or (len(held) and strategy.threats):
            stiffness(self.victim, train.x[:4], settings.seed)
            if strategy.softens and self.victim.stiff is not None:
                raise InputError(
                    f"the model's gradients cannot be softened ({self.victim.stiff}): take attacks "
                    "without soften"
                )
        self.loader = Loader(
            train.x, train.y, settings.minibatch, settings.augmentation, box, settings.seed,
            self.device, channels_last,
        )  # fmt: skip
        some = slice(0, 4)
        strategy.check(train.x[some].to(self.device), train.y[some].to(self.device), box)
        self.memory = strategy.begin(len(train), self.device)
        if any(len(table) != len(train) for table in self.memory.values()):
            raise InputError(
                f"{type(strategy).__name__}.begin made a table without a row for each of "
                f"{len(train)} examples"
            )
        self.average = Average(model, settings.ema) if settings.ema else None
        self.step, self.total = 0, settings.epochs * self.loader.steps
        self.rates = settings.rates
        self.tally = Tally(self.device)
        self.epochs = Epochs(self, held)
        self.folder: Folder | None = None
        self.on_step: Callable[[Progress], None] | None = None

    def make_optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the settings for a model."""
        s = self.settings
        return make_optimiser(
            s.optimiser, model.parameters(), s.learning_rate, s.momentum, s.weight_decay, s.nesterov
        )

    def tell(
        self,
        progress: Callable[[Progress], None] | None,
        on_epoch: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        """Whom to call, in the first process."""
        if self.processes.rank == 0:
            self.on_step, self.epochs.on_epoch = progress, on_epoch

    def open(
        self, out: str | Path | None, resume: bool, every_minutes: float, spec: str | None
    ) -> None:
        """Take the folder, and go on from its checkpoint if there is one."""
        require_words(out, every_minutes)
        if resume and out is None:
            raise InputError("resume needs the folder of the run: give out=")
        if not every_minutes > 0:
            raise InputError(f"every_minutes is {every_minutes}: give more than 0")
        self.every, self.saved = 60 * every_minutes, time.monotonic()
        self.out = None if out is None else Path(out)
        found: Any = None
        if self.out is not None and self.processes.rank == 0:
            try:
                self.folder = Folder(self.out, self.config, resume)
                found = self.folder.load()
            except InputError as error:
                found = error
        found = self.processes.from_first(found)
        if found is not None:
            self.restore(found)
        elif self.folder is not None:
            self.folder.begin(self.model, spec)
            self.save()
        self.epochs.open()

    def close(self) -> None:
        """Free the folder, whatever ended the run."""
        self.epochs.close()
        if self.folder is not None:
            self.folder.close()

    def __call__(self) -> Trained:
        """Train to the end."""
        with self.processes.seeded():
            while self.step < self.total and not self.epochs.over:
                self.epoch(self.step // self.loader.steps)
        return self.epochs.finish()

    def epoch(self, epoch: int) -> None:
        """The rest of an epoch, and what follows it."""
        self.model.train()
        self.wrapped.train()
        for index in range(self.step % self.loader.steps, self.loader.steps):
            begun, attacked = time.perf_counter(), self.victim.seconds
            self.advance(epoch, index)
            self.tally.seconds += time.perf_counter() - begun
            self.tally.attacking += self.victim.seconds - attacked
            last = not self.step % self.loader.steps
            late = time.monotonic() - self.saved >= self.every
            if last and self.natural is not None:
                self.natural.mix(self.model)
            if last or late:
                self.guard.require_finite()
            if late and not last:
                self.save()
            if self.on_step is not None:
                done = self.epochs.passes(self.tally)
                what = f"epoch {epoch + 1}/{self.settings.epochs}"
                self.on_step(Progress(self.step / self.total, what, *done))
        self.epochs.ended(epoch)
        self.save()

    def advance(self, epoch: int, index: int) -> None:
        """One optimiser step."""
        rows = self.loader.rows(epoch, index)
        mine = self.processes.share(rows)
        seed_step(self.settings.seed, self.step, self.processes.rank)
        self.optimiser.zero_grad(set_to_none=True)
        value = torch.zeros((), device=self.device)
        x, y, ids = self.loader.take(mine, epoch)
        # A strategy may write into the batch that it is given.
        clean = x if self.natural is None else x.clone()
        if len(mine):
            batch = Batch(
                model=self.wrapped, victim=self.victim, x=x, y=y, ids=ids, step=self.step,
                epoch=epoch, progress=self.step / self.total, seed=self.settings.seed,
                box=self.box,
            )  # fmt: skip
            before = self.victim.forwards, self.victim.backwards
            loss = self.learn(batch)
            value = loss.value.detach()
            # A strategy that goes around batch.model may tell its passes itself.
            forwards = max(self.passes.forwards, loss.forwards)
            backwards = max(self.passes.backwards, loss.backwards)
            self.tally.forwards += self.victim.forwards - before[0] + forwards
            self.tally.backwards += self.victim.backwards - before[1] + backwards
            for name, log in loss.logs.items():
                self.tally.add(name, log, len(mine))
        weight = len(mine) / len(rows)
        value = self.processes.average(self.model, value, weight)
        self.guard.note(value)
        if self.processes.rank == 0:  # the mean over all is known to each
            self.tally.add("loss", value, len(rows))
        self.move(self.model, self.optimiser)
        if self.average is not None:
            self.average.update(self.model)
        self.processes.spread(self.memory, rows)
        if self.natural is not None:
            value = self.natural.learn(clean, y, self.processes, weight)
            self.move(self.natural.twin, self.natural.optimiser)
            self.guard.note(value)
            self.tally.forwards += len(mine)
            self.tally.backwards += len(mine)
        self.step += 1

    def move(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """A step along the gradients that the parameters hold."""
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.settings.clip)
        if self.settings.schedule is not None:
            rate = self.rates.at(self.step, self.loader.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
        optimiser.step()

    def learn(self, batch: Batch) -> Loss:
        """The strategy's loss, and its gradient."""
        self.passes.clear()
        try:
            with self.processes.apart(self.wrapped):
                found = self.strategy.loss(batch, self.memory)
                loss = require_loss(found, type(self.strategy).__name__)
                self.processes.fabric.backward(loss.value)
        except ValueError as error:
            if ONE_EXAMPLE not in str(error):
                raise
            raise TrainingError(
                "a normalisation layer was given one example in train mode, and has no statistics "
                "of one: give more examples, a larger minibatch, or attack_mode='eval'",
                self.ids[batch.ids.cpu()].tolist(),
            ) from error
        return loss

    def save(self) -> None:
        """Write the checkpoint, if there is a folder."""
        self.saved = time.monotonic()
        if self.folder is None:
            return
        self.folder.save(
            {
                "step": self.step,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": None if self.average is None else self.average.state,
                "natural": None if self.natural is None else self.natural.state(),
                "memory": self.memory,
                "tally": self.tally.state(),
                "epochs": self.epochs.state(),
            }
        )

    def restore(self, found: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.step = found["step"]
        self.model.load_state_dict(found["model"])
        self.optimiser.load_state_dict(found["optimiser"])
        if self.average is not None:
            for name, value in found["average"].items():
                self.average.state[name].copy_(value)
        if self.natural is not None:
            self.natural.restore(found["natural"])
        for name, table in found["memory"].items():
            self.memory[name].copy_(table)
        if self.processes.rank == 0:  # what others had added up in this epoch is lost to its logs
            self.tally.restore(found["tally"])
        self.epochs.restore(found["epochs"])
