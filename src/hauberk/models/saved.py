"""Models named by the ``model.yaml`` that a training writes beside its weights."""

import os
from pathlib import Path
from typing import Any

from hauberk.errors import InputError
from hauberk.spec.imports import one_line
from hauberk.spec.numbers import as_number

FILE = "model.yaml"


def resolve_model(spec: str, weights: str | Path | None = None) -> tuple[str, str | None]:
    """Import path and weights of a model.

    Args:
        spec: an import path, which is returned unchanged; or a ``model.yaml``, or the folder that
            holds one, which names both. Paths in the file are relative to its folder. So is the
            file of a :class:`~hauberk.models.Routed`, which names several models, unchanged.
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
    if "detector" in saved:
        if given is not None:
            raise InputError(f"{path} names three models: leave --weights out, name them there")
        return str(path), None
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


def saved_normalisation(spec: str) -> tuple[str, str] | None:
    """Mean and std that a ``model.yaml``, or the folder of one, names, as text; None if neither.

    Args:
        spec: what ``--model`` takes.
    """
    path = Path(spec).expanduser()
    path = path / FILE if path.is_dir() else path
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return None
    saved = _read(path)
    if saved.get("mean") is None or saved.get("std") is None:
        return None
    mean, std = (
        ",".join(map(str, given)) if isinstance(given, list) else str(given)
        for given in (saved["mean"], saved["std"])
    )
    return mean, std


def routed_parts(spec: str) -> tuple[dict[str, tuple[str, str | None]], float] | None:
    """The three models that the file of a :class:`~hauberk.models.Routed` names, and its width.

    Args:
        spec: as :func:`resolve_model` returns it.

    Returns:
        import path or folder, and weights, of ``detector``, ``detected`` and ``other``; None for
        what is no such file.

    Raises:
        InputError: for a file that lacks one of them, or says something else.
    """
    path = Path(spec)
    if path.suffix not in (".yaml", ".yml"):
        return None
    given = _read(path)
    roles = ("detector", "detected", "other")
    width = as_number(given.get("width", 0.0))
    unknown = set(given) - {*roles, "width"}
    if unknown or not all(given.get(role) for role in roles) or not isinstance(width, int | float):
        raise InputError(
            f"{path}: give detector, detected and other, each package.module:name or the folder "
            "of a training, and width, a number, if the detector is to have a slope"
        )
    return {role: _beside(path, given[role]) for role in roles}, float(width)


def _beside(path: Path, given: Any) -> tuple[str, str | None]:
    """A model and its weights, named in a file in the folder of ``path``."""
    row = given if isinstance(given, dict) else {"model": given}
    model, weights = row.get("model"), row.get("weights")
    if set(row) - {"model", "weights"} or not isinstance(model, str):
        raise InputError(f"{path}: {given} is no model: give its name, or model and weights")
    beside = path.parent / str(model)
    model = _from(path, model) if ":" in model else str(beside)
    return model, None if weights is None else str(path.parent / str(weights))


def relative(spec: str, folder: Path) -> str:
    """The import path as a ``model.yaml`` in ``folder`` writes it: Python files relative to it.

    Folders of saved models, ``hf:DIR`` and ``timm:DIR``, become absolute.

    Symbolic links are resolved on both sides.

    Args:
        spec: an import path.
        folder: where the ``model.yaml`` will be.

    Example:
        >>> from pathlib import Path
        >>> relative("nets.py:make", Path("runs/a"))
        '../../nets.py:make'
    """
    name, _, rest = spec.partition(":")
    place, comma, settings = rest.partition(",")
    if name in ("hf", "timm") and Path(place).expanduser().is_dir():
        return f"{name}:{Path(place).expanduser().resolve()}{comma}{settings}"
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
