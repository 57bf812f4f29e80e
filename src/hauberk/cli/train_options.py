"""The words of ``hauberk train``: declared, and refused where that needs no model and no data."""

from pathlib import Path
from typing import Any

from hauberk.cli.evaluate import NO_MODEL
from hauberk.cli.strategy import NAMES, several
from hauberk.errors import InputError
from hauberk.spec.numbers import as_number

_GIVEN = (
    "epochs", "minibatch", "momentum", "nesterov", "weight_decay", "clip", "ema", "natural",
    "select", "validate_steps", "patience", "seed", "attack_mode", "precision",
)  # fmt: skip
"""Settings of :func:`hauberk.train.fit` that are words of the same name."""

_FLAGS: dict[str, str] = {
    "nesterov": "momentum of Nesterov's kind",
    "compile": "compile the model (torch.compile)",
    "channels-last": "memory layout that some GPUs compute faster in",
    "resume": "continue the run in --out",
    "dry-run": "print the cost of an epoch and stop",
}
_NUMBERS: dict[str, tuple[type, Any, str]] = {
    "epochs": (int, None, "passes over the data; needed"),
    "minibatch": (int, None, "examples per step, over all processes; 128"),
    "learning-rate": (float, None, "where no schedule says otherwise; 0.001"),
    "momentum": (float, None, "of sgd; 0.9"),
    "weight-decay": (float, None, "pull of the weights to 0; 0"),
    "clip": (float, None, "largest norm of the gradient"),
    "ema": (float, None, "keep the moving average of the weights with this decay: 0.999"),
    "natural": (float, None, "share of natural training, projected on the other's steps: 0.5"),
    "validation": (
        int,
        0,
        "hold out N examples, or take N of --validation-data; the first ones, or "
        "from all over data grouped by class",
    ),
    "validate-steps": (int, None, "of the attacks on the examples held out; 20"),
    "patience": (int, None, "stop after so many epochs without a better one"),
    "every-minutes": (float, 5.0, "between checkpoints; one is written after each epoch too"),
    "seed": (int, 0, "of all random numbers, those of new weights too"),
    "devices": (int, 1, "processes on this machine, one for each GPU; they are started for you"),
    "nodes": (int, 1, "machines; start this command on each of them with torchrun"),
}
_TEXTS: dict[str, tuple[str | None, str]] = {
    "d-max": (None, "threshold of mma and omma, such as l2:6: the same as --threat"),
    "optimiser": ("adam", "adam, sgd, or file.py:name of a function of the parameters"),
    "validation-data": (None, "examples to validate on, such as mnist:test"),
    "select": (
        None,
        "weights to keep: by accuracy on union or clean examples, by mean margin, or last",
    ),
    "attack-mode": (None, "attack the model in eval or train mode; eval"),
    "precision": (None, "32-true or bf16-mixed"),
    "out": (None, "folder for weights, checkpoints and history; needed"),
}


def add_words(parser: Any) -> None:
    """Declare what ``hauberk train`` takes beside the words for model and data."""
    parser.add_argument(
        "--strategy",
        type=str | dict[str, Any],
        default=None,
        help=f"{', '.join(NAMES)}, or file.py:name; in YAML also {{name: max, steps: 10}}",
    )
    parser.add_argument("--threat", action="append", help="linf:0.3, l2:2, l1:10, ...; repeat")
    parser.add_argument("--set", action="append", help="a field of the strategy: steps=10; repeat")
    parser.add_argument("--augment", action="append", help="pad-crop:4 or flip; repeat")
    parser.add_argument(
        "--schedule", type=str | list[Any], default=None,
        help="rates at epochs, straight lines between: 0:0,6:1e-3,15:0; or factors from steps or "
        "epochs on: 'steps 20000:0.3,30000:0.1'",
    )  # fmt: skip
    for name, (kind, default, told) in _NUMBERS.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=told)
    for name, (text, told) in _TEXTS.items():
        parser.add_argument(f"--{name}", type=str, default=text, help=told)
    for name, told in _FLAGS.items():
        parser.add_argument(f"--{name}", action="store_true", help=told)
    parser.add_argument("--box", type=float, nargs=2, default=[0.0, 1.0], help="valid range: LO HI")


