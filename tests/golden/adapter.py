"""What the small runs need beyond the public contract: adapt these lines when code moves."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

import hauberk as hb

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
    "accuracy": {"violation"},
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
