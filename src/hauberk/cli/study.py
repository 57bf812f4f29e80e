"""What the commands that draw have in common: models, data, a picture and its numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hauberk.cli.load import load_by_name, load_data, named_models, reading, settle_threads
from hauberk.cli.options import (
    BoxOption,
    Command,
    DataOptions,
    DeviceOptions,
    ModelsOptions,
    option,
)
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset
    from hauberk.threats import Threat

SUFFIXES = (".png", ".svg")


@dataclass(frozen=True, kw_only=True)
class PictureOptions(Command):
    """One picture, and its numbers beside it."""

    out: str | None = option(None, "picture FILE.png or FILE.svg, or a folder; JSON beside it")

    def place(self, name: str) -> Path | None:
        """Where the picture goes, if ``--out`` is given: in a folder, ``NAME.png``.

        Raises:
            InputError: for another ending, or a folder that cannot be made.
        """
        if not self.out:
            return None
        path = Path(self.out).expanduser()
        if path.suffix and path.suffix.lower() not in SUFFIXES and not path.is_dir():
            raise InputError(f"--out {self.out}: give FILE.png, FILE.svg or a folder")
        picture = path if path.suffix.lower() in SUFFIXES else path / f"{name}.png"
        try:
            picture.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {self.out}: {error.strerror or error}") from error
        return picture

    def leave_numbers(self, picture: Path, numbers: Any) -> None:
        """Write the numbers beside the picture as JSON, and print where both are.

        Raises:
            InputError: if they cannot be written.
        """
        beside = picture.with_suffix(".json")
        try:
            beside.write_text(json.dumps(_short(numbers)) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write to {beside}: {error.strerror or error}") from error
        print(picture, beside, sep="\n")


@dataclass(frozen=True, kw_only=True)
class StudyCommand(PictureOptions, BoxOption, DeviceOptions, DataOptions, ModelsOptions):
    """A picture of one or several models on some examples."""

    seed: int = option(0, "seed of all random numbers")

    def loaded(self) -> "tuple[dict[str, nn.Module], Dataset]":
        """The models by name, and the examples."""
        named = named_models(self)
        data = load_data(self)
        models = load_by_name(named, self, self)
        settle_threads(self, models.values(), data.images)
        self.look_at(models, data)
        return models, data

    def look_at(self, models: "Mapping[str, nn.Module]", data: "Dataset") -> None:
        """Warn of what is odd about models, data and the sizes of threats.

        Raises:
            InputError: for a model whose output depends on the rest of the batch.
        """
        from hauberk.evaluation.core.options import RunOptions
        from hauberk.evaluation.core.prepare import look_at
        from hauberk.threats import threat

        # Threats with a network of their own are measured by it, and left to the attack.
        sizes = [threat(text) for text in getattr(self, "threat", ()) if "@" not in text]
        weights = {"weights": [model.weights for model in named_models(self)]}
        options = RunOptions(box=self.box, batch_size=self.batch_size, manifest=weights)
        look_at(models, data.images, data.labels, options, sizes)

    def at_index(self, index: int | None) -> Self:
        """The command on the one example at a place of the data given, or on all.

        Raises:
            InputError: for a place beyond ``--limit``.
        """
        if index is None:
            return self
        if self.sample is not None:
            raise InputError("--index is a place among all examples: leave out --sample")
        if index < 0 or (self.limit is not None and index >= self.limit):
            most = "or more" if self.limit is None else f"to {self.limit - 1}, by --limit"
            raise InputError(f"--index is {index}: give 0 {most}")
        return replace(self, offset=self.offset + index, limit=1)

    def how(self) -> dict[str, Any]:
        """What every attack is run with."""
        return {"box": self.box, "seed": self.seed, "batch_size": self.batch_size}

    def facts(self) -> dict[str, Any]:
        """What the numbers depend on, for their file."""
        return {
            "data": self.data, "limit": self.limit, "offset": self.offset, "seed": self.seed,
            **reading(self).facts(), "command": ["hauberk", *self.argv],
        }  # fmt: skip


def _short(value: Any) -> Any:
    """The same with six digits a number: files of curves stay small."""
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_short(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def one_threat(texts: list[str]) -> "Threat":
    """The one threat that is written.

    Raises:
        InputError: for none, or several.
    """
    from hauberk.cli.load import threat_of

    found = threat_of(texts)
    if len(found.parts) > 1:
        raise InputError(f"{found} is several threats: give one --threat")
    return found
