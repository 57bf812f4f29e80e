"""Models and weights of users: every failure is an `InputError` of one line."""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.maths.modules import eval_mode
from hauberk.models.files import WeightsFile, read_weights
from hauberk.models.matching import Match, candidates, few, is_float, match, resized
from hauberk.models.normalised import NormalisedModel, behind
from hauberk.models.routed import Routed
from hauberk.models.saved import resolve_model, routed_parts, saved_normalisation
from hauberk.models.source import FoundModel, ModelRequest
from hauberk.models.sources import SOURCES
from hauberk.spec.imports import call, import_object, one_line

DTYPES = {
    "float32": torch.float32, "fp32": torch.float32,
    "float64": torch.float64, "fp64": torch.float64,
    "float16": torch.float16, "fp16": torch.float16,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
}  # fmt: skip
"""The words for types of numbers."""

_OWN = ("pkg.module:attr", "path/to/file.py:attr")

log = logging.getLogger("hauberk")


def load_model(
    spec: str,
    weights: str | Path | None = None,
    *,
    dtype: str | torch.dtype | None = None,
    ignore_keys: Sequence[str] = (),
    download: bool = False,
    mean: Any = None,
    std: Any = None,
    box: Sequence[Any] = (0.0, 1.0),
) -> nn.Module:
    """The model that `spec` names, in eval mode.

    Args:
        spec: "pkg.module:attr" or "path/to/file.py:attr", where `attr` is an `nn.Module` (a copy is
            returned) or a callable without arguments that returns one; or the `model.yaml` of a
            training, or its folder, which names weights too; or the file of a
            :class:`~hauberk.models.Routed`. The current directory is importable;
            naming a module runs its code. Or one of the sources in
            `hauberk.models.sources.SOURCES`: `timm:resnet18`, `hf:DIR`, `torchvision:resnet18`,
            `robustbench:NAME`, with settings of the network behind it, as in
            `timm:resnet18,num_classes=10`.
        weights: a file, as for `load_weights`.
        dtype: `float32`, `float64`, `float16` or `bfloat16` to compute in; the model's own if left
            out.
        ignore_keys: patterns of names in the file that the model does not need, such as `head.*`.
        download: whether a source may fetch its own weights from the network.
        mean, std: what the inputs are normalised by, inside the model that is returned: as
            `hauberk.models.normalised` has them; if left out, what the model's own configuration
            or its `model.yaml` says; `"none"` for the bare model, `"auto"` to require that there is
            such a configuration.
        box: valid range of the inputs; a mean and std by name or file are of images in [0, 1],
            which are spread over it.

    Raises:
        InputError: if there is no such model, or if its code fails.

    Example:
        >>> from hauberk.models import load_model
        >>> type(load_model("hauberk.models:SmallCNN")).__name__
        'SmallCNN'
    """
    how: Any = {"ignore_keys": ignore_keys, "download": download}
    return find_model(spec, weights, dtype=dtype, mean=mean, std=std, box=box, **how).model


def find_model(
    spec: str,
    weights: str | Path | None = None,
    *,
    dtype: str | torch.dtype | None = None,
    ignore_keys: Sequence[str] = (),
    download: bool = False,
    mean: Any = None,
    std: Any = None,
    box: Sequence[Any] = (0.0, 1.0),
) -> FoundModel:
    """The model that `spec` names, as `load_model` returns it, and what its source says of it.

    Args:
        spec, weights, dtype, ignore_keys, download, mean, std, box: as for `load_model`.

    Raises:
        InputError: as `load_model` does.

    Example:
        >>> find_model("hauberk.models:SmallCNN").configuration
        {}
    """
    saved = saved_normalisation(spec)
    if mean is None and std is None and saved:
        mean, std = saved
    spec, weights = resolve_model(spec, weights)
    if routed := routed_parts(spec):
        parts, width = routed
        made = {role: load_model(*one, ignore_keys=ignore_keys) for role, one in parts.items()}
        whole = eval_mode(_cast(Routed(**made, width=width), dtype))
        return FoundModel(behind(whole, {}, mean, std, box, spec)[0])
    source = next((source for source in SOURCES.values() if source.takes(spec)), None)
    if source is None:
        if download:
            known = ", ".join(SOURCES)
            raise InputError(
                f"model {spec!r} is not fetched from anywhere: leave download out, or name a "
                f"source ({known})"
            )
        found = FoundModel(_imported(spec))
    else:
        found = source.open(ModelRequest(spec, weights is not None, download))
    weights = found.weights if weights is None else weights
    if weights is not None:
        found = _weighted(found, spec, read_weights(weights), dtype, ignore_keys)
    elif source is not None and not found.trained:
        log.info(
            f"model {spec} has random weights: give --weights FILE"
            + (", or --download for those of its makers" if found.rebuild else "")
        )
    model = eval_mode(_cast(found.model, dtype))
    model, own = behind(model, found.configuration, mean, std, box, spec)
    if own and isinstance(model, NormalisedModel):
        log.info(
            f"model {spec}: {model.by}, as its configuration says, of images in [0, 1] "
            "(--mean none to leave them out)"
        )
    return replace(found, model=model)


