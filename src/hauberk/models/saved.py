"""Models named by the ``model.yaml`` that a training writes beside its weights."""

import os
from pathlib import Path
from typing import Any

from hauberk.errors import InputError
from hauberk.spec.imports import one_line

FILE = "model.yaml"


def resolve_model(spec: str, weights: str | Path | None = None) -> tuple[str, str | None]:
    """Import path and weights of a model.

    Args:
        spec: an import path, which is returned unchanged; or a ``model.yaml``, or the folder that
            holds one, which names both. Paths in the file are relative to its folder.
        weights: a file of weights, which replaces the one in ``model.yaml``.

    Raises:
        InputError: if the file cannot be read, names no model, or names a file that does not exist;
            for a training that has not ended, unless weights are given.

    Example:
        >>> resolve_model("hauberk.models:SmallCNN", "net.safetensors")
        ('hauberk.models:SmallCNN', 'net.safetensors')
    """
    path = Path(spec).expanduser()
    given = None if weights is None else str(weights)
    if path.is_dir() or path.suffix == ".safetensors":
        folder = path if path.is_dir() else path.parent
        if path.suffix == ".safetensors" or not (folder / FILE).is_file():
            raise InputError(
                f"model {spec} is no model: give package.module:name or file.py:name with its "
                f"--weights, or the folder of a training, which holds {FILE}"
            )
        path = path / FILE
    elif path.suffix not in (".yaml", ".yml"):
        return spec, given
    saved = _read(path)
    model, file = saved.get("model"), saved.get("weights")
    if not isinstance(model, str):
        raise InputError(
            f"{path} names no model that can be imported: give --model package.module:name or "
            f"file.py:name, and its --weights {path.parent / str(file or '')}"
        )
    model = _from(path, model)
    if given is None and isinstance(file, str):
        _require_ended(path.parent, model)
        given = str(path.parent / file)
    return model, given


def relative(spec: str, folder: Path) -> str:
    """The import path as a ``model.yaml`` in ``folder`` writes it: Python files relative to it.

    Symbolic links are resolved on both sides.

    Args:
        spec: an import path.
        folder: where the ``model.yaml`` will be.

    Example:
        >>> from pathlib import Path
        >>> relative("nets.py:make", Path("runs/a"))
        '../../nets.py:make'
    """
    target, _, attribute = spec.rpartition(":")
    if not target.endswith(".py"):
        return spec
    file = Path(target).expanduser().resolve()
    try:
        return f"{os.path.relpath(file, folder.resolve())}:{attribute}"
    except ValueError:  # another drive, under Windows
        return f"{file}:{attribute}"


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


def _from(path: Path, model: str) -> str:
    """The import path, relative to the current directory."""
    target, _, attribute = model.rpartition(":")
    if not target.endswith(".py"):
        return model
    file = (path.parent.resolve() / target).resolve()
    if not file.is_file():
        raise InputError(
            f"{path} says {target}, but {file} does not exist: correct it there, or give --model "
            f"FILE.py:{attribute} and --weights"
        )
    return f"{file}:{attribute}"


def _require_ended(folder: Path, model: str) -> None:
    begun, ended = folder / "config.json", folder / "summary.json"
    if begun.is_file() and not ended.is_file():
        there = [name for name in ("best", "last") if (folder / f"{name}.safetensors").is_file()]
        words = f": --model {model} --weights {folder / there[-1]}.safetensors" if there else ""
        raise InputError(
            f"the training in {folder} has not ended: resume it"
            + (f", or load the weights of its last whole epoch{words}" if there else "")
        )
