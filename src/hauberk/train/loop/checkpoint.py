"""The folder of a training: its state, weights, history and configuration, each whole or absent.

::

    out/config.json          what decides the numbers
    out/checkpoint.pt        all that is needed to go on: model, optimiser, average, tables, history
    out/best.safetensors     weights chosen by validation; out/last.safetensors: the latest
    out/model.yaml           how to load them
    out/history.csv          one line per epoch; out/summary.json: written last
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.saved import FILE, relative
from hauberk.spec.imports import one_line
from hauberk.store.files import (
    LOCK,
    TEMPORARY,
    differences,
    is_temporary,
    lock,
    plain,
    put,
    read_json,
    short,
    to_json,
)

STATE = "checkpoint.pt"


class Folder:
    """One training on disk, written by one process."""

    def __init__(self, out: str | Path, config: Mapping[str, Any], resume: bool) -> None:
        """Make or reopen it.

        Raises:
            InputError: if it holds another run or other files, the settings differ from those
                there, it cannot be written, or another process writes to it.
        """
        self.path, wanted = Path(out), plain(dict(config))
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise InputError(f"{self.path} is a file: choose another out, a folder for the run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _require_free(self.path, resume)
            self._lock = lock(self.path)
            for left in self.path.glob(f".*{TEMPORARY}"):
                left.unlink(missing_ok=True)
            if (self.path / "config.json").exists():
                try:
                    _require_same(self.path, read_json(self.path / "config.json"), wanted)
                except InputError:
                    self.close()
                    raise
            else:
                put(self.path / "config.json", to_json(wanted))
        except OSError as error:
            raise InputError(
                f"cannot write to {self.path} ({error.strerror or error}): choose another out"
            ) from error

    def close(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, model: nn.Module, spec: str | None) -> None:
        """Write down how to load the weights that will come."""
        import yaml

        told = loading(model, None if spec is None else relative(spec, self.path))
        self.write(FILE, yaml.safe_dump(told, sort_keys=False).encode())

    def load(self) -> dict[str, Any] | None:
        """The state saved last, on the CPU; None without one.

        Raises:
            InputError: if it cannot be read.
        """
        file = self.path / STATE
        if not file.exists():
            return None
        try:
            found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a corrupt file makes torch.load raise almost anything
            raise InputError(
                f"{file} cannot be read ({one_line(error)}): restore it from a copy, "
                "or start again with another out"
            ) from error
        return found

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state; what was saved before stays if that fails."""
        stream = io.BytesIO()
        torch.save(dict(state), stream)
        self.write(STATE, stream.getvalue())

    def save_weights(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """A state dict as ``<name>.safetensors``."""
        from safetensors.torch import save

        whole = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
        self.write(f"{name}.safetensors", save(whole))

    def save_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """A line per epoch, under every name that some epoch has."""
        names = dict.fromkeys(name for record in history for name in record)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        self.write("history.csv", stream.getvalue().encode())

    def write(self, name: str, data: bytes) -> None:
        """A file of the folder, whole; `InputError` if the disk is full or the like."""
        try:
            put(self.path / name, data)
        except OSError as error:
            raise InputError(
                f"cannot write {self.path / name} ({error.strerror or error}); the checkpoint "
                "written before is kept: free some space or see to the cause, then resume"
            ) from error


def loading(model: nn.Module, spec: str | None) -> dict[str, Any]:
    """What ``model.yaml`` says: the import path of the model, if it is known, and the weights."""
    model = getattr(model, "_orig_mod", model)  # what a compiled model was made from
    if spec is None and not type(model).__module__.startswith("__"):
        spec = _spec(model)
    return {"model": spec, "class": type(model).__qualname__, "weights": "best.safetensors"}


def _spec(model: nn.Module) -> str | None:
    """The model's class, if calling it without arguments gives the same weights' shapes."""
    kind = type(model)
    if "." in kind.__qualname__:
        return None
    try:
        with torch.random.fork_rng(devices=[]):
            other = kind()
        same = _shapes(other) == _shapes(model)
    except Exception:  # noqa: BLE001  # whatever a user's constructor raises without arguments
        return None
    return f"{kind.__module__}:{kind.__qualname__}" if same else None


def _shapes(model: nn.Module) -> dict[str, Any]:
    return {k: v.shape for k, v in model.state_dict().items()}


def _require_free(path: Path, resume: bool) -> None:
    if (path / "config.json").exists():
        if not resume:
            raise InputError(
                f"{path} already holds a run: choose another out, or resume=True to continue it"
            )
    elif any(not is_temporary(entry) and entry.name != LOCK for entry in path.iterdir()):
        raise InputError(
            f"{path} holds files but no config.json, so it is no training of hauberk: "
            "choose another out, or an empty folder"
        )


def _require_same(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    if found := differences(there, here):
        told = [f"{name} is {short(b)} here but {short(a)} there" for name, a, b in found[:8]]
        more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
        raise InputError(
            f"{path} holds a training with other settings, so it cannot be resumed: "
            f"{'; '.join(told)}{more}: use the same settings, or choose another out"
        )
