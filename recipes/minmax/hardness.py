"""Domain weights as hardness of MNIST images (Wang et al. 2021, section G, Tables A7 and A8).

    python recipes/minmax/hardness.py --data-dir DIR [--model A] [--models-dir runs/train/wang2021]
        [--groups 2] [--share 1] [--more 10] [--gamma 4] [--beta 0.02]
        [--out docs/results/hardness.md]

Groups of five test images of one digit share a perturbation, which min-max makes fool them all, in
20 steps along the raw gradient of size 1/6. OUT gets, in Markdown, the final weights under four
norms beside the C&W distance and the least linf eps of every image, and how they correlate with
them, next to what the paper's printed tables give; `--share` shrinks all threats. `--more` groups
of each digit (0 for none) then tell what the size of the threat, gamma, beta and averaging do to
that. OUT with the suffix .png shows the first part, .json has all its numbers.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from hauberk.analysis import Agreement, Hardness, agreement, hardness
from hauberk.data import load_data
from hauberk.errors import InputError
from hauberk.models.loading import load_model
from hauberk.models.saved import resolve_model

SIZES = {"A": 0.2, "B": 0.2, "C": 0.3, "D": 0.25}
"""The paper's linf eps for universal perturbations, by model."""
OTHERS = {"l0": 30.0, "l1": 20.0, "l2": 3.0}
PRINTED = {  # rank correlation, same hardest of 20: with eps_min, with C&W
    "l0": (0.69, 14, 0.46, 11), "l1": (0.70, 14, 0.50, 11),
    "l2": (0.73, 15, 0.49, 10), "linf": (0.77, 17, 0.49, 11),
}  # fmt: skip
SHARES = (1.0, 0.5, 0.35, 0.25)
GAMMAS = (0.0, 1.0, 4.0, 10.0, 30.0, 100.0)
BETAS = (1 / 200, 1 / 100, 1 / 50, 1 / 10, float("inf"))


def main() -> None:
    options = parse()
    begun = time.monotonic()
    study = Study(options)
    found = study.measure(options.groups, options.share)
    text = [*title(options, found), *by_group(found), "", *beside_print(found), ""]
    if options.more:
        text += study.sweeps()
    text += [f"{time.monotonic() - begun:.0f} seconds."]
    out: Path = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    found.figure(out.with_suffix(".png"))
    told = json.dumps(found.to_dict(), indent=1) + "\n"
    out.with_suffix(".json").write_text(told, encoding="utf-8")
    out.write_text("\n".join(text) + "\n", encoding="utf-8")
    print(found.table())
    print(f"\nwritten: {out}, {out.with_suffix('.png').name}, {out.with_suffix('.json').name}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the IDX files")
    parser.add_argument("--models-dir", type=Path, default=Path("runs/train/wang2021"))
    parser.add_argument("--model", choices=sorted(SIZES), default="A")
    parser.add_argument("--group", type=int, default=5, help="images that share a perturbation")
    parser.add_argument("--groups", type=int, default=2, help="of each digit, in the first part")
    parser.add_argument("--share", type=float, default=1.0, help="of the paper's sizes, there")
    parser.add_argument("--more", type=int, default=10, help="of each digit, in the sweeps")
    parser.add_argument("--gamma", type=float, default=4.0)
    parser.add_argument("--beta", type=float, default=1 / 50)
    parser.add_argument("--budget", type=int, default=2000, help="passes per image and distance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/hardness.md"))
    options = parser.parse_args()
    if options.out.suffix != ".md":
        parser.error("--out must end in .md")
    return options