def _imported(spec: str) -> nn.Module:
    """A module of the user's own code."""
    sources = [source.usage for source in SOURCES.values()]
    found = import_object(spec, "model", ", ".join([*_OWN, *sources]))
    if isinstance(found, nn.Module):
        try:
            model: object = copy.deepcopy(found)
        except Exception as error:
            raise InputError(
                f"model {spec!r} cannot be copied ({one_line(error)}): "
                "name a function that returns it instead"
            ) from error
    else:
        model = call(found, spec, "model")
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model {spec!r} gave a {type(model).__name__}, not a torch.nn.Module: "
            "name a module, or a callable that returns one"
        )
    return model


def load_weights(
    model: nn.Module,
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    ignore_keys: Sequence[str] = (),
) -> nn.Module:
    """Load a file of weights into `model` and return that model in eval mode; strict.

    Dictionaries around the state dict are looked into, and prefixes of names are taken off on
    either side: `module.conv.weight` of the file fits `1.conv.weight` of a model behind a layer
    that normalises. Counters of batches may be missing, and so may buffers of the model called
    mean, std, mu or sigma, which keep the model's values. The model keeps its own dtype, whatever
    that of the file.

    Args:
        model: takes the weights; unchanged if there is an error.
        path: `.npz`, `.safetensors`, or what `torch.save` wrote (`.pt`, `.pth`, `.pth.tar`,
            `.ckpt`, `.bin`, or no ending), also a whole module; read without executing code.
            `FILE:KEY` where several sets of weights stand in one file.
        dtype: `float32`, `float64`, `float16` or `bfloat16`, to cast the model to.
        ignore_keys: patterns of names in the file that the model does not need, such as `head.*`.

    Raises:
        InputError: if the file is missing, corrupt, refused or ambiguous, if the keys, shapes or
            types do not fit, or if a weight is NaN or infinite.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np, torch
        >>> from hauberk.models import load_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "linear.npz"
        ...     np.savez(path, weight=np.ones((2, 3), np.float32), bias=np.zeros(2, np.float32))
        ...     model = load_weights(torch.nn.Linear(3, 2), path)
        >>> model(torch.ones(1, 3))
        tensor([[3., 3.]], grad_fn=<AddmmBackward0>)
    """
    file = read_weights(path)
    return _loaded(model, file, _fitting(model, file, ignore_keys), dtype)


def _weighted(
    found: FoundModel,
    spec: str,
    file: WeightsFile,
    dtype: str | torch.dtype | None,
    ignore_keys: Sequence[str],
) -> FoundModel:
    """The model with the weights of a file, made anew in their sizes where it has others."""
    model = found.model
    tried = [match(model, candidate) for candidate in candidates(file, ignore_keys)]
    for each in tried if found.rebuild else ():
        if each.misfit and (sizes := resized(each.misfit)):
            assert found.rebuild is not None
            other = found.rebuild(**sizes)
            if not match(other, _as_candidate(file, ignore_keys, each.name)).misfit:
                words = " and ".join(f"{key}={size}" for key, size in sizes.items())
                log.info(f"model {spec} is built with {words}, as the weights have it")
                model = other
                break
    model = _loaded(model, file, _fitting(model, file, ignore_keys), dtype)
    return replace(found, model=model, trained=True)


