"""One training from its first step to its last."""

import time
from typing import Any

import torch
from torch import nn

from hauberk.__about__ import __version__
from hauberk.errors import InputError, TrainingError
from hauberk.evaluation.core.bound import with_model
from hauberk.evaluation.core.identity import fingerprints
from hauberk.evaluation.core.progress import Progress
from hauberk.threats.base import Threat
from hauberk.train.loop.arguments import shown
from hauberk.train.loop.ema import EMA
from hauberk.train.loop.epochs import Epochs, record_of
from hauberk.train.loop.examples import Data, LabelledExamples, split
from hauberk.train.loop.loader import Loader
from hauberk.train.loop.logs import Tally
from hauberk.train.loop.natural import Natural
from hauberk.train.loop.nonfinite import NonFinite
from hauberk.train.loop.optimisers import make_optimiser
from hauberk.train.loop.output import Output
from hauberk.train.loop.passes import ONE_EXAMPLE, PassCounter, all_finite, require_loss
from hauberk.train.loop.processes import Processes, seed_step
from hauberk.train.loop.validation import Validation, gaps, require_margins
from hauberk.train.result import Trained
from hauberk.train.settings import Options
from hauberk.train.strategies.base import Batch, Loss, Strategy
from hauberk.victims.softening_check import stiffness
from hauberk.victims.threads import Threads, choose, tell
from hauberk.victims.victim import Victim


