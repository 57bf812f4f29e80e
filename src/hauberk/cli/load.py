"""Models and data that the options name, and what a manifest records of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hauberk.cli.options import DataOptions, DeviceOptions, ModelsOptions
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset

NO_MODEL = (
    "no model: give --model package.module:name, --model file.py:name or, of one that hauberk "
    "trained, --model RUN/model.yaml"
)
NO_DATA = "no data: give --data, e.g. digits:test, mnist:test or npz:FILE"


class NamedModel(NamedTuple):
    """Where a model comes from: an import path and a file of weights."""

    spec: str
    weights: str | None


def named_model(model: str | None, weights: str | None) -> NamedModel:
    """A model of ``--model`` and ``--weights``, also where ``--model`` is a training's folder.

    Raises:
        InputError: if there is none, or the training has left none.
    """
    from hauberk.models.saved import resolve_model

    if not model:
        raise InputError(NO_MODEL)
    return NamedModel(*resolve_model(model, weights))


def named_models(options: ModelsOptions) -> list[NamedModel]:
    """All models, each with its weights.

    Raises:
        InputError: if the numbers of models, weights and names differ, or a file is not there.
    """
    models, weights, names = options.model, options.weights, options.name
    if not models:
        raise InputError(NO_MODEL)
    if weights and len(weights) != len(models):
        raise InputError(
            f"{len(models)} models but {len(weights)} weights: give --weights once for every "
            "--model, in the same order ('none' for a model that needs none), or not at all"
        )
    if names and len(names) != len(models):
        raise InputError(
            f"{len(models)} models but {len(names)} names: give --name once for every --model, in "
            "the same order, or not at all"
        )
    if len(set(names)) < len(names):
        raise InputError(f"names {', '.join(names)}: give every model a --name of its own")
    files = [
        None if text.strip().lower() in ("", "none") else str(Path(text).expanduser())
        for text in weights
    ]
    for file in files:
        if file is not None and not Path(file).is_file():
            raise InputError(f"weights {file}: there is no such file: give another --weights")
    return [named_model(*pair) for pair in zip(models, files or [None] * len(models), strict=True)]


def load_named(named: NamedModel, options: DeviceOptions) -> "nn.Module":
    """The model, on its device.

    Raises:
        InputError: if it cannot be made, or the device cannot be used.
    """
    import torch

    from hauberk.models.loading import load_model

    try:
        device = None if options.device is None else torch.device(options.device)
    except RuntimeError:
        raise InputError(unknown_device(options.device)) from None
    model = load_model(named.spec, named.weights)
    if device is None:
        return model
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        line = str(error).splitlines()[0]
        raise InputError(f"device '{options.device}' cannot be used: {line}") from error


def unknown_device(device: str | None) -> str:
    """The message for a device that torch does not know."""
    return f"unknown device '{device}': give cpu, cuda, cuda:0 or mps"


def load_data(options: DataOptions) -> "Dataset":
    """The examples.

    Raises:
        InputError: if none are named, or they cannot be read.
    """
    from hauberk.data import load_data

    if not options.data:
        raise InputError(NO_DATA)
    return load_data(options.data, options.data_dir, limit=options.limit, offset=options.offset)


def require_out(resume: bool, out: str | None) -> None:
    """Refuse ``--resume`` without ``--out``.

    Raises:
        InputError: for ``--resume`` alone.
    """
    if resume and not out:
        raise InputError("--resume continues a run on disk: give its folder with --out")


def recorded(named: NamedModel | Sequence[NamedModel], options: DataOptions) -> dict[str, Any]:
    """What a manifest says of the options; lists where there may be several models."""
    one = isinstance(named, NamedModel)
    models = [named] if isinstance(named, NamedModel) else list(named)
    facts: dict[str, list[str | None]] = {
        "model": [model.spec for model in models],
        "weights": [model.weights for model in models],
        "weights_sha256": [_sha256(model.weights) for model in models],
    }
    return {
        **({name: values[0] for name, values in facts.items()} if one else facts),
        "data": options.data,
        "limit": options.limit,
        "offset": options.offset,
        "command": ["hauberk", *options.argv],
    }


def _sha256(path: str | None) -> str | None:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None
