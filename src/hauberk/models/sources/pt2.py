"""Graphs that `torch.export.save` wrote, looked through before torch reads them."""

import inspect
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hauberk.errors import InputError
from hauberk.maths.modules import trained_parts
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made
from hauberk.spec.imports import one_line

_COMPILED = (".so", ".dll", ".dylib", ".cubin", ".cpp", ".o", ".hsaco")
_EXPORT = "write it with torch.export.save(torch.export.export(model.eval(), (x,)), FILE)"
_OPERATIONS = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized|quantized_decomposed|torchvision)\.\w+(\.\w+)?"
    r"|torch\.sym_\w+|torch\._C\._set_grad_enabled|math\.\w+"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|getitem|eq|ne|lt|le|gt|ge|and_|"
    r"or_|not_|lshift|rshift|index)"
)
_FORBIDDEN = re.compile(r"torch\.ops\.aten\.from_file\b")
_TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_WORDS = re.compile(
    r"[suz]f?\d+|u\d+|Symbol|positive|negative|integer|nonnegative|real|True|False|Integer|Rational|"
    r"Max|Min|Mod|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Abs|floor|ceiling|oo|int_oo|sqrt|"
    r"(?:Floor|Clean|Ceil|Int|Float)\w*Div|\w+ToInt|ToFloat|PythonMod|ModularIndexing|Where|"
    r"[LR]Shift|\w*PowByNatural|FloatPow|Identity|OpaqueUnaryFn_\w+"
)


def _open(request: ModelRequest) -> FoundModel:
    path = Path(request.spec.removeprefix("pt2:").partition(",")[0]).expanduser()
    if request.weighted or request.download:
        word = "weights" if request.weighted else "download"
        raise InputError(f"model {request.spec!r} holds its weights itself: leave {word} out")
    require_harmless(path)
    with made(request, _EXPORT):
        program = torch.export.load(path)
        # Guards are code in the file, which would be run: shapes are checked without them.
        plain = "check_guards" in inspect.signature(program.module).parameters
        model = program.module(**({"check_guards": False} if plain else {}))
    if parts := trained_parts(model):
        raise InputError(
            f"model {request.spec!r} was exported in train mode ({', '.join(sorted(set(parts)))}): "
            f"{_EXPORT}"
        )
    return FoundModel(model, trained=True)


def require_harmless(path: Path) -> None:
    """Refuse an archive with anything that torch would execute on reading or running it.

    Args:
        path: of the archive.

    Raises:
        InputError: for compiled code, pickled objects, operations outside torch, and expressions
            that are no arithmetic of sizes; and for what is no such archive.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"model {path}: the file {what}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            graphs = [n for n in names if re.fullmatch(r"([^/]+/)?models/[^/]+\.json", n)]
            trees = [json.loads(archive.read(name)) for name in graphs]
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(
            f"model {path}: no archive of torch.export ({one_line(error)}): {_EXPORT}"
        ) from error
    compiled = [n for n in names if "aotinductor/" in n or n.lower().endswith(_COMPILED)]
    if compiled:
        raise InputError(
            f"model {path}: it holds compiled code ({compiled[0]}), which would be executed and "
            f"has no gradients: {_EXPORT}"
        )
    if not trees:
        raise InputError(f"model {path}: it holds no exported model of this format: {_EXPORT}")
    objects = [n for n in names if re.search(r"constants/(custom|opaque)_obj", n)]
    bad = [f"an object of another class ({n})" for n in objects]
    for tree in trees:
        bad += _harmful(tree)
    if bad:
        raise InputError(
            f"model {path}: refused, as using it could execute code ({bad[0]}): give the module "
            "that it was made from"
        )


def _harmful(tree: Any) -> Iterator[str]:
    """What in the description of a graph is more than operations of torch and sizes."""
    if isinstance(tree, list):
        for each in tree:
            yield from _harmful(each)
    if not isinstance(tree, dict):
        return
    called = [tree.get("target")] if "inputs" in tree else []
    for name in filter(None, [*called, tree.get("as_operator")]):
        if not _OPERATIONS.fullmatch(str(name)) or _FORBIDDEN.match(str(name)):
            yield f"the operation {str(name)[:60]}"
    if isinstance(text := tree.get("expr_str"), str) and not _is_arithmetic(text):
        yield f"the expression {text[:60]}"
    for name in ("in_spec", "out_spec"):
        if isinstance(text := tree.get(name), str):
            yield from (f"the container {kind}" for kind in _kinds(text) - _TREES)
    for value in tree.values():
        yield from _harmful(value)


def _is_arithmetic(text: str) -> bool:
    if re.search(r"[^\w\s()+\-*/,=<>&|~'.]|__|\.\s*[A-Za-z_(]|\)\s*\.", text):
        return False
    return all(_WORDS.fullmatch(word) for word in re.findall(r"[A-Za-z_]\w*", text))


def _kinds(text: str) -> set[Any]:
    """The types of containers in a tree of inputs or outputs."""
    try:
        left, found = [json.loads(text)], set[Any]()
    except ValueError:
        return {text[:60]}
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if "type" in each:
                found.add(each["type"])
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found


PT2 = ModelSource(
    "pt2",
    "FILE.pt2",
    "A graph that torch.export.save wrote, with its weights; nothing in it is executed.",
    _open,
    suffix=".pt2",
)
