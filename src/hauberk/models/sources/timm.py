"""Networks of the package timm."""

import difflib
import json
from pathlib import Path
from typing import Any

from torch import nn

from hauberk.errors import InputError
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made, required
from hauberk.spec.imports import one_line


def _open(request: ModelRequest) -> FoundModel:
    timm: Any = required("timm", request.spec)
    given = request.settings
    name, weights = request.argument, None
    if Path(name, "config.json").is_file():
        weights = next((str(f) for f in map(Path(name).joinpath, _FILES) if f.is_file()), None)
        name, own = _of_folder(Path(name), request)
        given = own | given
    if not timm.is_model(name):
        known = timm.list_models()
        close = difflib.get_close_matches(name.partition(".")[0], known, n=3)
        end = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() shows all"
        raise InputError(f"model {request.spec!r}: timm has no {name!r}: {end}")

    def build(**more: Any) -> nn.Module:
        hint = "give other settings" + (", or leave --download out" if request.download else "")
        with made(request, hint):
            built = timm.create_model(name, pretrained=request.download, **{**given, **more})
        assert isinstance(built, nn.Module)
        return built

    model = build()
    says = getattr(model, "pretrained_cfg", None) or {}
    return FoundModel(model, dict(says), build, request.download, weights)


def _of_folder(folder: Path, request: ModelRequest) -> tuple[str, dict[str, Any]]:
    """Name and settings of a network that was saved with timm's `save_for_hf`."""
    try:
        says = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings = dict(says.get("model_args") or {})
        for key in ("num_classes", "global_pool"):
            if key in says:
                settings.setdefault(key, says[key])
        cfg = says.get("pretrained_cfg") or {}
        return str(says["architecture"]), {**settings, "pretrained_cfg": cfg}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"model {request.spec!r}: {folder / 'config.json'} is none of timm "
            f"({one_line(error)}): for a folder of transformers write hf:{folder}"
        ) from error


_FILES = ("model.safetensors", "pytorch_model.bin")

TIMM = ModelSource(
    "timm",
    "timm:NAME",
    "A network of timm, or a folder that it saved; weights by --weights, or the hub's with "
    "--download.",
    _open,
)
