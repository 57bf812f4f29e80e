"""Which weights of a file go where in a model: dictionaries, prefixes, and what does not fit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.files import WeightsFile, module_state, refusal, to_tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that torch computes with."""

_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTERS = ("num_batches_tracked", "n_averaged")
_CONSTANT = re.compile(r"(?!running)(.*_)?(mean|std|mu|sigma)", re.IGNORECASE)
_PROBES = 3


@dataclass(frozen=True)
class Candidate:
    """One dictionary of a file that may be a model's weights.

    Attributes:
        name: its place in the file, such as `model.net`.
        weights: tensors, and what else it holds, by name.
    """

    name: str
    weights: Mapping[str, Any]


@dataclass(frozen=True)
class Misfit:
    """The differences between weights and a model; false if there are none.

    Attributes:
        missing: names of the model that the weights lack.
        unexpected: names of the weights that the model lacks.
        wrong: shapes and types that differ, in words.
        shapes: of every name whose shapes differ, the model's and the file's.
        overlap: how many names both have.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    overlap: int = 0

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("wrong", self.wrong))
        return "; ".join(f"{len(keys)} {what}: {few(keys)}" for what, keys in parts if keys)


@dataclass(frozen=True)
class Match:
    """Weights laid against a model.

    Attributes:
        name: of the candidate.
        weights: by the model's names, as far as both have them.
        misfit: what differs.
        kept: constants of the model that the file does not have, such as a mean and a std.
    """

    name: str
    weights: Mapping[str, Any]
    misfit: Misfit
    kept: tuple[str, ...] = ()


def candidates(file: WeightsFile, ignore_keys: Sequence[str] = ()) -> list[Candidate]:
    """Each dictionary of the file that holds tensors, outermost first.

    Args:
        file: the file; its key chooses among them, by a dictionary's name or by the beginning that
            the names in it have.
        ignore_keys: patterns, such as `head.*`, of names to leave out.

    Raises:
        InputError: if there are none, or the key names none.
    """
    found = list(_dictionaries(file.tree))
    if not found:
        if file.inert:
            raise InputError(refusal(file.path, file.inert[0]))
        raise InputError(f"weights {file.path}: the file holds no weights")
    if file.key:
        found = _chosen(found, file)
    return [
        replace(c, weights={k: v for k, v in c.weights.items() if not _ignored(k, ignore_keys)})
        for c in found
    ]


def _dictionaries(tree: Any, name: str = "", depth: int = 0) -> Iterator[Candidate]:
    if "_modules" in getattr(tree, "__dict__", ()):
        tree = module_state(tree)
    if not isinstance(tree, Mapping):
        return
    if tree and all(isinstance(key, str) for key in tree):
        weights = {key: to_tensor(value) for key, value in tree.items()}
        if any(isinstance(value, Tensor) for value in weights.values()):
            yield Candidate(name, weights)
    if depth < 3:
        for key, value in tree.items():
            yield from _dictionaries(value, f"{name}.{key}" if name else str(key), depth + 1)


def _chosen(found: list[Candidate], file: WeightsFile) -> list[Candidate]:
    """Those that the key names, or the part of one whose names begin so."""
    key = file.key
    chosen = [c for c in found if c.name == key]
    if chosen := chosen or [c for c in found if c.name.rpartition(".")[2] == key]:
        return chosen
    for candidate in found:
        start = key.removeprefix(f"{candidate.name}.") + "."
        if part := {k: v for k, v in candidate.weights.items() if k.startswith(start)}:
            return [Candidate(key, part)]
    there = [c.name for c in found if c.name] or list(found[0].weights)
    raise InputError(f"weights {file.path}: it holds no {key!r}: it has {few(there, 6)}")


def _ignored(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def match(model: nn.Module, candidate: Candidate) -> Match:
    """Weights laid against a model, prefixes on either side taken off.

    A prefix is any beginning of names up to a dot: of the file's, such as `module.`, or of the
    model's, such as `1.` behind a layer that normalises. Wrappers of compiled and distributed parts
    (`_orig_mod`) are nothing anywhere. Counters of batches may be missing, and so may constants of
    the model called mean, std, mu or sigma, which then keep the model's own values.

    Args:
        model: takes the weights.
        candidate: the weights.

    Returns:
        the way without a misfit that takes off least, or the one that fits best.
    """
    own = model.state_dict()
    constants = {k for k in own if _is_constant(model, k)}
    theirs = {_bare(key): key for key in candidate.weights}
    mine = {_bare(key): key for key in own}
    best: Match | None = None
    for ahead, behind in _prefixes(list(mine), list(theirs), constants):
        found = _with_prefixes(own, candidate, (mine, ahead), (theirs, behind), constants)
        if not found.misfit:
            return found
        if best is None or _badness(found) < _badness(best):
            best = found
    assert best is not None
    return best


def _badness(found: Match) -> tuple[int, int]:
    return -found.misfit.overlap, len(found.misfit.unexpected)


def _bare(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _is_constant(model: nn.Module, key: str) -> bool:
    """Whether a name is a buffer that normalisation uses, rather than something learnt."""
    place, _, name = key.rpartition(".")
    if not _CONSTANT.fullmatch(name):
        return False
    try:
        return name in model.get_submodule(place)._buffers
    except AttributeError:
        return False


def _prefixes(mine: list[str], theirs: list[str], constants: set[str]) -> list[tuple[str, str]]:
    """Pairs of prefixes, the model's and the file's, that could be taken off: shortest first."""
    needed = [key for key in mine if key not in constants] or mine
    found = {("", "")}
    if not needed:
        return [("", "")]
    common = _common(needed)
    places = {round(n * (len(needed) - 1) / (_PROBES - 1)) for n in range(_PROBES)}
    for place in places:
        for ahead in common:
            rest = needed[place].removeprefix(ahead)
            for key in theirs:
                if key == rest or key.endswith(f".{rest}"):
                    found.add((ahead, key[: len(key) - len(rest)]))
    return sorted(found, key=lambda pair: (sum(p.count(".") for p in pair), pair))


def _common(keys: list[str]) -> list[str]:
    """The prefixes that all names have, the empty one first."""
    parts = keys[0].split(".")[:-1]
    found = [""]
    for part in parts:
        longer = f"{found[-1]}{part}."
        if not all(key.startswith(longer) for key in keys):
            break
        found.append(longer)
    return found


def _with_prefixes(
    own: Mapping[str, Any],
    candidate: Candidate,
    mine: tuple[Mapping[str, str], str],
    theirs: tuple[Mapping[str, str], str],
    constants: set[str],
) -> Match:
    """The match if these prefixes are taken off."""
    (bare_own, ahead), (bare_given, behind) = mine, theirs
    weights: dict[str, Any] = {}
    used: set[str] = set()
    missing, kept, wrong, shapes = [], [], [], []
    for bare, key in bare_own.items():
        rest = bare.removeprefix(ahead) if bare.startswith(ahead) else None
        given = bare_given.get(f"{behind}{rest}") if rest is not None else None
        if given is None:
            if key in constants:
                kept.append(key)
            elif not key.endswith(_COUNTERS):
                missing.append(key)
            continue
        used.add(given)
        weights[key] = candidate.weights[given]
        if note := _difference(given, own[key], weights[key]):
            wrong.append(note)
            if isinstance(weights[key], Tensor) and isinstance(own[key], Tensor):
                shapes.append((tuple(own[key].shape), tuple(weights[key].shape)))
    spare = [k for k in candidate.weights if k not in used and not k.endswith("n_averaged")]
    misfit = Misfit(tuple(missing), tuple(spare), tuple(wrong), tuple(shapes), len(weights))
    return Match(candidate.name, weights, misfit, tuple(kept))


def _difference(key: str, own: object, given: object) -> str:
    if not isinstance(own, Tensor):  # a module's extra state, which only it understands
        return ""
    if not isinstance(given, Tensor):
        return f"{key} is a {type(given).__name__}, not a tensor"
    if own.shape != given.shape:
        return f"{key} has shape {tuple(given.shape)}, the model {tuple(own.shape)}"
    if is_float(own) != is_float(given) and not key.endswith("num_batches_tracked"):
        return f"{key} has type {given.dtype}, the model {own.dtype}"
    if is_float(given) and given.dtype not in FLOATS:
        return f"{key} has type {given.dtype}, which torch cannot compute with"
    return ""


def resized(misfit: Misfit) -> dict[str, int]:
    """What to build a model with so that its first and last layer have the weights' sizes.

    Args:
        misfit: of the model as it is.

    Returns:
        `num_classes` and `in_chans`, as far as they explain every difference; empty if they do not.

    Example:
        >>> resized(Misfit(wrong=("",), shapes=(((1000, 64), (10, 64)), ((1000,), (10,)))))
        {'num_classes': 10}
    """
    found: dict[str, int] = {}
    classes = {(own[:1], given[:1]) for own, given in misfit.shapes if own[1:] == given[1:]}
    inner = {
        (own[1:2], given[1:2])
        for own, given in misfit.shapes
        if len(own) == len(given) == 4 and own[:1] == given[:1] and own[2:] == given[2:]
    }
    explained = sum(
        own[1:] == given[1:] or (own[:1] == given[:1] and own[2:] == given[2:] and len(own) == 4)
        for own, given in misfit.shapes
    )
    if misfit.missing or misfit.unexpected or explained < len(misfit.wrong):
        return {}
    if len(classes) == 1:
        found["num_classes"] = next(iter(classes))[1][0]
    if len(inner) == 1:
        found["in_chans"] = next(iter(inner))[1][0]
    return found if len(classes) <= 1 and len(inner) <= 1 else {}


def is_float(value: object) -> bool:
    """Whether a value is a tensor of floating-point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def few(names: Sequence[str], most: int = 3) -> str:
    """Names in a row, the first few of them.

    Example:
        >>> few(["a", "b", "c", "d"])
        'a, b, c and 1 more'
    """
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