@dataclass
class Study:
    """Model and data, and runs on them."""

    options: argparse.Namespace

    def __post_init__(self) -> None:
        trained = self.options.models_dir / f"mnist-{self.options.model}-standard"
        self.model = load_model(*resolve_model(str(trained), None))
        self.data = load_data("mnist:test", self.options.data_dir)

    def measure(
        self, groups: int, share: float = 1.0, known: Hardness | None = None,
        threats: tuple[str, ...] | None = None, gamma: float | None = None,
        beta: float | None = None, weights: Literal["final", "mean"] = "final",
    ) -> Hardness:  # fmt: skip
        """Hardness under the paper's threats, at a share of their sizes."""
        own = self.options
        return hardness(
            self.model, self.data.images, self.data.labels, group=own.group, groups=groups,
            threats=threats or self.threats(share), distances=known, weights=weights,
            gamma=own.gamma if gamma is None else gamma, beta=own.beta if beta is None else beta,
            budget=own.budget, seed=own.seed,
        )  # fmt: skip

    def threats(self, share: float) -> tuple[str, ...]:
        sizes = {**OTHERS, "linf": SIZES[self.options.model]}
        told = {name: f"{share * size:g}" for name, size in sizes.items()}
        told["l0"] = str(round(share * OTHERS["l0"]))
        return tuple(f"{name}:{size}" for name, size in told.items())

    def sweeps(self) -> list[str]:
        """What changes the weights' agreement with the least eps."""
        groups = self.options.more
        first = self.measure(groups, threats=self.threats(1.0)[-1:])
        head = "| | rho, last | rho, averaged | top, last | images | one | fooled |"
        rule = "|---|---|---|---|---|---|---|"
        about = (
            f"{len(first.index)} groups; median least linf eps {median(first.eps_linf):.3f}, "
            f"median C&W l2 {median(first.cw_l2):.2f}. rho: with the least linf eps, with the "
            "standard error of the mean; last: final weights; averaged: over the steps; top: share "
            "of groups that agree on the hardest image; images: effective number that carry "
            "weight; one: groups in which one image has all of it; fooled: images."
        )
        clean = f"Clean margins against the least eps: rho {pm(self.margins(first))}."
        text = ["## What the size of the threat does", "", about, "", clean, "", head, rule]
        for share in SHARES:
            names = self.threats(share)
            text += self.rows(groups, names, {n: n for n in names}, first)
        for share in (SHARES[0], SHARES[2]):
            name = self.threats(share)[-1]
            text += ["", f"## gamma and beta under {name}", "", head, rule]
            for gamma in GAMMAS:
                text += self.rows(groups, (name,), {name: f"gamma {gamma:g}"}, first, gamma=gamma)
            for beta in BETAS:
                text += self.rows(groups, (name,), {name: f"beta {beta:g}"}, first, beta=beta)
        return [*text, ""]

    def rows(
        self, groups: int, threats: tuple[str, ...], labels: dict[str, str], known: Hardness,
        gamma: float | None = None, beta: float | None = None,
    ) -> list[str]:  # fmt: skip
        last, mean = (
            self.measure(groups, 1.0, known, threats, gamma, beta, weights)
            for weights in ("final", "mean")
        )
        rows = []
        for name in threats:
            one, other = (h.correlations[name, "eps_linf"] for h in (last, mean))
            own = last.spread[name]
            rows.append(
                f"| {labels[name]} | {pm(one)} | {pm(other)} | {one.top / max(1, one.groups):.2f} "
                f"| {own['images']:.2f} | {percent(own['one'])} | {percent(own['fooled'])} |"
            )
        return rows

    def margins(self, found: Hardness) -> Agreement:
        """How far the margins of the clean images tell the least eps."""
        with torch.no_grad():
            logits = self.model(found.images.flatten(0, 1))
        own = found.labels.repeat_interleave(found.index.shape[1]).unsqueeze(1)
        others = logits.scatter(1, own, -torch.inf).amax(1)
        margin = (logits.gather(1, own).squeeze(1) - others).view(found.index.shape)
        measures = {"margin": margin.clamp(min=0), "eps": found.eps_linf}
        return agreement(measures)["margin", "eps"]


def title(options: argparse.Namespace, found: Hardness) -> list[str]:
    g, m = found.index.shape
    lost = sum(int(values.isinf().sum()) for values in (found.cw_l2, found.eps_linf))
    return [
        f"# Domain weights as hardness of images: MNIST, model {options.model}",
        "",
        f"{g} groups of {m} test images of one digit, seed {options.seed}; 20 steps of PGD along "
        f"the raw gradient times 1/6 from the clean images, gamma {options.gamma:g}, beta "
        f"{options.beta:g}. Distances: C&W (nine rounds, Adam at 0.05) and `best` in linf, "
        f"{options.budget} passes per image each, {lost} not found (inf). Clean accuracy on "
        f"these images: {percent(float(found.correct.double().mean()))}.",
        "",
        "## Weights and distances",
        "",
    ]


def by_group(found: Hardness) -> list[str]:
    columns = {**found.weights, "C&W l2": found.cw_l2, "least linf eps": found.eps_linf}
    text = [f"| group | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for g, name in enumerate(found.names):
        cells = [" ".join(f"{v:.3g}" for v in rounded(values[g])) for values in columns.values()]
        text.append(f"| {name} | {' | '.join(cells)} |")
    return text


def beside_print(found: Hardness) -> list[str]:
    text = [
        "## Agreement within groups, and that of the paper's printed tables",
        "",
        "rho: mean rank correlation and its standard error; top: same hardest image.",
        "",
        "| weights under | rho: eps | paper | top | paper | rho: C&W | paper | top | paper |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in found.weights:
        eps, cw = found.correlations[name, "eps_linf"], found.correlations[name, "cw_l2"]
        own = PRINTED[name.partition(":")[0]]
        text.append(
            f"| {name} | {pm(eps)} | {own[0]} | {top(eps)} | {own[1]}/20 | {pm(cw)} | {own[2]} | "
            f"{top(cw)} | {own[3]}/20 |"
        )
    norms = [found.correlations[p] for p in found.correlations if set(p) <= set(found.weights)]
    both = found.correlations["cw_l2", "eps_linf"]
    rhos, tops = [a.rho for a in norms], [a.top for a in norms]
    return [
        *text, "",
        f"Between norms: rho {min(rhos):.2f} to {max(rhos):.2f} (paper 0.76 to 0.87), same hardest "
        f"{min(tops)} to {max(tops)} of {norms[0].groups} (paper 15 to 18 of 20). Between the two "
        f"distances: rho {pm(both)}, same hardest {top(both)} (paper 0.58, 12/20).",
    ]  # fmt: skip


def rounded(values: torch.Tensor) -> list[float]:
    return [round(float(v), 3) for v in values]


def median(values: torch.Tensor) -> float:
    return float(values.median())


def pm(found: Agreement) -> str:
    return f"{found.rho:.2f} ± {found.error:.2f}"


def top(found: Agreement) -> str:
    return f"{found.top}/{found.groups}"


def percent(share: float) -> str:
    return f"{100 * share:.0f}%"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"hardness.py: {error}") from error
