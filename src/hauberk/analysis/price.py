"""The price of multi-robustness: what resisting several threats costs on each of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

from hauberk.errors import InputError

Summary = Mapping[str, Any]
SAME = ("n", "labels_crc", "images_crc", "ids_crc")
"""What runs that are compared must have in common: their examples."""


@dataclass(frozen=True)
class Paid:
    """What one model pays: the optimum less what it has, as shares; below 0 where it has more.

    Example:
        >>> Paid(union=0.1, average=0.05, threats={"linf:0.3": 0.1}).union
        0.1
    """

    union: float
    average: float
    threats: Mapping[str, float]


@dataclass(frozen=True)
class Price:
    """What :func:`price` found; accuracies are shares in [0, 1], risks 1 less them.

    Attributes:
        best: the best accuracy under each threat, ``1 - R_i``.
        best_of: the run that has it.
        optimum_union: least of these, ``1 - OPT(R^max)``.
        optimum_average: mean of these, ``1 - OPT(R^avg)``.
        paid: by run, what it pays; only runs under all threats.
        runs: the summaries of all runs.
        single: the names of those that were named as trained against one threat.
        notes: what to know before the numbers are quoted.

    Example:
        >>> threats = {"linf:0.3": {"accuracy": 0.9}, "l2:2": {"accuracy": 0.7}}
        >>> run = {"n": 10, "threats": threats, "union_accuracy": 0.6, "average_accuracy": 0.8}
        >>> price({"net": run}).optimum_union
        0.7
    """

    best: Mapping[str, float]
    best_of: Mapping[str, str]
    optimum_union: float
    optimum_average: float
    paid: Mapping[str, Paid]
    runs: Mapping[str, Summary]
    single: Sequence[str] = ()
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        kept = ("n", "clean_accuracy", "union_accuracy", "union_interval", "average_accuracy")
        runs = {
            name: {k: run.get(k) for k in kept} | {"threats": accuracies(run)}
            for name, run in self.runs.items()
        }
        return {
            "best": dict(self.best), "best_of": dict(self.best_of),
            "optimum_union": self.optimum_union, "optimum_average": self.optimum_average,
            "risk_optimum_max": 1 - self.optimum_union,
            "risk_optimum_average": 1 - self.optimum_average,
            "price": {name: asdict(paid) for name, paid in self.paid.items()},
            "runs": runs, "single": list(self.single), "notes": list(self.notes),
        }  # fmt: skip


def optimum(best: Mapping[str, float]) -> tuple[float, float]:
    """The accuracies of a model that pays nothing: under the union, and on average over threats.

    It would be as good under each threat as the best model for that threat alone, and fail on the
    same examples: ``1 - OPT(R^max)``, the least, and ``1 - OPT(R^avg)``, the mean.

    Args:
        best: the best accuracy under each threat.

    Source: Tramèr & Boneh 2019, sections 2.1 and 4.

    Example:
        >>> optimum({"linf:0.3": 0.9, "l2:2": 0.7})
        (0.7, 0.8)
    """
    return min(best.values()), sum(best.values()) / len(best)


def price(runs: Mapping[str, Summary], single: Sequence[str] = ()) -> Price:
    """How far models are from resisting several threats as well as one could resist each alone.

    Args:
        runs: summaries of :func:`hauberk.evaluate` by name, on the same examples.
        single: the names of those that were trained against one threat, from which the best are
            taken; they may have been evaluated under that threat only. Left out, the best of all.

    Raises:
        InputError: for no runs, unknown names, runs on other examples or under other threats,
            runs whose accuracies are upper bounds, and a threat without a run to compare with.

    Source: Tramèr & Boneh 2019, sections 2.1 and 4 ("price of multi-robustness").

    Example:
        >>> def run(linf, l2, union):
        ...     threats = {"linf:0.3": {"accuracy": linf}, "l2:2": {"accuracy": l2}}
        ...     mean = (linf + l2) / 2
        ...     return {
        ...         "n": 10, "threats": threats, "union_accuracy": union, "average_accuracy": mean
        ...     }
        >>> found = price({"inf": run(0.9, 0.2, 0.2), "two": run(0.1, 0.8, 0.1),
        ...                "max": run(0.7, 0.6, 0.5)}, single=["inf", "two"])
        >>> round(found.paid["max"].union, 9), round(found.paid["max"].average, 9)
        (0.3, 0.2)
    """
    if not runs:
        raise InputError("no runs: give the folders of hauberk evaluate")
    for name in single:
        if name not in runs:
            raise InputError(f"{name} is none of the runs: they are {', '.join(runs)}")
    for name, run in runs.items():
        _check(name, run)
    one, first = next(iter(runs.items()))
    for name, run in runs.items():
        for what in SAME:
            if what in run and what in first and run[what] != first[what]:
                raise InputError(
                    f"{one} and {name} are runs on other examples: evaluate on the same"
                )
    multi = {name: run for name, run in runs.items() if name not in single} or dict(runs)
    threats = list(max(multi.values(), key=lambda run: len(run["threats"]))["threats"])
    best_of = {threat: _best(threat, runs, single or list(runs)) for threat in threats}
    best = {threat: accuracies(runs[name])[threat] for threat, name in best_of.items()}
    union, average = optimum(best)
    paid = {}
    for name, run in runs.items():
        own = accuracies(run)
        if set(own) == set(threats):
            each = {threat: best[threat] - own[threat] for threat in threats}
            mean = average - run["average_accuracy"]
            paid[name] = Paid(union - run["union_accuracy"], mean, each)
        elif name in multi:
            raise InputError(
                f"{name} was evaluated under {', '.join(own)}, others under {', '.join(threats)}: "
                "evaluate all under the same threats, or name those of one threat as single"
            )
    suites = sorted({str(run.get("suite")) for run in runs.values()})
    notes = [f"suites differ: {', '.join(suites)}"] if len(suites) > 1 else []
    return Price(best, best_of, union, average, paid, dict(runs), tuple(single), notes)


def price_of(folders: Iterable[str | Path], single: Iterable[str | Path] = ()) -> Price:
    """The same of runs on disk, named by their folders.

    Args:
        folders: of runs of ``hauberk evaluate``, or their files ``summary.json``.
        single: those of models that were trained against one threat; they may be among the others.

    Raises:
        InputError: for a folder without a summary of an evaluation, and as :func:`price`.

    Example:
        >>> price_of([])
        Traceback (most recent call last):
        ...
        hauberk.errors.InputError: no runs: give the folders of hauberk evaluate
    """
    alone = [_folder(one) for one in single]
    distinct = list(dict.fromkeys([*map(_folder, folders), *alone]))
    if not distinct:
        raise InputError("no runs: give the folders of hauberk evaluate")
    shared = Path(commonpath(distinct)) if len(distinct) > 1 else distinct[0].parent
    if shared in distinct:
        shared = shared.parent
    names = {path: path.relative_to(shared).as_posix() for path in distinct}
    runs = {name: _read(path) for path, name in names.items()}
    return price(runs, list(dict.fromkeys(names[path] for path in alone)))


def _folder(given: str | Path) -> Path:
    path = Path(given).expanduser().resolve()
    return path.parent if path.name == "summary.json" else path


def accuracies(run: Summary) -> dict[str, float]:
    """The accuracy under each threat of a run."""
    return {threat: found["accuracy"] for threat, found in run["threats"].items()}


def _read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("manifest.json", "summary.json"):
        file = folder / name
        if name == "manifest.json" and not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"{folder} is no finished run ({error.strerror or error}): give the --out of "
                "hauberk evaluate"
            ) from error
        except ValueError as error:
            raise InputError(f"{file} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"{file} is no summary of a run")
        found |= content if name == "summary.json" else {k: content.get(k) for k in SAME}
    return found


def _check(name: str, run: Summary) -> None:
    threats = run.get("threats")
    if not isinstance(threats, Mapping) or not threats or "union_accuracy" not in run:
        raise InputError(f"{name} is no run of hauberk evaluate: it has no accuracies of threats")
    if bounds := [threat for threat, found in threats.items() if found.get("upper_bound")]:
        raise InputError(
            f"{name}: its accuracy under {bounds[0]} is an upper bound: finish the run, without "
            "--union-only"
        )
    if not run["n"]:
        raise InputError(f"{name} has no examples: evaluate on some")


def _best(threat: str, runs: Mapping[str, Summary], among: Sequence[str]) -> str:
    """The run of the best accuracy under a threat."""
    known = {name: accuracies(runs[name]) for name in among}
    have = {name: own[threat] for name, own in known.items() if threat in own}
    if not have:
        raise InputError(f"none of {', '.join(among)} was evaluated under {threat}: evaluate one")
    return max(have, key=lambda name: have[name])
