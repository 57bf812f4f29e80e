"""Arrays in `.npy` files, and tensors in `.pt` and `.safetensors` files; no code is executed."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.naming import pair_of
from hauberk.data.objects import open_object, with_names
from hauberk.data.source import DataSource, RawData, Request, in_memory
from hauberk.errors import InputError
from hauberk.spec.imports import one_line


def _open_npy(request: Request) -> RawData:
    """Two files, or those of a folder that have the usual names; mapped into memory."""
    path, words = request.located
    if path.is_dir():
        files = {file.stem: file for file in sorted(path.glob("*.npy"))}
        names = pair_of(files, f"npy:{path}", words)
        one, two = files[names.images], files[names.labels]
    elif len(words) == 1:
        one, two = path, Path(words[0]).expanduser()
        two = two if two.exists() else path.parent / two
    else:
        raise InputError(f"{request.spec}: where are the labels? write npy:IMAGES.npy:LABELS.npy")
    return with_names(in_memory(read_npy(one), read_npy(two), request.spec), request)


NPY = DataSource(
    "npy",
    "npy:IMAGES.npy:LABELS.npy",
    "Two NumPy files, or a folder with images.npy and labels.npy, x_test.npy and y_test.npy, ...",
    _open_npy,
)


def read_npy(path: Path) -> np.ndarray[Any, Any]:
    """The array in a file, not loaded into memory.

    Raises:
        InputError: if it is missing, broken, or holds Python objects.
    """
    if not path.is_file():
        raise InputError(f"{path} is a folder" if path.is_dir() else f"{path} does not exist")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} is no readable .npy file ({one_line(error)}): fetch it again"
        ) from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path} is no .npy file: fetch it again")
    return found


def _open_pt(request: Request) -> RawData:
    """A pair, a dictionary or a list of tensors."""
    path, words = request.located
    found = _tensors(path)
    while (
        isinstance(found, dict) and words and isinstance(found.get(words[0]), dict | tuple | list)
    ):
        found, words = found[words[0]], words[1:]
    if isinstance(found, dict):
        tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        names = pair_of(tensors, f"{request.name}:{path}", words, shapes=shapes)
        raw = in_memory(tensors[names.images], tensors[names.labels], request.spec)
        return with_names(raw, request)
    if words:
        raise InputError(f"{request.spec}: {path} holds no names: leave out ':{':'.join(words)}'")
    if isinstance(found, Tensor):
        raise InputError(
            f"{request.spec}: {path} holds one tensor: save a pair (images, labels), or a "
            "dictionary with both"
        )
    return open_object(found, request)


PT = DataSource(
    "pt",
    "pt:FILE[:IMAGES:LABELS]",
    "Tensors: a .pt file with a pair or a dictionary, as torch.save writes it, or .safetensors.",
    _open_pt,
)


def _tensors(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path} is a folder: give a file of tensors")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files of before torch 1.6 cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "GLOBAL" in str(error) or "Unsupported global" in str(error):
            raise InputError(
                f"{path} holds more than tensors, whose reading would execute code: save a pair "
                "(images, labels) or a dictionary of tensors"
            ) from error
        raise InputError(f"{path} holds no tensors that can be read ({one_line(error)})") from error
