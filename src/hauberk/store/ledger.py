"""The ledger: the append-only directory that holds a run, part by part.

::

    runs/x/manifest.json              what was run: threats, suite, schedule, seed, box, model, data
    runs/x/parts/<key>.parquet        rows of one part
    runs/x/parts/<key>.safetensors    its tensors, if any; clean images of 8 bits as such
    runs/x/summary.json               written last

A part exists if and only if its Parquet file does. Every file is written under another name, synced
and renamed, so whatever ends a run, the ledger that stays is valid and can be resumed.
"""

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.store.files import (
    TENSORS,
    Columns,
    Writable,
    corrupt,
    plain,
    put,
    read_json,
    to_array,
    to_json,
    to_parquet,
)
from hauberk.store.folder import Folder
from hauberk.store.tensors import Spool, from_bytes, to_bytes

MANIFEST = "manifest.json"
VOLATILE = frozenset(
    {"batch_size", "batch_sizes", "class_names", "command", "device", "findings", "finished"}
    | {"out", "resume", "started", "threads", "warnings", "workers"}
)
"""Manifest keys that a resumed run may change: they do not decide what the numbers mean."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Ledger:
    """One run on disk, made with :meth:`create`, :meth:`join` or :meth:`open`.

    Attributes:
        path: the directory.
        manifest: what ``manifest.json`` says.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     ledger = Ledger.create(folder, {"kind": "toy"})
        ...     ledger.write("clean-00000", {"id": [3, 4]})
        ...     ledger.keys(), ledger.rows("clean-")["id"].tolist()
        (['clean-00000'], [3, 4])
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._folder: Folder | None = None

    @classmethod
    def create(cls, path: str | Path, manifest: Mapping[str, Any], resume: bool = False) -> Self:
        """A new ledger, or with ``resume`` the one that is there, if it holds the same run.

        A resumed ledger keeps the manifest that it has; keys in `VOLATILE` may differ from it, and
        so may the patch number of ``hauberk_version``. While the ledger lives no other process can
        write to the folder.

        Raises:
            InputError: if the path holds another run or other files, or cannot be written; if the
                run to resume has other settings, or another process is writing to it.
        """
        folder = Folder.take(path, manifest, MANIFEST, resume=resume, volatile=VOLATILE)
        ledger = cls(folder.path, folder.settings)
        ledger._folder = folder
        return ledger

    @classmethod
    def join(cls, path: str | Path, manifest: Mapping[str, Any] | None, seat: int) -> Self:
        """The ledger of a run that another process has begun, to write parts of it as well.

        Args:
            manifest: what this process would run; None for whatever the folder says.
            seat: the number of this process among those that write to the ledger, from 1.

        Raises:
            InputError: if the path holds another run.
        """
        folder = Folder.join(path, manifest, MANIFEST, seat, VOLATILE)
        ledger = cls(folder.path, folder.settings)
        ledger._folder = folder
        return ledger

    def open_up(self) -> None:
        """Let other processes :meth:`join`; they must not write the same parts."""
        if self._folder is not None:
            self._folder.open_up()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The ledger of an existing run, finished or not.

        Raises:
            InputError: if there is no such folder, or no readable manifest in it.
        """
        path = Path(path)
        if not os.path.isdir(path):
            what = "is a file" if os.path.exists(path) else "does not exist"
            raise InputError(f"{path} {what}: give the folder of a run, its --out")
        if not os.path.isfile(path / MANIFEST):
            raise InputError(f"{path} holds no {MANIFEST}: give the folder of a run, its --out")
        return cls(path, read_json(path / MANIFEST))

    def write(self, key: str, rows: Writable, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Add a part: columns of equal length, and tensors of any shape and dtype.

        Columns are int64, float64 (NaN allowed), bool or text.

        Raises:
            InputError: if the part exists already, or the disk is full or cannot be written.
            ValueError: if ``key`` is no file name, or the columns differ in length.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"'{key}' cannot name a part: use letters, digits, '-' and '_'")
        if self.has(key):
            raise InputError(f"{self.path} already holds part {key}: parts are never overwritten")
        parquet = to_parquet(rows, sorted(tensors or {}))
        try:
            (self.path / "parts").mkdir(exist_ok=True)
            if tensors:
                put(self._file(key, "safetensors"), to_bytes(tensors))
            put(self._file(key, "parquet"), parquet)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "free some space" if full else "see to the cause"
            raise InputError(
                f"cannot write part {key} of {self.path} ({error.strerror or error}); all parts "
                f"written before ({len(self.keys())}) are kept: {remedy}, then run again "
                "with --resume"
            ) from error

    def adopt(self, other: "Ledger", key: str) -> None:
        """Add a part of another ledger, byte by byte.

        Raises:
            InputError: if it cannot be read or written.
        """
        try:
            (self.path / "parts").mkdir(exist_ok=True)
            for kind in ("safetensors", "parquet"):  # the second says that the part is there
                if (file := other._file(key, kind)).is_file():
                    put(self._file(key, kind), file.read_bytes())
        except OSError as error:
            raise InputError(
                f"cannot copy part {key} of {other.path} to {self.path} ({error.strerror or error})"
                ": see to the cause, then merge again"
            ) from error

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all parts that start with ``prefix``, sorted."""
        names = (entry.name for entry in (self.path / "parts").glob("*.parquet"))
        keys = (name.removesuffix(".parquet") for name in names if not name.startswith("."))
        return sorted(key for key in keys if key.startswith(prefix))

    def has(self, key: str) -> bool:
        """Whether the part is there, whole."""
        return self._file(key, "parquet").is_file()

    def part(self, key: str) -> Columns:
        """Columns of one part.

        Raises:
            InputError: if it is missing or corrupt.
        """
        table = self._table(key)
        return {name: to_array(table.column(name)) for name in table.column_names}

    def rows(self, prefix: str = "") -> Columns:
        """Columns of all parts that start with ``prefix``, one after the other; {} without parts.

        Raises:
            InputError: if a part is corrupt, or its columns are not those of the others.
        """
        keys = self.keys(prefix)
        parts = [self.part(key) for key in keys]
        for key, part in zip(keys, parts, strict=True):
            if part.keys() != parts[0].keys():
                raise InputError(
                    f"{self._file(key, 'parquet')} has other columns than {keys[0]}: "
                    f"delete {self._file(key, '*')}, and run again with --resume"
                )
        return joined(parts)

    def tensors(self, key: str) -> dict[str, Tensor]:
        """Tensors of one part, on the CPU; {} if it was written without.

        Raises:
            InputError: if the part is missing, or its tensors are missing or corrupt.
        """
        from safetensors import SafetensorError

        names = (self._table(key).schema.metadata or {}).get(TENSORS, b"[]")
        if not (wanted := json.loads(names)):
            return {}
        file = self._file(key, "safetensors")
        try:
            found = from_bytes(file.read_bytes())
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise corrupt(file, error) from error
        if lacking := [name for name in wanted if name not in found]:
            raise corrupt(file, f"no tensor named {lacking[0]}")
        return found

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``, replacing the one that is there; NaN becomes null.

        Raises:
            InputError: if it cannot be written.
        """
        try:
            put(self.path / "summary.json", to_json(plain(dict(summary))))
        except OSError as error:
            raise InputError(
                f"cannot write {self.path / 'summary.json'} ({error.strerror or error}); all "
                "parts are kept: see to the cause, then run again with --resume"
            ) from error

    def summary(self) -> dict[str, Any] | None:
        """What ``summary.json`` says; None while the run is unfinished."""
        file = self.path / "summary.json"
        return read_json(file) if file.exists() else None

    def _file(self, key: str, kind: str) -> Path:
        return self.path / "parts" / f"{key}.{kind}"

    def _table(self, key: str) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self._file(key, "parquet")
        if not file.is_file():
            raise InputError(f"{self.path} holds no part {key}: run again with --resume")
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as reader:
                return reader.read()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise corrupt(file, error) from error


_Packed: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any] | None]


def _packed(values: npt.NDArray[Any]) -> _Packed:
    """A column as it is; one of text, which says the same again and again, as texts and places."""
    if values.dtype.kind != "U":
        return values, None
    texts, places = np.unique(values, return_inverse=True)
    return texts, places.astype(np.min_scalar_type(max(1, len(texts) - 1)))


class MemoryLedger:
    """A ledger that forgets: what a run writes to when it is given no folder.

    Columns are kept in memory; tensors beyond 16 MB in temporary files.

    Example:
        >>> ledger = MemoryLedger({"kind": "toy"})
        >>> ledger.write("clean-00000", {"id": [3, 4]})
        >>> ledger.rows("clean-")["id"].tolist()
        [3, 4]
    """

    path: Path | None = None

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest = dict(manifest)
        self._parts: dict[str, dict[str, _Packed]] = {}
        self._tensors = Spool()
        self._summary: dict[str, Any] | None = None

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """All that a ledger on disk holds."""
        made = cls(ledger.manifest)
        for key in ledger.keys(""):
            made.write(key, ledger.part(key), ledger.tensors(key))
        return made

    def has(self, key: str) -> bool:
        """Whether the part is there."""
        return key in self._parts

    def write(self, key: str, rows: Writable, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Add a part, as :meth:`Ledger.write` does."""
        self._parts[key] = {name: _packed(np.asarray(values)) for name, values in rows.items()}
        self._tensors.add(key, tensors or {})

    def part(self, key: str) -> Columns:
        """Columns of one part."""
        return {
            name: values if places is None else values[places]
            for name, (values, places) in self._parts[key].items()
        }

    def tensors(self, key: str) -> dict[str, Tensor]:
        """Tensors of one part."""
        return self._tensors.get(key)

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all parts that start with ``prefix``, sorted."""
        return sorted(key for key in self._parts if key.startswith(prefix))

    def rows(self, prefix: str = "") -> Columns:
        """Columns of all parts that start with ``prefix``, one after the other; {} without."""
        return joined([self.part(key) for key in self.keys(prefix)])

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Keep the summary."""
        self._summary = dict(summary)

    def summary(self) -> dict[str, Any] | None:
        """The summary; None while the run is unfinished."""
        return self._summary


