"""Small runs of everything that attacks, measures or trains, as plain arrays to compare.

A case is a function without arguments that returns what a run found. :func:`collect` runs cases and
turns what they return into ``{name: array}``. The cases use the public contract; what lies beyond
it is reached through ``adapter.py``, so that code may move and names change at the price of a few
lines.
"""

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from adapter import DESCRIPTIVE, HEAD, SOLVED, VOLATILE, former, is_outcome, outcome, part_name
from compare import Arrays
from safetensors.torch import load_file
from torch import Tensor


def ledger(
    run: Callable[[Path], Any], says: Callable[[Any], Any] = lambda result: None
) -> dict[str, Any]:
    """Run into a new folder: its parts, its summary, and what the result says by itself."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        result = says(run(out))
        manifest = out / "manifest.json"
        kind = json.loads(manifest.read_text("utf-8"))["kind"] if manifest.exists() else ""
        parts = {
            part_name(kind, file.stem): former(kind, file.stem, _part(file))
            for file in sorted(out.glob("parts/*.parquet"))
        }
        told = json.loads((out / "summary.json").read_text("utf-8"))
        new = DESCRIPTIVE | HEAD.get(kind, set())
        summary = {key: value for key, value in told.items() if key not in new}
        return {"parts": parts, "summary": summary, "result": result}


def _part(file: Path) -> dict[str, Any]:
    """Columns and tensors of one part, by id."""
    table = pq.read_table(file)
    columns = {n: np.array(table.column(n).to_pylist()) for n in table.column_names}
    tensors: dict[str, Tensor] = {}
    if file.with_suffix(".safetensors").exists():
        tensors = load_file(file.with_suffix(".safetensors"))
    order = np.argsort(columns["id"], kind="stable")
    rows = columns.pop("row")[order].astype(np.int64) if "row" in columns else order
    rows = rows[rows >= 0]
    found: dict[str, Any] = {
        n: values[order] for n, values in columns.items() if not VOLATILE.fullmatch(n)
    }
    # Tensors hold the examples in the order of the column "row", or as the part has them.
    for name, tensor in tensors.items():
        index = order if len(tensor) == len(order) and name == "originals" else rows
        found[name] = tensor[torch.from_numpy(np.array(index, dtype=np.int64))]
    return found


def flat(value: Any, name: str = "") -> Arrays:
    """Whatever a case returned as ``{name: array}``; names are joined by slashes."""
    if is_outcome(value):
        value = outcome(value)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        pairs = [(str(k), v) for k, v in value.items() if not VOLATILE.fullmatch(str(k))]
        return _joined(name, [(SOLVED.get(key, key), v) for key, v in pairs])
    if isinstance(value, Tensor):
        return {name: value.detach().cpu().numpy().copy()}
    if isinstance(value, list | tuple) and not all(_is_leaf(v) for v in value):
        return _joined(name, [(str(k), v) for k, v in enumerate(value)])
    array = np.asarray(value)
    if array.dtype.kind in "UO":
        array = np.array([SOLVED.get(str(v), str(v)) for v in array.flat], dtype=str)
    return {name: array}


def _is_leaf(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or (value is None)


def _joined(name: str, pairs: Iterable[tuple[str, Any]]) -> Arrays:
    found: Arrays = {}
    for key, value in pairs:
        found |= flat(value, f"{name}/{key}" if name else key)
    return found


def tried(run: Callable[[], Any]) -> Any:
    """What a run returns, or the text of its error."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001  # any error is a result here
        text = re.sub(r"0x[0-9a-f]+", "0x", f"{type(error).__name__}: {error}")
        return {"error": text}


# CASES --------------------------------------------------------------------------------------------

Case = Callable[[], Any]
SMALL: dict[str, Case] = {}
"""Cases that are compared with the numbers that are kept, at every run of the tests."""
FULL: dict[str, Case] = {}
"""All others, for snapshots before and after a change."""


def case(name: str, where: dict[str, Case] = FULL) -> Callable[[Case], Case]:
    """Register a case under a name."""

    def register(function: Case) -> Case:
        if name in SMALL or name in FULL:
            raise ValueError(f"two cases are named {name}")
        where[name] = function
        return function

    return register


def run_case(function: Case) -> Arrays:
    """One case on one thread, with fixed random numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            return flat(tried(function))
    finally:
        torch.set_num_threads(threads)


def collect(
    cases: Mapping[str, Case], tell: Callable[[str], None] = lambda name: None
) -> dict[str, Arrays]:
    """The arrays of each case."""
    found = {}
    for name, function in cases.items():
        tell(name)
        found[name] = run_case(function)
    return found
