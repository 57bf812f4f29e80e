"""The ledger: the append-only directory that holds a run, part by part.

::

    runs/x/manifest.json              what was run: threats, suite, schedule, seed, box, model, data
    runs/x/parts/<key>.parquet        rows of one part
    runs/x/parts/<key>.safetensors    its tensors, if it has any
    runs/x/summary.json               written last

A part exists if and only if its Parquet file does. Every file is written under another name, synced
and renamed, so whatever ends a run, the ledger that stays is valid and can be resumed.
"""

import errno
import json
import os
import re
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hauberk.errors import InputError
from hauberk.store.files import (
    LOCK,
    TEMPORARY,
    TENSORS,
    Columns,
    corrupt,
    differences,
    is_temporary,
    lock,
    plain,
    put,
    read_json,
    short,
    to_array,
    to_json,
    to_parquet,
)

VOLATILE = frozenset(
    {"batch_size", "command", "device", "finished", "out", "resume", "started", "warnings"}
    | {"workers"}
)
"""Manifest keys that a resumed run may change: they do not decide what the numbers mean."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Ledger:
    """One run on disk, written by one process; make it with :meth:`create` or :meth:`open`.

    Attributes:
        path: the directory.
        manifest: what ``manifest.json`` says.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

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
        path, wanted = Path(path), plain(dict(manifest))
        if os.path.exists(path) and not os.path.isdir(path):  # these two never raise
            raise InputError(f"{path} is a file: choose another --out, a folder for the run")
        try:
            path.mkdir(parents=True, exist_ok=True)
            _require_free(path, resume)
            ledger = cls(path, wanted)
            if (held := lock(path)) is not None:
                weakref.finalize(ledger, os.close, held)
            if os.path.exists(path / "manifest.json"):
                _require_free(path, resume)  # again: another process may have been faster
                ledger.manifest = read_json(path / "manifest.json")
                _require_same(path, ledger.manifest, wanted)
                ledger._clean()
            else:
                put(path / "manifest.json", to_json(wanted))
        except OSError as error:
            raise InputError(
                f"cannot write to {path} ({error.strerror or error}): choose another --out"
            ) from error
        return ledger

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
        if not os.path.isfile(path / "manifest.json"):
            raise InputError(f"{path} holds no manifest.json: give the folder of a run, its --out")
        return cls(path, read_json(path / "manifest.json"))

    def write(self, key: str, rows: Columns, tensors: Mapping[str, Tensor] | None = None) -> None:
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
                from safetensors.torch import save

                blob = save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})
                put(self._file(key, "safetensors"), blob)
            put(self._file(key, "parquet"), parquet)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "free some space" if full else "see to the cause"
            raise InputError(
                f"cannot write part {key} of {self.path} ({error.strerror or error}); all parts "
                f"written before ({len(self.keys())}) are kept: {remedy}, then run again "
                "with --resume"
            ) from error

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all parts that start with ``prefix``, sorted."""
        names = (entry.name for entry in (self.path / "parts").glob("*.parquet"))
        keys = (name.removesuffix(".parquet") for name in names if not name.startswith("."))
        return sorted(key for key in keys if key.startswith(prefix))

    def has(self, key: str) -> bool:
        """Whether the part is there, whole."""
        return self._file(key, "parquet").is_file()

    def part(self, key: str) -> dict[str, npt.NDArray[Any]]:
        """Columns of one part.

        Raises:
            InputError: if it is missing or corrupt.
        """
        table = self._table(key)
        return {name: to_array(table.column(name)) for name in table.column_names}

    def rows(self, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
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
        # An empty column has lost its type: leave it out wherever another part has rows.
        filled = [part for part in parts if any(map(len, part.values()))] or parts[:1]
        names = parts[0].keys() if parts else ()
        return {name: np.concatenate([part[name] for part in filled]) for name in names}

    def tensors(self, key: str) -> dict[str, Tensor]:
        """Tensors of one part, on the CPU; {} if it was written without.

        Raises:
            InputError: if the part is missing, or its tensors are missing or corrupt.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        names = (self._table(key).schema.metadata or {}).get(TENSORS, b"[]")
        if not (wanted := json.loads(names)):
            return {}
        file = self._file(key, "safetensors")
        try:
            found = load(file.read_bytes())
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

    def _clean(self) -> None:
        """Remove what a killed run left half-written."""
        for folder in (self.path, self.path / "parts"):
            for entry in folder.glob(f".*{TEMPORARY}"):
                with suppress(OSError):
                    entry.unlink()


def _require_free(path: Path, resume: bool) -> None:
    """Refuse a folder that holds somebody else's files, or a run that is not to be resumed."""
    if os.path.exists(path / "manifest.json"):
        if not resume:
            raise InputError(
                f"{path} already holds another run: choose another --out, "
                "or pass --resume to continue it"
            )
    elif any(not is_temporary(entry) and entry.name != LOCK for entry in path.iterdir()):
        raise InputError(
            f"{path} holds files but no manifest.json, so it is no run of hauberk: "
            "choose another --out, or an empty folder"
        )


def _require_same(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    there, here = ({k: v for k, v in m.items() if k not in VOLATILE} for m in (there, here))
    was, now = (str(m.get("hauberk_version")).split(".")[:2] for m in (there, here))
    if was == now:  # patches change no numbers
        there["hauberk_version"] = here["hauberk_version"] = None
    if found := differences(there, here):
        told = [f"{name} is {short(b)} here but {short(a)} there" for name, a, b in found[:8]]
        more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
        raise InputError(
            f"{path} holds a run with other settings, so it cannot be resumed: "
            f"{'; '.join(told)}{more}: use the same settings, or choose another --out"
        )
