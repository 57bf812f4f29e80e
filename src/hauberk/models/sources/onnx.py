"""Graphs in ONNX files, by an importer that makes operations of torch of them."""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.fixed import FixedBatch
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made, required
from hauberk.spec.imports import one_line

LARGEST = 3 * 64 * 64
"""Numbers in an input up to which onnx's own evaluator, which is slow, is asked to compare."""

SAME = 1e-3
"""Share of the largest output by which an importer's outputs may differ."""

log = logging.getLogger("hauberk")


def _open(request: ModelRequest) -> FoundModel:
    path = Path(request.spec.removeprefix("onnx:").partition(",")[0]).expanduser()
    if request.weighted or request.download:
        word = "weights" if request.weighted else "download"
        raise InputError(f"model {request.spec!r} holds its weights itself: leave {word} out")
    if not path.is_file():
        raise InputError(f"model {path}: the file does not exist")
    onnx: Any = required("onnx", request.spec, "pip install onnx onnx2fx")
    with made(request, "export it again"):
        graph = onnx.load(str(path))
        onnx.checker.check_model(graph)
    shape = _input_shape(graph, request)
    model = _imported(path, graph, request)
    size = shape[0]
    if size:
        model = FixedBatch(model, size)
    _compare(model, path, graph, [size or 1, *shape[1:]], request)
    return FoundModel(model, trained=True)


def _input_shape(graph: Any, request: ModelRequest) -> list[int]:
    """The shape of the one input, 0 where it is free."""
    given = {each.name for each in graph.graph.initializer}
    inputs = [each for each in graph.graph.input if each.name not in given]
    if len(inputs) != 1:
        raise InputError(
            f"model {request.spec!r} has {len(inputs)} inputs: hauberk needs a model of one"
        )
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in (1, 10, 11, 16):  # float32, float16, float64, bfloat16
        raise InputError(
            f"model {request.spec!r} takes integers: export it with inputs of floating point"
        )
    return [int(size.dim_value) for size in kind.shape.dim] or [0]


def _imported(path: Path, graph: Any, request: ModelRequest) -> nn.Module:
    """The graph as a module, by the first importer that is installed and can read it."""
    why = ""
    for name in IMPORTERS:
        try:
            package: Any = import_module(name)
        except Exception as error:  # noqa: BLE001  # absent, or made for another torch
            absent = isinstance(error, ModuleNotFoundError) and error.name == name
            why = why or ("" if absent else f"{name} cannot be imported ({one_line(error)})")
            continue
        try:
            with made(request):
                if name == "onnx2pytorch":
                    model = package.ConvertModel(graph, experimental=True)
                else:
                    model = package.convert(str(path))
            assert isinstance(model, nn.Module)
            return model
        except InputError as error:
            why = f"{name} cannot read it ({error})"
    raise InputError(
        f"model {request.spec!r}: {why or 'no importer of ONNX is installed'}: "
        "pip install onnx2fx (or onnx2torch), or give the module that it was made from"
    )


IMPORTERS = ("onnx2fx", "onnx2torch", "onnx2pytorch")
"""Packages that import ONNX files into torch, in the order in which they are tried."""


def _compare(
    model: nn.Module, path: Path, graph: Any, shape: list[int], request: ModelRequest
) -> None:
    """Refuse an import that computes something else than an evaluator of ONNX."""
    if not all(shape):
        log.info(f"model {path}: its input has no fixed shape, so the import is not compared")
        return
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    wanted = _evaluated(path, graph, x)
    if wanted is None:
        log.info(f"model {path}: pip install onnxruntime to have the import compared with it")
        return
    with made(request, "give the module that it was made from"), torch.no_grad():
        found = model.eval()(torch.from_numpy(x))
    found = found if isinstance(found, Tensor) else found[0]
    allowed = SAME * max(1e-6, float(np.abs(wanted).max()))
    if tuple(found.shape) != wanted.shape or np.abs(found.numpy() - wanted).max() > allowed:
        raise InputError(
            f"model {request.spec!r}: the import computes something else than the file says: give "
            "the module that it was made from"
        )


def _evaluated(path: Path, graph: Any, x: Any) -> Any:
    """The first output by onnxruntime, or by onnx itself where that is quick; None by neither."""
    names = {each.name for each in graph.graph.initializer}
    name = next(each.name for each in graph.graph.input if each.name not in names)
    try:
        runtime: Any = import_module("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {name: x})[0]
    except Exception:  # noqa: BLE001  # absent, or an operation that it lacks
        if x[0].size > LARGEST:
            return None
    try:
        reference: Any = import_module("onnx.reference")
        return reference.ReferenceEvaluator(graph).run(None, {name: x})[0]
    except Exception:  # noqa: BLE001  # an operation that it lacks
        return None


ONNX = ModelSource(
    "onnx",
    "FILE.onnx",
    "A graph in an ONNX file, with its weights, by the package onnx2fx (or onnx2torch).",
    _open,
    suffix=".onnx",
)