Store: TypeAlias = Ledger | MemoryLedger


def joined(parts: Sequence[Columns]) -> Columns:
    """Columns of several parts as one; an empty column, which has lost its type, adds nothing."""
    filled = [part for part in parts if any(map(len, part.values()))] or list(parts[:1])
    names = parts[0].keys() if parts else ()
    return {name: np.concatenate([part[name] for part in filled]) for name in names}


def hits(store: Store, key: str) -> tuple[npt.NDArray[np.int64], Tensor]:
    """Ids ``(M,)`` and points ``(M, ...)`` of the rows of a part that are recorded as broken."""
    part = store.part(key)
    hit = part["broken"].astype(bool)
    return part["id"][hit], store.tensors(key)["points"][torch.from_numpy(part["row"][hit])]


def places(ids: Any, wanted: Any) -> npt.NDArray[np.int64]:
    """The row of each wanted id among ``ids`` (N,), all different; -1 for one that is not there.

    Example:
        >>> places([7, 3, 5], [5, 7, 6]).tolist()
        [2, 0, -1]
    """
    ids, wanted = (np.asarray(v, dtype=np.int64) for v in (ids, wanted))
    order = np.argsort(ids, kind="stable")
    if not len(ids):
        return np.full(len(wanted), -1)
    at = order[np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)]
    return np.where(ids[at] == wanted, at, -1)
