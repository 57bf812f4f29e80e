"""How measures of hardness agree within groups of images, in numbers and as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor

from hauberk.errors import InputError

SHARES = ("one", "even", "fooled")


@dataclass(frozen=True)
class Agreement:
    """How far two measures order the images of each group alike.

    Attributes:
        rho: Spearman's rank correlation within groups, averaged over them; NaN without groups.
        error: standard error of that mean; NaN with fewer than two groups.
        groups: groups that count.
        tied: groups left out, in which one of the measures is the same for all images.
        top: of those that count, groups in which an image is hardest by both; of several that
            tie for it, any one will do.
    """

    rho: float
    error: float
    groups: int
    tied: int
    top: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN is None."""
        told = asdict(self)
        return {k: None if isinstance(v, float) and v != v else v for k, v in told.items()}


def agreement(measures: Mapping[str, Tensor]) -> dict[tuple[str, str], Agreement]:
    """Rank correlation within groups, and agreement on the hardest, for each pair of measures.

    Args:
        measures: by name, ``(G, M)``: M images in each of G groups; larger is harder, inf is
            hardest. Ties have their mean rank.

    Raises:
        InputError: for NaN, or measures of different shapes.

    Source: Wang et al. 2021, section G, which compares weights and distances by eye.
    """
    known = {name: torch.as_tensor(m).detach().double().cpu() for name, m in measures.items()}
    if any(m.dim() != 2 for m in known.values()) or len({m.shape for m in known.values()}) > 1:
        raise InputError("measures must be tables (G, M), all of one shape")
    if bad := [name for name, m in known.items() if bool(m.isnan().any())]:
        raise InputError(f"{bad[0]} holds NaN: give inf for what was not found")
    return {pair: _compare(known[pair[0]], known[pair[1]]) for pair in combinations(known, 2)}


def mean_ranks(values: Tensor) -> Tensor:
    """Ranks from 1 in each row of ``(G, M)``, float64; equal values share their mean rank."""
    each, others = values.unsqueeze(2), values.unsqueeze(1)
    return (others < each).double().sum(2) + ((others == each).double().sum(2) + 1) / 2


def spread(weights: Tensor) -> dict[str, float]:
    """See :attr:`hauberk.analysis.Hardness.spread`; weights ``(G, M)``."""
    w = weights.detach().double()
    top, low = w.amax(1), w.amin(1)
    return {
        "images": float((1 / w.square().sum(1)).mean()),
        "one": float((top >= 1 - 1e-3).double().mean()),
        "even": float((top - low <= 1e-3).double().mean()),
    }


def group_names(labels: Sequence[int]) -> list[str]:
    """``3a``, ``3b``, ``4a``: the class of each group and a letter, a number from the 27th on."""
    seen: Counter[int] = Counter()
    names = []
    for label in labels:
        number = seen[label]
        names.append(f"{label}{chr(97 + number)}" if number < 26 else f"{label}-{number + 1}")
        seen[label] += 1
    return names


def storable(value: Any) -> Any:
    """A value for JSON: what that does not know becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, str | int | None) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value)


def table(told: Mapping[str, Any]) -> str:
    """What :meth:`Hardness.to_dict` holds as text: one row for each image, then for each pair.

    At most 80 columns wide. The hardest image of its group by a measure is marked ``*``.
    """
    from hauberk.report.tables.accuracy import _grid, _print, _text

    columns = {**told["weights"], "C&W l2": told["cw_l2"], "eps linf": told["eps_linf"]}
    head = ["group", "image", *columns]
    rows = []
    for g, name in enumerate(told["groups"]):
        tops = {key: _top(values[g]) for key, values in columns.items()}
        for m, place in enumerate(told["index"][g]):
            mark = "" if told["correct"][g][m] else "!"
            cells = [name if m == 0 else "", f"{place}{mark}"]
            cells += [_cell(v[g][m], v[g][m] == tops[key]) for key, v in columns.items()]
            rows.append(("", cells))
    notes = [_about(told), "group: class and letter; image: its place in the data, ! for one that "
             "the model gets wrong", "threats: domain weight; *: hardest of its group; –: no error "
             "found"]  # fmt: skip
    first = _text(lambda console: _print(_grid(head, rows), notes, console))
    sizes = [
        ("", [name, f"{own['images']:.2f}", *(f"{100 * own[k]:.0f}%" for k in SHARES)])
        for name, own in told["spread"].items()
    ]
    note = ["images: mean effective number that carry weight; one: groups in which one image has "
            "all; even: groups in which all have the same; fooled: images"]  # fmt: skip
    grid = _grid(["weights", "images", *SHARES], sizes)
    second = _text(lambda console: _print(grid, note, console))
    pairs = [
        ("", [_plainly(p["first"]), _plainly(p["second"]), _number(p["rho"]), _number(p["error"]),
              f"{p['top']}/{p['groups']}", str(p["tied"])])
        for p in told["correlations"]
    ]  # fmt: skip
    about = [
        "rho: mean rank correlation within groups, and its standard error; same top: groups that "
        "agree on the hardest image; tied: groups left out, where one of the two is all equal"
    ]
    last = _grid(["measure", "and", "rho", "error", "same top", "tied"], pairs)
    third = _text(lambda console: _print(last, about, console))
    return f"{first}\n\n{second}\n\n{third}"


def _compare(one: Tensor, other: Tensor) -> Agreement:
    ranks = [mean_ranks(values) for values in (one, other)]
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    sizes = [c.square().sum(1) for c in centred]
    kept = (sizes[0] > 0) & (sizes[1] > 0)
    n = int(kept.sum())
    rho = ((centred[0] * centred[1]).sum(1) / (sizes[0] * sizes[1]).sqrt())[kept]
    tops = [values == values.amax(1, keepdim=True) for values in (one, other)] if n else []
    return Agreement(
        rho=float(rho.mean()) if n else nan,
        error=float(rho.std() / n**0.5) if n > 1 else nan,
        groups=n,
        tied=len(one) - n,
        top=int((tops[0] & tops[1]).any(1)[kept].sum()) if n else 0,
    )


def _top(row: Sequence[float | None]) -> float | None:
    """The largest of a row; None, which stands for inf, is larger than all."""
    known = [value for value in row if value is not None]
    return max(known) if len(known) == len(row) else None


def _cell(value: float | None, top: bool) -> str:
    return _number(value) + ("*" if top else " ")


def _number(value: float | None) -> str:
    return "–" if value is None or not isfinite(value) else f"{value:.3f}"


def _plainly(name: str) -> str:
    return {"cw_l2": "C&W l2", "eps_linf": "eps linf"}.get(name, name)


def _about(told: Mapping[str, Any]) -> str:
    own = told["settings"]
    size = len(told["index"][0]) if told["index"] else 0
    text = f"{len(told['groups'])} groups of {size}, gamma {own['gamma']:g}, beta {own['beta']:g}"
    text += ", averaged over the steps" if own.get("average") else ""
    solver = own["l2_solver"]
    name = solver if isinstance(solver, str) else solver.get("solver", solver.get("attack"))
    return text + ("" if name in ("CW", "cw") else f"; l2 distances by {name}, not C&W")
