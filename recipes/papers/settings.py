"""The settings that a paper prints, beside those of the recipes and suites that carry its name.

recipes/papers/printed/NAME.yaml lists them by what they belong to: a recipe for training or for
min-max, or a suite::

    settings:
      recipe maini2020/mnist-union-msd:
        strategy.steps: 100                                   # printed, and so here
        strategy.step_l1: {printed: 0.8, times: 10}           # here in shares of eps = 10
        minibatch: {chosen: 100, why: as in its public code}  # the paper is silent
        strategy.x: {printed: 5, here: 6, why: ...}           # a deviation
      suite maini2020:
        pgd.steps: 100
        cw.solver.steps: 100
      minmax ensemble-linf:
        gamma: 3
      preset ding2020-mnist:                                  # of hauberk transfer
        runs: 50

tests/recipes/test_papers.py compares every one with what is there, and asks that every setting of
these recipes and suites is listed (but where a run is kept and its seed; of suites: steps,
restarts, and what is not a default of its attack).
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from math import isclose
from pathlib import Path
from typing import Any

import yaml

from hauberk.cli.transfer import TransferCommand
from hauberk.evaluation.accuracy.catalogue import SUITES
from hauberk.threats import L2, Linf

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"recipe": ROOT / "recipes" / "train", "minmax": ROOT / "recipes" / "minmax"}
UNLISTED = frozenset({"out", "seed"})
ALWAYS = frozenset({"steps", "restarts"})
Printed = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Setting:
    """One setting: what is printed, what is expected here, and why they differ."""

    owner: str
    name: str
    printed: Any
    expected: Any
    why: str = ""

    @classmethod
    def read(cls, owner: str, name: str, entry: Any) -> "Setting":
        """From the file."""
        if not isinstance(entry, dict):
            return cls(owner, name, entry, entry)
        if unknown := set(entry) - {"printed", "here", "chosen", "times", "why"}:
            raise ValueError(f"{owner}, {name}: unknown {sorted(unknown)}")
        if "chosen" in entry:
            return cls(owner, name, None, entry["chosen"], entry.get("why", "the paper is silent"))
        if "here" in entry:
            return cls(owner, name, entry.get("printed"), entry["here"], entry["why"])
        times = entry["times"]
        note = f"times {times}"
        return cls(owner, name, entry["printed"], entry["printed"] / times, entry.get("why", note))

    def holds(self, actual: Any) -> bool:
        """Whether it is so."""
        return same(self.expected, actual)


def same(one: Any, other: Any) -> bool:
    """Equal, but for the last bits of numbers."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str):
        return type(one) is type(other) and bool(one == other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names joined by dots, and values; lists are values."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def settings_of(owner: str) -> dict[str, Any]:
    """All settings of a recipe or suite."""
    kind, _, name = owner.partition(" ")
    if kind == "suite":
        stages = SUITES[name].stages
        return dict(leaves({k: {**as_tree(s.attack), **special(s)} for k, s in stages.items()}))
    if kind == "preset":
        return preset(name)
    text = (FOLDERS[kind] / f"{name}.yaml").read_text(encoding="utf-8")
    return dict(leaves(yaml.safe_load(text)))


def preset(name: str) -> dict[str, Any]:
    """The settings of a preset of hauberk transfer, as its command makes them."""
    balls = {"linf": Linf(0.1), "l2": L2(1.0)}
    command = TransferCommand(preset=name, spsa=100)
    made = {norm: command.crafting((ball,)) for norm, ball in balls.items()}
    one = made["l2"].attacks
    check = as_tree(command.check())
    return {
        "runs": len(one),
        "runs on votes": len(made["l2"].vote_attacks),
        **{loss: sum(attack.loss == loss for attack in one) for loss in ("ce", "cw")},
        "steps": one[0].steps,
        "random_start": one[0].random_start,
        **{f"step_share.{norm}": crafting.attacks[0].step_share for norm, crafting in made.items()},
        **{f"spsa.{key}": check[key] for key in ("steps", "delta", "lr", "samples", "threshold")},
        "spsa.examples": command.spsa,
    }


def as_tree(attack: Any) -> dict[str, Any]:
    """The fields of an attack, and of a solver within it."""
    tree: dict[str, Any] = {"attack": type(attack).__name__}
    for f in fields(attack):
        value = getattr(attack, f.name)
        tree[f.name] = as_tree(value) if is_dataclass(value) else value
    return tree


def special(stage: Any) -> dict[str, Any]:
    """When and for what a stage is run."""
    return {f.name: getattr(stage, f.name) for f in fields(stage) if f.name != "attack"}


def to_list(owner: str) -> set[str]:
    """The settings that a page must list."""
    found = settings_of(owner)
    if not owner.startswith("suite "):
        return set(found) - UNLISTED
    wanted = set()
    for stage, row in SUITES[owner.removeprefix("suite ")].stages.items():
        wanted |= {f"{stage}.{name}" for name in not_defaults(row.attack)}
        wanted |= {f"{stage}.{f.name}" for f in fields(row) if getattr(row, f.name) != f.default}
    return wanted & set(found)


def not_defaults(attack: Any) -> Iterator[str]:
    """The name of the class, and fields that are not as the class has them."""
    yield "attack"
    for f in fields(attack):
        value = getattr(attack, f.name)
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if is_dataclass(value):
            yield from (f"{f.name}.{name}" for name in not_defaults(value))
        elif value != default or f.name in ALWAYS:
            yield f.name


def read(printed: Printed) -> list[Setting]:
    """All settings of a file."""
    return [Setting.read(o, k, v) for o, entries in printed.items() for k, v in entries.items()]


def text(printed: Printed) -> list[str]:
    """The part of the page."""
    about = "As printed, and as the recipes and suites of the paper's name have them."
    lines = ["## Settings", "", f"{about} A test compares all of them.", ""]
    for owner, entries in printed.items():
        actual = settings_of(owner)
        lines += [f"<details><summary>{owner}</summary>", "", "| setting | printed | here | |"]
        lines += ["|---|---|---|---|"]
        for name, entry in entries.items():
            one = Setting.read(owner, name, entry)
            shown = "" if one.printed is None else one.printed
            lines.append(f"| {name} | {shown} | {actual.get(name, 'absent')} | {one.why} |")
        lines += ["", "</details>", ""]
    return lines
