"""Images and labels in columns of Arrow tables: which columns, and what of them becomes arrays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.data.items import arranged, as_array
from hauberk.data.naming import role
from hauberk.data.pictures import SUFFIXES, read_pictures
from hauberk.data.reading import Reading
from hauberk.errors import InputError

_PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "name")
_INDEX = ("", "Unnamed: 0", "__index_level_0__")
_TASKS = "image:label, or COLUMN,COLUMN:LABEL for columns of numbers"


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read.

    Args:
        inputs: one of images, of their paths or of vectors; or several of numbers.
        label: of the classes.
        names: of the classes, if the table says them.
        folder: against which paths are read.
        where: the name of the data set, for error messages.
    """

    inputs: tuple[str, ...]
    label: str
    names: tuple[str, ...] | None
    folder: Path
    where: str

    def images(self, table: Any, reading: Reading, start: int) -> Any:
        """The inputs of some rows, `start` being the first, made as `reading` says.

        Raises:
            InputError: for what is no picture and no number.
        """
        if len(self.inputs) > 1 or _is_number(table.schema.field(self.inputs[0]).type):
            columns = [_numbers(table.column(name), name, self.where) for name in self.inputs]
            return arranged(np.stack(columns, axis=1), reading, self.where)
        name = self.inputs[0]
        values = table.column(name).to_pylist()
        if missing := [k for k, value in enumerate(values) if value is None]:
            raise InputError(f"{self.where}: row {start + missing[0]} has no {name}: remove it")
        if values and isinstance(values[0], dict | bytes | str):
            some = ((f"row {start + k}", self._picture(v)) for k, v in enumerate(values))
            return read_pictures(some, reading, self.where)
        found = as_array(values, self.where, start)
        return arranged(found, reading, self.where)

    def labels(self, table: Any) -> Any:
        """The labels of some rows."""
        column = table.column(self.label)
        if column.null_count:
            raise InputError(f"{self.where}: {column.null_count} rows have no {self.label}")
        return np.array(column.to_pylist())

    def _picture(self, value: Any) -> Any:
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            path = Path(value)
            if not path.is_absolute() and (self.folder / path).exists():
                path = self.folder / path
            if not path.is_file():
                raise InputError(f"{self.where}: {value} does not exist, here or in {self.folder}")
            return path
        return value


def columns_of(
    schema: Any, first: dict[str, Any], words: Sequence[str], where: str, folder: Path
) -> Columns:
    """The columns that the user names behind the file, or that have the usual names.

    Args:
        schema: of the table.
        first: its first row.
        words: LABEL, or IMAGES and LABEL; IMAGES may be several names with commas between, or
            those that are left out, with a minus before each.
        where: the name of the data set, for error messages.
        folder: against which paths are read.

    Raises:
        InputError: if they do not say which columns are meant.
    """
    there = [name for name in schema.names if name not in _INDEX]
    features = _features(schema)
    if len(words) > 2:
        raise InputError(f"{where}: ':{':'.join(words)}' is too much: write {_TASKS}")
    label = _label(there, words[-1] if words else "", features, where)
    rest = [name for name in there if name != label]
    asked = words[0].split(",") if len(words) == 2 else []
    inputs = _inputs(schema, rest, asked, features, where, first)
    names = features.get(label, {}).get("names")
    return Columns(tuple(inputs), label, tuple(map(str, names)) if names else None, folder, where)


def _label(there: list[str], word: str, features: dict[str, Any], where: str) -> str:
    shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
    if word:
        if word.lstrip("-").isdecimal() and word not in there and abs(int(word)) <= len(there):
            return there[int(word)]
        if word not in there:
            raise InputError(f"{where}: there is no column '{word}' among {shown}: name another")
        return word
    known = [name for name in there if role(name) == ("labels", "")]
    classes = [name for name in there if features.get(name, {}).get("_type") == "ClassLabel"]
    for some in (known, classes):
        if len(some) == 1:
            return some[0]
    found = f"{' and '.join(known)} can all be it" if known else f"there are {shown}"
    raise InputError(f"{where}: which column is the label? {found}: write {where}:LABEL")


def _inputs(
    schema: Any, rest: list[str], asked: list[str], features: dict[str, Any], where: str,
    first: dict[str, Any],
) -> list[str]:  # fmt: skip
    """The columns of the inputs."""
    left_out = [name[1:] for name in asked if name.startswith("-")]
    wanted = [name for name in asked if not name.startswith("-")]
    for name in (*left_out, *wanted):
        if name not in rest:
            raise InputError(f"{where}: there is no column '{name}' beside the label")
    if wanted:
        return wanted
    rest = [name for name in rest if name not in left_out]
    typed = [n for n in rest if str(features.get(n, {}).get("_type", "")) == "Image"]
    scalar = [name for name in rest if _is_number(schema.field(name).type)]
    images = [n for n in rest if role(n) == ("images", "") and n not in scalar]
    paths = [
        name for name in rest
        if name.lower() in (*_PATHS, "image", "img", "images")
        and isinstance(first.get(name), str)
        and Path(first[name]).suffix.lower() in SUFFIXES
    ]  # fmt: skip
    for some in (typed, images, paths):
        if len(some) == 1:
            return some
        if some:
            raise InputError(f"{where}: {' and '.join(some)} can all be the images: write {_TASKS}")
    if other := [name for name in rest if name not in scalar]:
        raise InputError(
            f"{where}: the column '{other[0]}' holds no numbers: leave it out, "
            f"{where}:-{',-'.join(other)}:LABEL, or name those to use, {where}:COLUMN,COLUMN:LABEL"
        )
    if not scalar:
        raise InputError(f"{where}: no column is left for the inputs: write {_TASKS}")
    return scalar


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face's datasets say of the columns, in the metadata of the schema."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict)}


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    found: bool = (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
    return found


def _numbers(column: Any, name: str, where: str) -> Any:
    if column.null_count or not _is_number(column.type):
        what = f"{column.null_count} empty places" if column.null_count else "no numbers"
        raise InputError(f"{where}: the column '{name}' holds {what}: fill or leave them out")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float32)