def _as_candidate(file: WeightsFile, ignore_keys: Sequence[str], name: str) -> Any:
    return next(c for c in candidates(file, ignore_keys) if c.name == name)


def _fitting(model: nn.Module, file: WeightsFile, ignore_keys: Sequence[str]) -> Match:
    """The one set of weights of the file that fits.

    Raises:
        InputError: if none does, or several that differ.
    """
    tried = [match(model, candidate) for candidate in candidates(file, ignore_keys)]
    fits = [found for found in tried if not found.misfit]
    if not fits:
        best = max(tried, key=lambda found: found.misfit.overlap).misfit
        raise InputError(
            f"weights {file.path} do not fit {type(model).__name__}: {best}{_remedy(file, best)}"
        )
    for other in fits[1:]:
        if not _same(fits[0].weights, other.weights):
            raise InputError(
                f"weights {file.path}: both {fits[0].name!r} and {other.name!r} fit and they "
                f"differ: name the one that you mean, {file.path.name}:{other.name}"
            )
    return fits[0]


def _remedy(file: WeightsFile, misfit: Any) -> str:
    if file.inert:
        return (
            f"; of what is no tensor nothing was read, as that could execute code (it asks for "
            f"{file.inert[0]}): if that is the reason, save model.state_dict() alone"
        )
    if misfit.unexpected and not misfit.missing and not misfit.wrong:
        first = misfit.unexpected[0]
        pattern = f"{first.partition('.')[0]}.*" if "." in first else first
        return f"; if the model does not need them: ignore_keys='{pattern}'"
    return ""


def _loaded(
    model: nn.Module, file: WeightsFile, chosen: Match, dtype: str | torch.dtype | None
) -> nn.Module:
    """The model with these weights, in eval mode."""
    own = model.state_dict()
    _check_values(file.path, chosen.weights, own)
    if chosen.kept:
        log.info(f"{few(chosen.kept)} are the model's own: weights {file.path} have none")
    model = _cast(model, dtype)
    _say_types(model, file, chosen, dtype)
    # Not strict: only counters and constants can still be missing.
    try:
        model.load_state_dict(dict(chosen.weights), strict=False)
    except Exception as error:  # a module with a loading function of its own
        raise InputError(f"weights {file.path} do not load: {one_line(error)}") from error
    return eval_mode(model)


def _say_types(
    model: nn.Module, file: WeightsFile, chosen: Match, dtype: str | torch.dtype | None
) -> None:
    """Say where the model computes in another type of numbers than its weights have."""
    own = model.state_dict()
    for key, value in chosen.weights.items():
        if is_float(value) and is_float(own[key]) and value.dtype != own[key].dtype:
            given, mine = (str(t.dtype).removeprefix("torch.") for t in (value, own[key]))
            more = "" if dtype else f"; dtype={given} computes as they are"
            log.info(f"weights {file.path} are {given}, the model computes in {mine}{more}")
            return


def _cast(model: nn.Module, dtype: str | torch.dtype | None) -> nn.Module:
    """The model in this type of numbers.

    Raises:
        InputError: for another word.
    """
    if dtype is None:
        return model
    wanted = DTYPES.get(dtype.lower().removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if wanted not in DTYPES.values():
        raise InputError(f"dtype is {dtype}: give float32, float64, float16 or bfloat16")
    try:
        return model.to(wanted)
    except Exception as error:
        raise InputError(
            f"the model cannot be cast to {dtype} ({one_line(error)}): leave dtype out"
        ) from error


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    tensors = [key for key, value in a.items() if isinstance(value, Tensor)]
    return all(
        key in b and a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in tensors
    )


def _check_values(path: Path, weights: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Infinite values are accepted where the model itself has the same, as in a mask."""

    def bad_in(key: str, v: Tensor) -> bool:
        mine = own.get(key)
        if not isinstance(mine, Tensor) or mine.shape != v.shape:
            return not bool(v.isfinite().all())
        return bool((~v.isfinite() & (v != mine.to(v))).any())

    bad = [key for key, v in weights.items() if is_float(v) and bad_in(key, v)]
    if bad:
        raise InputError(
            f"weights {path}: NaN or infinite values in {few(bad)}: use another checkpoint"
        )
