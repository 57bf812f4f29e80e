"""Small runs of everything that attacks, measures or trains, as plain arrays to compare.

A case is a function without arguments that returns what a run found. :func:`collect` runs cases and
turns what they return into ``{name: array}``. The cases use the public contract; what lies beyond
it is reached in the section ADAPTER below, and only there, so that code may move and names change
at the price of a few lines here.
"""

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import hauberk as hb

Arrays = dict[str, np.ndarray]

# ADAPTER: what is beyond the public contract ------------------------------------------------------

VOLATILE = re.compile(r"seconds.*|started|hauberk_version|torch_version|device")
"""Keys of summaries, histories and parts that differ from run to run or machine to machine."""
DESCRIPTIVE = {"attack", "objectives", "manifest_sha256"}
"""Keys of summaries that repeat settings: class names and keywords, which may be renamed."""
RENAMED: dict[str, dict[str, str]] = {
    "accuracy": {"task": "attack"},
    "radius": {"threat": "metric", "broken": "found"},
    "minmax": {"originals": "inputs"},
}
"""By kind of run: columns and tensors of parts that go by a new name, and what they were called."""
ADDED: dict[str, set[str]] = {
    "accuracy": set(),
    "radius": {"task"},
    "minmax": {"label", "threat", "task", "claimed", "broken", "margin", "correct", "margins"},
}
"""By kind of run: columns of parts that there were not when the numbers were kept."""
HEAD: dict[str, set[str]] = {
    "accuracy": {"kind"},
    "radius": {"kind"},
    "minmax": {"clean_interval", "cost", "finished"},
}
"""By kind of run: keys of the summary's head that there were not."""
SOLVED: dict[str, str] = {
    "Portfolio": "Best", "LineSearch": "Refine", "LevelSetFMN": "General", "PWCFRadius": "PWCF",
}  # fmt: skip
"""Names of solvers in parts and summaries that are new, and what they were called."""


def part_name(kind: str, key: str) -> str:
    """What a part of a ledger is compared under."""
    if kind == "minmax":
        key = "clean" if key == "clean-00000" else key.removeprefix("objective-")
    return key


def former(kind: str, key: str, part: dict[str, Any]) -> dict[str, Any]:
    """A part of a ledger as it was when the numbers were kept."""
    part = dict(part)
    if kind == "minmax" and key.startswith("clean-"):  # labels and ids of one each are columns now
        part.setdefault("labels", torch.from_numpy(part["label"].astype(np.int64)))
        part.setdefault("ids", torch.from_numpy(part["id"].astype(np.int64)))
    new = ADDED.get(kind, set())
    names = RENAMED.get(kind, {})
    return {names.get(n, n): value for n, value in part.items() if n not in new}


def outcome(found: Any) -> dict[str, Any]:
    """What an attack or a solver returned, by the names that are compared."""
    plain = [
        "points", "loss", "fooled", "distance", "attempt", "forwards", "backwards", "witness",
        "worst", "zero", "huge", "each", "weights", "path", "report", "by",
    ]  # fmt: skip
    return {name: getattr(found, name) for name in plain}


def is_outcome(value: Any) -> bool:
    return isinstance(value, hb.Outcome)


def digits(part: str, rows: Sequence[int], dtype: torch.dtype = torch.float64) -> Any:
    """Images in [0, 1] and labels of the embedded digits; ``part`` is ``train`` or ``test``."""
    from hauberk.data import load_data

    data = load_data(f"digits:{part}")
    index = torch.tensor(list(rows))
    return data.images[index].to(dtype), data.labels[index]


def solver_class(name: str) -> Any:
    """A class of radius solvers, such as ``FMN``, by the name that it had."""
    now = {was: new for new, was in SOLVED.items()}
    return getattr(hb.solvers, now.get(name, name))


def solver_names() -> list[str]:
    """Names by which a radius run can ask for a solver."""
    from hauberk.solvers import SOLVERS

    return list(SOLVERS)


def metric(name: str) -> Any:
    """The metric of a notation, ``l2`` say, as solvers take it."""
    from hauberk.threats import metric as read

    return read(name)


def exact_radius(*args: Any, **options: Any) -> Any:
    from hauberk.exact import solve as exact

    return exact.radius(*args, **options)


def as_attack(solver: Any) -> Any:
    """An attack that asks whether the solver's point lies in the threat."""
    from hauberk.solvers.as_attack import AsAttack

    return AsAttack(solver=solver)


def unbounded() -> Any:
    from hauberk.attacks.unbounded import Unbounded

    return Unbounded()


def transferred(sources: Mapping[str, nn.Module], attack: Any) -> Any:
    """An attack that crafts on other models."""
    from hauberk.evaluation import Transfer

    return Transfer(sources=sources, attack=attack)


def transfer_table(models: Mapping[str, nn.Module], *args: Any, **options: Any) -> dict[str, Any]:
    from hauberk.evaluation import transfer

    found = transfer(models, *args, **options)
    names = ("clean", "whitebox", "combined", "broke", "forwards", "backwards")
    return {name: getattr(found, name) for name in names}


def suite_names() -> list[str]:
    from hauberk.evaluation import SUITES

    return list(SUITES)


def short_suite(name: str, steps: int) -> Any:
    """The suite of that name with few steps, restarts and samples, its stages otherwise alike."""
    from hauberk.evaluation import SUITES, Suite

    suite = SUITES[name]
    rows = {k: replace(s, attack=_short(s.attack, steps)) for k, s in suite.stages.items()}
    return Suite(suite.name, suite.version, suite.about, rows)


def _short(attack: Any, steps: int) -> Any:
    inner = {n: _short(getattr(attack, n), steps) for n in ("solver",) if hasattr(attack, n)}
    least = {"steps": steps, "restarts": 2, "samples": 10, "searches": 3}
    few = {n: min(getattr(attack, n), most) for n, most in least.items() if hasattr(attack, n)}
    few |= {"counts": (5, 3, 3)} if hasattr(attack, "counts") else {}
    return replace(attack, **few, **inner)


def suite_passes(name: str, threats: Any) -> Any:
    """Most passes that a point costs."""
    from hauberk.evaluation import SUITES

    return SUITES[name].passes(threats.parts)


def vote(models: Sequence[nn.Module]) -> Any:
    """The majority vote of some models."""
    from hauberk.victims.ensembles import Vote

    return Vote(models)


def mean_models(models: Sequence[nn.Module], what: str) -> Any:
    """The mean of some models' ``logits`` or ``probabilities``."""
    from hauberk.victims.ensembles import MeanLogits, MeanProbabilities

    return {"logits": MeanLogits, "probabilities": MeanProbabilities}[what](models)


def averaged(model: nn.Module, draws: int) -> Any:
    """A stochastic model, decided by the mean of some draws."""
    from hauberk.victims.averaged import Averaged

    return Averaged(model, draws)


def expectation(**options: Any) -> Any:
    """The mean loss over draws of a stochastic model."""
    from hauberk.objectives.expectation import Expectation

    return Expectation(**options)


def vote_loss(name: str, **options: Any) -> Any:
    """A loss on all members of a vote: ``sum`` or ``state``."""
    from hauberk.objectives.votes import VoteState, VoteSum

    return {"sum": VoteSum, "state": VoteState}[name](**options)


def analysis() -> Any:
    """The module that looks at perturbations."""
    return hb.analysis


# ARRAYS -------------------------------------------------------------------------------------------


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


# FILES --------------------------------------------------------------------------------------------


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
