"""Tar files of pictures and labels side by side, as WebDataset writes them."""

import glob
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.data.naming import role
from hauberk.data.objects import with_names
from hauberk.data.pictures import SUFFIXES, read_pictures
from hauberk.data.source import DataSource, RawData, Request
from hauberk.errors import InputError
from hauberk.spec.imports import one_line

_LABELS = ("cls", "label", "target", "index")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True)
class _Member:
    """Where a file lies in a tar file."""

    shard: int
    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class _Example:
    """A picture, and its label as text."""

    picture: _Member
    label: str


def _open_tar(request: Request) -> RawData:
    """The examples in the order of the files; only their places and labels are held.

    Files whose names are equal up to the first dot belong together: a picture and its class, in
    `.cls`, or in `.json` under one of the usual names. Without those the folder is the class.
    """
    spec, shards = request.spec, _shards(request)
    examples: list[_Example] = []
    most = request.stop
    for number, path in enumerate(shards):
        try:
            _require_plain(path)
            with tarfile.open(path, "r:") as archive:
                examples += _examples(archive, number, path)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(f"{path} is no readable tar file ({one_line(error)})") from error
        # The number of a name follows from all names that there are.
        numbered = all(example.label.isdecimal() for example in examples)
        if most is not None and len(examples) >= most and numbered:
            break
    if not examples:
        raise InputError(
            f"{spec}: no pictures with a class in it: there should be files such as 0001.jpg and "
            "0001.cls, or a folder a class"
        )
    labels = np.array([example.label for example in examples])

    def read(start: int, stop: int) -> tuple[Any, Any]:
        some = examples[start:stop]
        found = ((e.picture.name, _bytes(shards[e.picture.shard], e.picture)) for e in some)
        return read_pictures(found, request.reading, spec), labels[start:stop]

    raw = RawData(len(labels), read, labels=lambda a, b: labels[a:b], fitted=True)
    return with_names(raw, request)


TAR = DataSource(
    "tar",
    "tar:FILE",
    "Tar files of pictures and classes (0001.jpg, 0001.cls or .json), as WebDataset has them; "
    "several as tar:data-{000..003}.tar. Needs Pillow.",
    _open_tar,
)
WDS = DataSource("wds", "wds:FILE", "The same.", _open_tar)


def _shards(request: Request) -> list[Path]:
    """The files that the argument names, with `{000..003}` and `*` written out."""
    found: list[Path] = []
    folder = Path("." if request.data_dir is None else request.data_dir).expanduser()
    for text in _braces(request.argument):
        paths = [Path(text).expanduser(), folder / text]
        if any(mark in text for mark in "*?"):
            paths = [Path(p) for path in paths for p in sorted(glob.glob(str(path)))]
        there = [path for path in paths if path.is_file()]
        if not there:
            raise InputError(f"{request.spec}: {text} does not exist, here or in data_dir")
        found += there if any(mark in text for mark in "*?") else there[:1]
    return list(dict.fromkeys(found))


def _braces(text: str) -> list[str]:
    match = re.search(r"\{(\d+)\.\.(\d+)\}", text)
    if not match:
        return [text]
    first, last = match.groups()
    numbers = range(int(first), int(last) + 1)
    return [
        each
        for number in numbers
        for each in _braces(text.replace(match[0], f"{number:0{len(first)}d}", 1))
    ]


def _require_plain(path: Path) -> None:
    """Refuse a compressed file, of which nothing could be read without all that is before it."""
    with path.open("rb") as file:
        if file.read(6).startswith(_COMPRESSED):
            raise InputError(f"{path} is compressed: unpack it to a plain .tar file, as by gunzip")


def _examples(archive: tarfile.TarFile, shard: int, path: Path) -> Iterator[_Example]:
    for key, files in _groups(archive):
        pictures = {
            suffix: info for suffix, info in files.items()
            if f".{suffix.rpartition('.')[2]}" in SUFFIXES
        }  # fmt: skip
        if not pictures:
            continue
        if len(pictures) > 1:
            names = ", ".join(info.name for info in pictures.values())
            raise InputError(f"{path}: {names} are several pictures of one example: keep one")
        info = next(iter(pictures.values()))
        member = _Member(shard, info.name, info.offset_data, info.size)
        yield _Example(member, _label(archive, files, key, path))


def _groups(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Files in a row whose names are equal up to the first dot, by what follows it."""
    key, files = "", dict[str, tarfile.TarInfo]()
    for info in archive:
        base = info.name.rpartition("/")[2]
        if not info.isfile() or base.startswith(".") or "." not in base:
            continue
        stem, _, suffix = base.partition(".")
        mine = info.name[: len(info.name) - len(base)] + stem
        if mine != key and files:
            yield key, files
            files = {}
        key = mine
        files[suffix.lower()] = info
    if files:
        yield key, files


def _label(
    archive: tarfile.TarFile, files: dict[str, tarfile.TarInfo], key: str, path: Path
) -> str:
    for suffix in _LABELS:
        if suffix in files:
            return _text(archive, files[suffix])
    if "json" in files:
        name = files["json"].name
        try:
            found = json.loads(_text(archive, files["json"]))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: {name} is no JSON ({one_line(error)})") from error
        if isinstance(found, int | str):
            return str(found)
        names = [k for k in found if (role(str(k)) or ("",))[0] == "labels"]
        if len(names) != 1:
            shown = ", ".join(map(str, found)) or "nothing"
            raise InputError(f"{path}: {name} holds {shown}: its class should be called 'cls'")
        return str(found[names[0]])
    folder = key.rpartition("/")[0].rpartition("/")[2]
    if folder in ("", "."):
        raise InputError(
            f"{path}: {key} has no class: there are {', '.join(files)}, but no cls and no json"
        )
    return folder


def _text(archive: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    file = archive.extractfile(info)
    text = "" if file is None else file.read().decode("utf-8", "replace").strip()
    if not text:
        raise InputError(f"{info.name} is empty: it should hold a class")
    return text


def _bytes(path: Path, member: _Member) -> bytes:
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)
