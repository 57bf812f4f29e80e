"""Results kept in a file, and what differs between two of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def save(file: Path, found: Mapping[str, Arrays], **facts: str) -> None:
    """Write the arrays of cases, packed by type: thousands of small ones would waste space."""
    index, values = [], {"f": [], "i": []}
    place = {"f": 0, "i": 0}
    for name, arrays in found.items():
        for key, array in arrays.items():
            entry: dict[str, Any] = {"case": name, "key": key, "dtype": array.dtype.str}
            if array.dtype.kind in "US":
                entry["text"] = array.tolist()
            else:
                kind = "f" if array.dtype.kind == "f" else "i"
                entry |= {"shape": array.shape, "at": place[kind]}
                values[kind].append(array.ravel().astype({"f": "f8", "i": "i8"}[kind]))
                place[kind] += array.size
            index.append(entry)
    head = np.frombuffer(json.dumps({"facts": facts, "index": index}).encode(), dtype=np.uint8)
    numbers = {k: np.concatenate(v) if v else np.zeros(0) for k, v in values.items()}
    np.savez_compressed(file, head=head, **numbers)


def load(file: Path) -> tuple[dict[str, Arrays], dict[str, str]]:
    """What :func:`save` wrote."""
    with np.load(file) as stored:
        head = json.loads(stored["head"].tobytes())
        numbers = {"f": stored["f"], "i": stored["i"]}
    found: dict[str, Arrays] = {}
    for entry in head["index"]:
        if "text" in entry:
            array = np.array(entry["text"], dtype=str)
        else:
            size = int(np.prod(entry["shape"], dtype=np.int64))
            kind = "f" if np.dtype(entry["dtype"]).kind == "f" else "i"
            values = numbers[kind][entry["at"] : entry["at"] + size]
            array = values.reshape(entry["shape"]).astype(entry["dtype"])
        found.setdefault(entry["case"], {})[entry["key"]] = array
    return found, head["facts"]


def differences(old: Arrays, new: Arrays, tolerance: float = 0.0) -> list[str]:
    """One line for each name that differs; floats may differ by the tolerance, 0 for no bit."""
    told = [f"{key}: missing now" for key in old if key not in new]
    told += [f"{key}: new" for key in new if key not in old]
    for key in sorted(old.keys() & new.keys()):
        a, b = old[key], new[key]
        text = a.dtype.kind in "US"
        if a.shape != b.shape or (a.dtype != b.dtype and not text) or b.dtype.kind != a.dtype.kind:
            told.append(f"{key}: {a.dtype}{list(a.shape)} was, {b.dtype}{list(b.shape)} is")
        elif text:
            if not np.array_equal(a, b):
                told.append(f"{key}: {_words(key, a, b)}{_short_text(a)} was, {_short_text(b)} is")
        elif a.dtype.kind != "f":
            if not np.array_equal(a, b):
                told.append(f"{key}: {int((a != b).sum())} of {a.size} differ")
        elif not _same(a, b, tolerance):
            with np.errstate(invalid="ignore"):
                gap = np.abs(a.astype(float) - b.astype(float))
            most = np.nanmax(gap) if np.isfinite(gap).any() else np.nan
            told.append(f"{key}: {int((gap != 0).sum())} of {a.size} differ, by up to {most:.3g}")
    return told


def _same(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    if tolerance:
        return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(np.array_equal(a, b, equal_nan=True))


WORDS = "only in words: "
"""What a line begins with, after its key, if an error is of the same kind and says it otherwise."""


def _words(key: str, a: np.ndarray, b: np.ndarray) -> str:
    """Errors may name classes that were renamed; their kinds must stay."""
    kinds = [str(array).partition(":")[0] for array in (a, b)]
    return WORDS if key.rpartition("/")[2] == "error" and kinds[0] == kinds[1] else ""


def _short_text(array: np.ndarray) -> str:
    text = ", ".join(array.ravel().tolist()) if array.ndim else str(array)
    return text if len(text) < 160 else f"{text[:160]}..."