class Trainer:
    """What one call of :func:`hauberk.train.fit` builds, runs and closes.

    Args:
        model: Trained in place.
        data: Examples to train on.
        strategy: How a minibatch becomes a loss.
        options: All keywords of ``fit``.

    Raises:
        InputError: for whatever of this cannot work.
    """

    def __init__(self, model: nn.Module, data: Data, strategy: Strategy, options: Options) -> None:
        strategy = with_model(strategy, model)
        train, held = examples_of(model, data, strategy, options)
        self.model, self.strategy, self.options, self.ids = model, strategy, options, train.ids
        self.box, self.rates = options.bounds, options.rates
        home = Victim(model).device
        self.processes = Processes(
            options.device, options.devices, options.nodes, options.precision, home
        )
        if options.minibatch < self.processes.world:
            raise InputError(
                f"minibatch is {options.minibatch} for {self.processes.world} processes: "
                "give at least one example to each"
            )
        self.config = {
            "hauberk_version": ".".join(__version__.split(".")[:2]),
            **options.describe(),
            "strategy": strategy.describe(),
            "data": train.describe(),
            "validation": held.describe(),
            "model": {k: list(v.shape) for k, v in model.state_dict().items()},
        }
        if options.out is not None:  # of the weights before the first step
            self.config |= fingerprints(
                {"model": model}, {"strategy": strategy, "optimiser": options.optimiser}
            )
        self._place_model(train, held)
        self.loader = Loader(
            train.x, train.y, options.minibatch, options.augmentation, self.box,
            options.seed, self.device, options.channels_last,
        )  # fmt: skip
        self.tables = self._begin_strategy(train)
        self.step, self.total = 0, options.epochs * self.loader.steps
        self.few, self.threads = train.x[: options.minibatch], Threads.of_torch()
        self.tally = Tally(self.device)
        self.epochs = Epochs(options, bool(strategy.threats), self.ema)
        known = train.split_off(min(len(held), len(train)))[1] if options.gap else held
        self.validation, self.recital = (
            Validation(some, self.processes, self.victim, strategy.threats, options)
            for some in (held, known)
        )
        self.output = Output(options, self.processes.rank == 0)
        self.nonfinite = NonFinite(
            model, self.ema, self._minibatch_of, self.device, self.output.path
        )
        self.saved = time.monotonic()

    @property
    def device(self) -> torch.device:
        """Where this process trains."""
        return self.processes.device

    def _place_model(self, train: LabelledExamples, held: LabelledExamples) -> None:
        """The model on its device, its optimiser, and the two views of it: to train, to attack."""
        model, options = self.model, self.options
        model.to(self.device)
        if options.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = self.optimiser_of(model)
        self.natural: Natural | None = None
        if options.natural is not None:
            self.natural = Natural(model, options.natural, self.optimiser_of)
        fast: Any = torch.compile(model) if options.compile else model
        # A model that was compiled before the library was imported cannot be compiled again.
        self.wrapped = self.processes.fabric.setup_module(fast, _reapply_compile=options.compile)
        self.passes = PassCounter(self.wrapped)
        self.victim = self.processes.victim(fast, options.attack_mode)
        softens = self.strategy.softens
        if softens or (len(held) and self.strategy.threats):
            stiffness(self.victim, train.x[:4], options.seed)
            if softens and self.victim.stiff is not None:
                raise InputError(
                    f"the model's gradients cannot be softened ({self.victim.stiff}): take attacks "
                    "without soften"
                )
        self.ema = EMA(model, options.ema)

    def _begin_strategy(self, train: LabelledExamples) -> dict[str, torch.Tensor]:
        """The strategy's tables, once it has found nothing to refuse."""
        strategy = self.strategy
        x, y = train.x[:4].to(self.device), train.y[:4].to(self.device)
        strategy.check(x, y, self.box)
        tables = strategy.begin(len(train), self.device)
        if any(len(table) != len(train) for table in tables.values()):
            raise InputError(
                f"{type(strategy).__name__}.begin made a table without a row for each of "
                f"{len(train)} examples"
            )
        return tables

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the settings for a model."""
        s = self.options
        return make_optimiser(
            s.optimiser, model.parameters(), s.learning_rate, s.momentum, s.weight_decay, s.nesterov
        )

    def _minibatch_of(self, step: int) -> tuple[int, list[int]]:
        epoch, index = divmod(step, self.loader.steps)
        return epoch, self.ids[self.loader.rows(epoch, index).cpu()].tolist()

    def open(self) -> None:
        """Take the folder, and continue from its checkpoint if there is one."""
        found: Any = None
        try:
            found = self.output.open(self.config, self.model)
        except InputError as error:
            found = error
        found = self.processes.from_first(found)
        self.settle_threads(None if found is None else found.get("threads"))
        if found is None:
            self.output.begin(self.model)
            self.save()
        else:
            self.restore(found)
        self.output.open_logs(len(self.epochs.history))

    def settle_threads(self, kept: int | None) -> None:
        """Choose the number of threads; ``kept``: that of the training which is resumed."""
        asked = self.options.threads
        if self.processes.world == 1 or asked is not None:
            self.threads = tell(choose([self.victim], self.few, asked, kept))

    def close(self) -> None:
        """Free the folder, whatever ended the training."""
        self.output.close(self.model)

    def run(self) -> Trained:
        """Train to the end."""
        with self.processes.seeded():
            while self.step < self.total and not self.epochs.out_of_patience:
                self.epoch(self.step // self.loader.steps)
        chosen = self.epochs.chosen()
        self.model.load_state_dict(self.ema.weights() if chosen is None else chosen)
        self.model.eval()
        self.optimiser.zero_grad(set_to_none=True)
        summary = {
            **self.epochs.summary(),
            "processes": self.processes.world,
            "device": str(self.device),
            "threads": self.threads.number,
        }
        if self.options.gap:
            summary |= gaps(summary, self.recital.run())
        paths = self.output.finish(summary, self.ema.weights() if chosen is None else None)
        return Trained(self.model, self.epochs.history, summary, paths)

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
            late = time.monotonic() - self.saved >= 60 * self.options.every_minutes
            if last and self.natural is not None:
                self.natural.mix(self.model)
            if last or late:
                self.nonfinite.require_finite(self.step - 1)
            if late and not last:
                self.save()
            before = self.epochs.passes()
            forwards, backwards = before[0] + self.tally.forwards, before[1] + self.tally.backwards
            doing = f"epoch {epoch + 1}/{self.options.epochs}"
            self.output.step(Progress(self.step / self.total, doing, forwards, backwards))
        self.end_epoch(epoch)
        self.save()

    def end_epoch(self, epoch: int) -> None:
        """Validate, write the record, and keep the weights if they are the best."""
        tallies = self.processes.gather(self.tally.state())
        self.tally.clear()
        begun = time.perf_counter()
        with self.ema.applied():
            accuracies = self.validation.run()
        record = record_of(
            tallies, accuracies, self.strategy.noted(self.tables), epoch=epoch + 1, step=self.step,
            learning_rate=float(self.optimiser.param_groups[0]["lr"]),
            seconds_validation=time.perf_counter() - begun,
        )  # fmt: skip
        best = self.epochs.add(record)
        self.output.epoch(self.epochs.history, self.ema.weights(), best)

    def advance(self, epoch: int, index: int) -> None:
        """One optimiser step."""
        rows = self.loader.rows(epoch, index)
        mine = self.processes.share(rows)
        seed_step(self.options.seed, self.step, self.processes.rank)
        self.optimiser.zero_grad(set_to_none=True)
        value = torch.zeros((), device=self.device)
        x, y, ids = self.loader.take(mine, epoch)
        # A strategy may write into the batch that it is given.
        clean = x if self.natural is None else x.clone()
        if len(mine):
            batch = Batch(
                model=self.wrapped, victim=self.victim, x=x, y=y, ids=ids, step=self.step,
                epoch=epoch, progress=self.step / self.total, seed=self.options.seed,
                box=self.box,
            )  # fmt: skip
            value = self.learn(batch).value.detach()
        weight = len(mine) / len(rows)
        value = self.processes.average(self.model, value, weight)
        self.nonfinite.note(self.step, value)
        if self.processes.rank == 0:  # every process has the mean over all
            self.tally.add("loss", value, len(rows))
        self.move(self.model, self.optimiser)
        self.ema.update()
        self.processes.spread(self.tables, rows)
        if self.natural is not None:
            value = self.natural.learn(clean, y, self.processes, weight)
            self.move(self.natural.twin, self.natural.optimiser)
            self.nonfinite.note(self.step, value)
            self.tally.forwards += len(mine)
            self.tally.backwards += len(mine)
        self.step += 1

    def move(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """A step along the gradients that the parameters hold."""
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.options.clip)
        if self.options.schedule is not None:
            rate = self.rates.at(self.step, self.loader.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
        optimiser.step()

    def learn(self, batch: Batch) -> Loss:
        """The strategy's loss and its gradient; its passes and logs go into the tally."""
        before = self.victim.forwards, self.victim.backwards
        self.passes.clear()
        try:
            with self.processes.apart(self.wrapped):
                found = self.strategy.loss(batch, self.tables)
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
        # A strategy that goes around batch.model may report its passes itself.
        forwards = max(self.passes.forwards, loss.forwards)
        backwards = max(self.passes.backwards, loss.backwards)
        self.tally.forwards += self.victim.forwards - before[0] + forwards
        self.tally.backwards += self.victim.backwards - before[1] + backwards
        for name, log in loss.logs.items():
            self.tally.add(name, log, len(batch.x))
        return loss

    def save(self) -> None:
        """Write the checkpoint, if there is a folder."""
        self.saved = time.monotonic()
        if self.output.folder is not None:
            self.output.save(
                {
                    "step": self.step,
                    "threads": self.threads.number,
                    "model": self.model.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "average": self.ema.state(),
                    "natural": None if self.natural is None else self.natural.state(),
                    "tables": self.tables,
                    "tally": self.tally.state(),
                    "epochs": self.epochs.state(),
                }
            )

    def restore(self, found: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.step = found["step"]
        self.model.load_state_dict(found["model"])
        self.optimiser.load_state_dict(found["optimiser"])
        self.ema.restore(found["average"])
        if self.natural is not None:
            self.natural.restore(found["natural"])
        for name, table in found["tables"].items():
            self.tables[name].copy_(table)
        if self.processes.rank == 0:  # what others had added up in this epoch is lost to its logs
            self.tally.restore(found["tally"])
        self.epochs.restore(found["epochs"])


def examples_of(
    model: nn.Module, data: Data, strategy: Strategy, options: Options
) -> tuple[LabelledExamples, LabelledExamples]:
    """The examples to train and to validate on, once they can be trained on.

    Raises:
        InputError: for model, data, strategy or options that do not go together.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the model must be a torch.nn.Module, not {type(model).__name__}")
    require_strategy(strategy)
    if not all_finite(model.parameters()):
        raise InputError("a weight of the model is NaN or infinite: start from finite weights")
    train, held = split(data, options.validation, options.bounds, model)
    if options.patience is not None and not len(held):
        raise InputError("patience needs validation examples: give validation=")
    if options.gap and not len(held):
        raise InputError("gap needs validation examples to compare with: give validation=")
    if options.select == "margin":
        if not len(held):
            raise InputError("select='margin' needs validation examples: give validation=")
        require_margins(strategy.threats)
    options.augmentation.check(train.x)
    if options.precision == "bf16-mixed" and train.x.dtype != torch.float32:
        raise InputError(
            f"the model is in {train.x.dtype}: bf16-mixed needs float32, so call .float()"
        )
    # 32-true leaves everything as it is, float64 too.
    return train, held


def require_strategy(strategy: Any) -> None:
    """`InputError` unless it is a strategy, with what to write instead."""
    if isinstance(strategy, Strategy):
        return
    if isinstance(strategy, type):
        given, instead = f"the class {strategy.__name__}", f"make one, {strategy.__name__}(...)"
    elif isinstance(strategy, Threat):
        given, instead = f"the threat {strategy}", "say how to train on it, e.g. Single(threat)"
    else:
        given, instead = shown(strategy), "make one, e.g. hauberk.train.Single(hb.Linf(0.1))"
    raise InputError(f"the strategy is {given}: {instead}")
