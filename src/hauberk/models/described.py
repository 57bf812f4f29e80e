"""Models named by the ``model.yaml`` that a training leaves beside its weights."""

import os
from pathlib import Path
from typing import Any

from hauberk.data.importing import one_line
from hauberk.errors import InputError

FILE = "model.yaml"


def located(spec: str, weights: str | Path | None = None) -> tuple[str, str | None]:
    """Import path and weights of a model; both from the file if ``spec`` is a ``model.yaml``.

    ``spec`` may also be the folder of a training. Paths in the file are relative to it. Weights
    that are given outdo the file's. Any other ``spec`` comes back as it is.

    Raises:
        InputError: if the file cannot be read or does not say what to load.
    """
    path = Path(spec).expanduser()
    given = None if weights is None else str(weights)
    if path.suffix not in (".yaml", ".yml"):
        if not (path / FILE).is_file():
            return spec, given
        path = path / FILE
    told = _read(path)
    model = told.get("model")
    if not isinstance(model, str):
        raise InputError(
            f"{path} names no model that can be imported: give --model package.module:name or "
            f"file.py:name, and its --weights {path.parent / str(told.get('weights', ''))}"
        )
    if given is None and isinstance(told.get("weights"), str):
        given = str(path.parent / told["weights"])
        _require_ended(path.parent, Path(given), model)
    return _from(path.parent, model), given


def relative(spec: str, folder: Path) -> str:
    """The import path as a file in ``folder`` says it: a Python file relative to that folder."""
    target, _, attribute = spec.rpartition(":")
    if not target.endswith(".py"):
        return spec
    try:
        return f"{os.path.relpath(Path(target).expanduser(), folder)}:{attribute}"
    except ValueError:  # another drive, under Windows
        return f"{Path(target).expanduser().resolve()}:{attribute}"


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"model {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"model {path}: no readable YAML ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise InputError(f"model {path}: give 'model: package.module:name' and 'weights: FILE'")
    return found


def _from(folder: Path, model: str) -> str:
    """The import path as it is understood from the current directory."""
    target, _, attribute = model.rpartition(":")
    if target.endswith(".py") and (folder / target).is_file():
        return f"{os.path.relpath(folder / target)}:{attribute}"
    return model


def _require_ended(folder: Path, weights: Path, model: str) -> None:
    last = folder / "last.safetensors"
    if not weights.is_file() and last.is_file():
        raise InputError(
            f"{weights} is not there: the training in {folder} has not ended. Resume it, or load "
            f"the weights of its last whole epoch: --model {model} --weights {last}"
        )