def circumstances(options: Any) -> dict[str, Any]:
    """What decides no numbers but how they are computed; refuses what can be refused unseen."""
    import torch

    from hauberk.models.saved import resolve_model
    from hauberk.threats import Box

    if not options.model:
        raise InputError(NO_MODEL)
    options.model, options.weights = resolve_model(options.model, options.weights)
    if not options.data:
        raise InputError("no data: give --data, e.g. digits:train, mnist:train or npz:FILE")
    if options.epochs is None:
        raise InputError("no epochs: say how many, e.g. --epochs 10")
    for name in ("devices", "nodes"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}: give 1 or more")
    if options.validation < 0:
        raise InputError(f"--validation is {options.validation}: give 0 or more examples")
    if not options.every_minutes > 0:
        raise InputError(f"--every-minutes is {options.every_minutes}: give more than 0")
    if abs(options.seed) >= 2**63:
        raise InputError(f"--seed is {options.seed}: give a number below 2 to the 63rd")
    held = options.validation or options.validation_data
    if not held and (options.patience or options.select in ("union", "clean", "margin")):
        word = "--patience" if options.patience else f"--select {options.select}"
        raise InputError(f"{word} needs examples to validate on: give --validation 500 or the like")
    try:
        _ = None if options.device is None else torch.device(options.device)
    except RuntimeError:
        raise InputError(
            f"unknown device '{options.device}': give cpu, cuda, cuda:0 or mps"
        ) from None
    _require_out(options)
    return {
        "box": Box.of(options.box), "device": options.device, "compile": options.compile,
        "channels_last": options.channels_last,
    }  # fmt: skip


def _require_out(options: Any) -> None:
    if options.dry_run:
        return
    if not options.out:
        raise InputError("no folder for the weights: give --out, e.g. --out runs/net")
    if Path(options.out).is_file():
        raise InputError(f"{options.out} is a file: give another --out, a folder for the run")
    if Path(options.out, "config.json").exists() and not options.resume:
        raise InputError(
            f"{options.out} already holds a run: give another --out, or --resume to continue it"
        )


def settings_of(options: Any) -> dict[str, Any]:
    """The settings that were given, checked; the others keep the trainer's own values."""
    from hauberk.spec.imports import import_object
    from hauberk.train.settings import Settings

    found = {name: getattr(options, name) for name in _GIVEN if getattr(options, name) is not None}
    name = options.optimiser
    own = ":" in name
    if (own or name == "adam") and (options.momentum is not None or options.nesterov):
        raise InputError("--momentum and --nesterov are for --optimiser sgd: leave them out")
    if own and options.weight_decay is not None:
        raise InputError(
            f"optimiser {name} has a weight decay of its own: leave out --weight-decay"
        )
    if own and options.learning_rate is not None:
        raise InputError(
            f"optimiser {name} has a rate of its own: leave out --learning-rate, or give --schedule"
        )
    found["optimiser"] = import_object(name, "optimiser") if own else name
    if own and not callable(found["optimiser"]):
        raise InputError(
            f"optimiser {name} is no function: name one that takes a list of parameters"
        )
    if options.learning_rate is not None:
        found["learning_rate"] = options.learning_rate
    found["augment"] = several(options.augment)
    found["schedule"] = _schedule(options.schedule)
    Settings(**found)
    return found


def _schedule(given: Any) -> Any:
    """Pairs, or the kind of the steps and pairs; from text or as YAML has it."""
    if given is None:
        return None
    if isinstance(given, str):
        kind, _, pairs = given.strip().rpartition(" ")
        points = [[as_number(n) for n in pair.split(":")] for pair in pairs.split(",")]
        return (kind.strip(), points) if kind.strip() else points
    if len(given) == 2 and isinstance(given[0], str):
        return given[0], given[1]
    return [[as_number(n) for n in pair] if isinstance(pair, list) else pair for pair in given]
