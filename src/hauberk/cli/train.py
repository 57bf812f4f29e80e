"""What ``hauberk train`` does, from parsed options."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli.evaluate import minutes, recorded
from hauberk.cli.strategy import several, strategy_of
from hauberk.cli.train_options import circumstances, settings_of
from hauberk.errors import InputError, TrainingError

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset
    from hauberk.train import Strategy, Trained

_MARGIN = "valid_margin"
_SECONDS = ("seconds_attack", "seconds_training", "seconds_validation")


def train(options: Any, argv: Sequence[str]) -> int:
    """``hauberk train``; ``argv`` is the command line, for the processes of ``--devices``."""
    from hauberk.train.loop.launch import ERRORS, leave

    try:
        return _train(options, argv)
    except (InputError, TrainingError) as error:
        if not leave(error):
            raise
        return 1
    except KeyboardInterrupt:
        if ERRORS not in os.environ:
            raise
        return 1


def _train(options: Any, argv: Sequence[str]) -> int:
    from hauberk.report.progress import shown
    from hauberk.store.files import put, to_json
    from hauberk.train.loop.launch import end_together, is_begun, launch

    # What costs nothing to find out comes before model and data are loaded.
    words = circumstances(options)
    strategy = strategy_of(
        options.strategy, several(options.threat), several(options.set), options.d_max
    )
    settings = settings_of(options)
    if is_begun():
        end_together()
        _hush()
    elif options.devices * options.nodes > 1 and not options.dry_run:
        return launch(["-m", "hauberk", *argv], options.devices, options.nodes)
    model, data, held = _load(options)
    if options.dry_run:
        return _dry_run(model, data, held, strategy, settings, words, options)
    facts = recorded(options)
    # Lines for people go where the progress is not in the way, and into a pipe if there is one.
    stream = None if sys.stdout.isatty() else sys.stdout
    with shown() as progress:
        found = _fit(
            model, data, strategy, settings, **words, validation=held, out=options.out,
            resume=options.resume, every_minutes=options.every_minutes, devices=options.devices,
            nodes=options.nodes, progress=progress, model_spec=options.model,
            on_epoch=_lines(options.epochs, lambda line: print(line, file=stream, flush=True)),
        )  # fmt: skip
    if not is_begun() or os.environ.get("RANK", "0") == "0":
        put(Path(options.out, "command.json"), to_json(facts))
        _print(found, strategy, options)
    return 0


def _hush() -> None:
    """Keep fabric from telling on stderr how it starts."""
    import logging

    import lightning_fabric  # noqa: F401  # it sets the level when it is imported

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def _fit(
    model: "nn.Module", data: "Dataset", strategy: "Strategy", settings: dict[str, Any],
    **rest: Any,
) -> "Trained":  # fmt: skip
    from hauberk.train import fit

    try:
        return fit(model, data, strategy, **settings, **rest)
    except TrainingError as error:
        raise TrainingError(str(error).replace("clip=1.0", "--clip 1"), error.ids) from error


def _load(options: Any) -> "tuple[nn.Module, Dataset, int | Dataset]":
    """The model, the training data, and the examples to validate on."""
    import torch

    from hauberk.data import load_data
    from hauberk.models.loading import load_model

    data = load_data(options.data, options.data_dir, limit=options.limit, offset=options.offset)
    held: int | Dataset = options.validation
    if options.validation_data:
        limit = options.validation or None
        held = load_data(options.validation_data, options.data_dir, limit=limit)
    with torch.random.fork_rng(
        devices=[]
    ):  # the weights that training begins from hang on the seed too
        torch.manual_seed(options.seed)
        model = load_model(options.model, options.weights)
    return model, data, held


def _lines(epochs: int, tell: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    """What is told after each epoch."""
    ends: list[float] = []

    def line(record: dict[str, Any]) -> None:
        if not ends:  # what it took to start is not what an epoch takes
            ends.append(time.monotonic() - sum(v for k, v in record.items() if k in _SECONDS))
        ends.append(time.monotonic())
        each = (ends[-1] - ends[0]) / (len(ends) - 1)
        left = each * (epochs - record["epoch"])
        told = [f"epoch {record['epoch']}/{epochs}", f"loss {record['loss']:.4g}"]
        told.append(f"rate {record['learning_rate']:.3g}")
        told += [f"{name} {share:.1%}" for name, share in _accuracies(record).items()]
        told += [f"margin {record[_MARGIN]:.3f}"] if _MARGIN in record else []
        told.append(f"{record['forwards'] + record['backwards']:,} passes")
        tell(", ".join([*told, f"about {_time(left)} left" if left else "done"]))

    return line


def _time(seconds: float) -> str:
    return f"{seconds:.2g} seconds" if seconds < 9.5 else minutes(seconds)


def _accuracies(record: dict[str, Any]) -> dict[str, float]:
    names = [k for k in record if k.startswith("valid_") and k != _MARGIN]
    return {k.removeprefix("valid_"): record[k] for k in names}


def _print(found: "Trained", strategy: "Strategy", options: Any) -> None:
    """A short table, and what to do next."""
    s = found.summary
    rows = {"epochs": str(s["epochs"]), "selected": f"epoch {s['selected']} ({s['select']})"}
    rows |= {f"accuracy {name}": f"{share:.1%}" for name, share in _accuracies(s).items()}
    rows |= {"mean margin": f"{s[_MARGIN]:.3f} of the radius"} if _MARGIN in s else {}
    if not _accuracies(s):
        rows["selected"] += ": no examples to validate on, --validation gives some"
    rows["passes"] = f"{s['forwards']:,} forwards, {s['backwards']:,} backwards"
    parts = {name.removeprefix("seconds_"): s[name] for name in _SECONDS}
    told = ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in parts.items())
    rows["seconds"] = f"{sum(parts.values()):.1f} ({told})"
    rows["weights"] = str(found.paths["best"])
    rows["folder"] = f"{options.out} (history.csv, summary.json, config.json, ...)"
    wide = max(map(len, rows))
    print("\n".join(f"{name:{wide}}  {value}" for name, value in rows.items()))
    print(f"\nevaluate it:\n  {_next(found, strategy, options)}")


def _next(found: "Trained", strategy: "Strategy", options: Any) -> str:
    """The command that evaluates the weights."""
    data = str(options.validation_data or "DATA")
    if options.data.endswith(":train"):
        data = options.data.removesuffix("train") + "test"
    argv = ["hauberk", "evaluate", "--model", str(found.paths["model"]), "--data", data]
    for word in ("data_dir", "device"):
        if getattr(options, word) is not None:
            argv += [f"--{word.replace('_', '-')}", getattr(options, word)]
    if [float(b) for b in options.box] != [0.0, 1.0]:
        argv += ["--box", *map(str, options.box)]
    threats = [str(part) for threat in strategy.threats for part in threat.parts]
    for threat in dict.fromkeys(threats or ["linf:8/255"]):
        argv += ["--threat", threat]
    return shlex.join([*argv, "--out", str(Path(options.out, "evaluation"))])


def _dry_run(
    model: "nn.Module", data: "Dataset", held: "int | Dataset", strategy: "Strategy",
    settings: dict[str, Any], words: dict[str, Any], options: Any,
) -> int:  # fmt: skip
    """The cost of an epoch; nothing is written.

    The time is that of the second of two minibatches, the passes those of many small ones: a
    strategy may draw a threat for each.
    """
    from hauberk.data import Dataset
    from hauberk.train.loop.loader import minibatches
    from hauberk.train.loop.validation import most_passes
    from hauberk.train.settings import Settings

    def part(of: "Dataset", start: int, many: int) -> "Dataset":
        some = slice(start, start + many)
        return Dataset(of.images[some], of.labels[some], of.ids[some], of.name, of.classes)

    checked = Settings(**settings)
    minibatch = checked.minibatch
    first = held if isinstance(held, int) else 0
    if first >= len(data):
        raise InputError(f"--validation {first} leaves no example of {len(data)}: give fewer")
    watched = part(data, 0, first) if isinstance(held, int) else held
    some, few = part(data, first, minibatch), part(watched, 0, minibatch)
    full: Any = strategy
    if "grow" in {f.name for f in fields(full)}:
        full = replace(full, grow=0.0)  # the threats at their full size, as they will be
    ends: list[float] = []
    settings = settings | {"epochs": 2, "patience": None}
    found = _fit(
        model, some, full, settings, **words, validation=few if len(few) else 0,
        on_epoch=lambda record: ends.append(time.monotonic()),
    )  # fmt: skip
    record = found.history[1]
    n, parts = len(data) - first, [part for threat in strategy.threats for part in threat.parts]
    passes = record["forwards"] + record["backwards"]
    spent = (ends[1] - ends[0] - record["seconds_validation"]) / max(1, passes)
    many = part(data, first, 64)
    small = settings | {"epochs": 1, "minibatch": max(2, options.devices * options.nodes)}
    drawn = _fit(model, many, full, small, **words).history[0]
    passes = (drawn["forwards"] + drawn["backwards"]) / len(many)
    training = spent * passes * n
    # From the passes: the model at hand is wrong on most of it, and what is wrong is not attacked.
    asked = len(watched) * most_passes(parts, checked.validate_steps, checked.select)
    validating = asked * spent
    print(
        f"{n} examples in {minibatches(n, minibatch)} minibatches, {len(watched)} to validate on:"
    )
    print(f"an epoch costs {passes:.4g} passes per example and about "
          f"{_time(training)}, validation at most {_time(validating)}")  # fmt: skip
    alone = " in one process" if options.devices * options.nodes > 1 else ""
    print(f"{options.epochs} epochs: about {_time((training + validating) * options.epochs)}"
          f"{alone}")  # fmt: skip
    return 0
