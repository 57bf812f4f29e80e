"""Image classifiers of the package transformers, from a folder that it saved."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hauberk.errors import InputError
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made, required


def _open(request: ModelRequest) -> FoundModel:
    transformers: Any = required("transformers", request.spec)
    place = request.argument
    local = Path(place).expanduser()
    _require_place(request, local)
    where = str(local) if local.is_dir() else place
    how = {"local_files_only": not request.download, "trust_remote_code": False}
    hint = "" if local.is_dir() or request.download else (
        f"no folder {place} is here, and the hub's copy is not on this machine: give the folder "
        "of a saved model, or --download to fetch it"
    )  # fmt: skip
    with made(request, hint):
        config = transformers.AutoConfig.from_pretrained(where, **how, **request.settings)
    _require_one_label(request, config)
    auto = transformers.AutoModelForImageClassification
    with made(request, hint):
        if request.weighted:
            model, told = auto.from_config(config), {}
        else:
            # Its own default is whatever type the file has.
            kind = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
            model, told = auto.from_pretrained(
                where, config=config, output_loading_info=True, weights_only=True,
                **how, **{kind: torch.float32},
            )  # fmt: skip
    assert isinstance(model, nn.Module)
    _require_complete(request, told)
    return FoundModel(model, _says(where, transformers, how), trained=not request.weighted)


def _require_place(request: ModelRequest, local: Path) -> None:
    if local.is_file():
        raise InputError(
            f"model {request.spec!r}: {local} is a file: give the folder that holds it"
        )
    if local.is_dir() and not (local / "config.json").is_file():
        raise InputError(
            f"model {request.spec!r}: {local} holds no config.json: give the folder that "
            "save_pretrained wrote"
        )


def _require_one_label(request: ModelRequest, config: Any) -> None:
    """Refuse heads whose numbers are no logits of classes that exclude each other."""
    kind = getattr(config, "problem_type", None)
    if kind in ("multi_label_classification", "regression"):
        raise InputError(
            f"model {request.spec!r} is made for {kind.replace('_', ' ')} (problem_type in its "
            "config.json): hauberk needs a classifier of one label per image"
        )


def _require_complete(request: ModelRequest, told: dict[str, Any]) -> None:
    """Refuse a model parts of which would be random, or parts of whose file would be left out."""
    for kind in ("missing", "mismatched", "unexpected"):
        if names := sorted(str(n) for n in told.get(f"{kind}_keys") or ()):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"model {request.spec!r}: {len(names)} {kind}: {', '.join(names[:3])}{more}: "
                "the folder is no whole image classifier; save one with save_pretrained"
            )


def _says(where: str, transformers: Any, how: dict[str, Any]) -> dict[str, Any]:
    """What `preprocessor_config.json` says of the images."""
    path = Path(where, "preprocessor_config.json")
    try:
        if not path.is_file():
            found = transformers.utils.cached_file(
                where, path.name, _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
                local_files_only=how["local_files_only"],
            )  # fmt: skip
            if not found:
                return {}
            path = Path(found)
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


HF = ModelSource(
    "hf",
    "hf:DIR",
    "An image classifier that transformers saved; a name of the hub with --download.",
    _open,
)
