"""The folder of a training: its state, weights, history and configuration, each whole or absent.

::

    out/config.json          what decides the numbers
    out/checkpoint.pt        all that resuming needs: model, optimiser, average, tables, history
    out/best.safetensors     weights chosen by validation; out/last.safetensors: the latest
    out/model.yaml           how to load them
    out/history.csv          one line per epoch; out/summary.json: written last
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.evaluation.core.digest import weights
from hauberk.models.normalised import NormalisedModel
from hauberk.models.saved import FILE, relative
from hauberk.spec.imports import one_line
from hauberk.store.files import put, read_json
from hauberk.store.folder import Folder

STATE = "checkpoint.pt"
CONFIG = "config.json"

LEFT: WeakKeyDictionary[nn.Module, tuple[Path, str]] = WeakKeyDictionary()
"""Models that this process has trained, each with the folder and the weights it was left with."""


class TrainingFolder(Folder):
    """The folder of one training, taken with :meth:`at`."""

    @classmethod
    def at(cls, out: str | Path, config: Mapping[str, Any], resume: bool) -> Self:
        """Make the folder for a training, or take up the training in it.

        Args:
            out: The folder.
            config: What decides the numbers, for ``config.json``.
            resume: Whether a training that is there may be continued.

        Raises:
            InputError: if it holds another run or other files, the settings differ from those
                there, it cannot be written, or another process writes to it.
        """
        return cls.take(out, config, CONFIG, resume=resume)

    def words(self, name: str, was: Any, now: Any) -> str | None:
        """What differs of the model, in the words of a training."""
        if name == "models.model.weights":
            return (
                "the weights of the model are neither those that the training began with nor any "
                "that it saved: build the model as it was at the start (the same seed or weights), "
                f"or load {self.path / 'last.safetensors'} into it first"
            )
        if name == "models.model.architecture":
            return "the architecture or code of the model differs"
        return super().words(name, was, now)

    def begin(self, model: nn.Module, spec: str | None) -> None:
        """Write down how to load the weights that will come."""
        import yaml

        how = loading(model, None if spec is None else relative(spec, self.path))
        self.write(FILE, yaml.safe_dump(how, sort_keys=False).encode())

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


def begun(out: Path, config: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """The configuration of a model as the training in a folder began with it.

    A model that holds weights which the training saved, or left it with when it was interrupted
    (fit trains in place), counts as the one that it began with: resuming restores its state anyway.
    """
    try:
        there = read_json(out / CONFIG)["models"]["model"]["weights"]
        here = config["models"]["model"]
        left = LEFT.get(model) == (out.resolve(), here["weights"])
        if there == here["weights"] or not (left or _saved(out, model)):
            return config
    except (InputError, OSError, KeyError, TypeError):  # nothing there, or nothing to compare
        return config
    return {**config, "models": {**config["models"], "model": {**here, "weights": there}}}


def leave(out: Path, model: nn.Module) -> None:
    """Remember the weights that a training in a folder leaves a model with."""
    LEFT[model] = out.resolve(), weights(getattr(model, "_orig_mod", model))


def _saved(out: Path, model: nn.Module) -> bool:
    """Whether the weights of a model are those of a file in the folder."""
    from safetensors.torch import load_file

    held = getattr(model, "_orig_mod", model).state_dict()
    for name in ("best.safetensors", "last.safetensors", STATE):
        try:
            found = (
                torch.load(out / name, map_location="cpu", weights_only=True)["model"]
                if name == STATE
                else load_file(out / name)
            )
        except Exception:  # noqa: BLE001  # missing, or corrupt, which is said elsewhere
            continue
        names = {k.removeprefix("_orig_mod."): v for k, v in found.items()}
        if names.keys() == held.keys() and all(
            torch.equal(value, held[name].cpu()) for name, value in names.items()
        ):
            return True
    return False


def loading(model: nn.Module, spec: str | None) -> dict[str, Any]:
    """What ``model.yaml`` says: import path of the model, if there is one, class and weights.

    Of a model behind a normalisation also ``mean`` and ``std``.
    """
    model = getattr(model, "_orig_mod", model)  # what a compiled model was made from
    by: dict[str, Any] = {}
    if isinstance(model, NormalisedModel):
        by = {"mean": list(model.by.mean), "std": list(model.by.std)}
        model = model.model
    if spec is None and not type(model).__module__.startswith("__"):
        spec = _spec(model)
    return {"model": spec, "class": type(model).__qualname__, "weights": "best.safetensors", **by}


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
