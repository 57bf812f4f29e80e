"""The page of Ding et al. 2020: python recipes/papers/ding2020.py --data-dir DIR --scale small."""

import sys
from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import Cell, Paper, Run, number, share, slug, work
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "train"))

from margins import SMALL, follow

import hauberk as hb
from hauberk import train
from hauberk.maths.losses import margin
from hauberk.report.plots.canvas import canvas, save
from hauberk.report.plots.margins import by_epoch

SETTINGS = {
    "mnist-linf": ("linf", 1, [0.1, 0.2, 0.3, 0.4]),
    "mnist-l2": ("l2", 1, [1, 2, 3, 4]),
    "cifar10-linf": ("linf", 255, [4, 8, 12, 16, 20, 24, 28, 32]),
    "cifar10-l2": ("l2", 1, [0.5, 1, 1.5, 2, 2.5]),
}
"""Norm, denominator of the sizes, and the sizes of the evaluation, by data set and norm."""

FEW = {
    "mnist-linf": ["STD", "PGD-0.1", "PGD-0.2", "PGD-0.3", "PGDLS-0.3", "MMA-0.45-sd0",
                   "OMMA-0.45-sd0", "PGD-ens"],
    "mnist-l2": ["STD", "PGD-1.0", "PGD-2.0", "PGD-4.0", "PGDLS-4.0", "MMA-4.0-sd0",
                 "OMMA-4.0-sd0", "PGD-ens"],
    "cifar10-linf": ["STD", "PGD-8", "PGDLS-8", "MMA-32-sd0", "OMMA-32-sd0"],
    "cifar10-l2": ["STD", "PGD-1.0", "PGDLS-1.0", "MMA-2.0-sd0"],
}  # fmt: skip
"""The models of the small scale."""

OTHERS = ("PGD-Madry", "TRADES", "DDN-Rony")
"""Models of others that the paper downloaded."""

NOT_IN_ENS = {
    "cifar10-linf": ("PGD-24", "PGD-28", "PGD-32"),
    "mnist-linf": ("PGD-0.45", "PGDLS-0.45"),
}
"""Not in the paper's ensembles: those that did not train, and a size that is not tested at."""

EPOCHS = {"mnist": 91, "cifar10": 142}


def rows_of(run: Any, setting: str) -> list[str]:
    """The models that are made, the majority votes last."""
    if run.small:
        return FEW[setting]
    printed = run.paper.printed["tables"][TABLES[setting][0]]["rows"]
    names = [name for name in printed if name not in OTHERS]
    return sorted(names, key=lambda name: name.endswith("-ens"))


def members(run: Run, setting: str, vote: str) -> list[str]:
    """The members of PGD-ens or PGDLS-ens."""
    kind = vote.removesuffix("ens")
    left_out = () if run.small else NOT_IN_ENS.get(setting, ())
    names = rows_of(run, setting)
    return [n for n in names if n.startswith(kind) and n != vote and n not in left_out]


def model(run: Run, setting: str, name: str) -> str:
    """The model of a row, trained if it is not there."""
    data, norm = setting.split("-")
    if name == "STD":
        small = "mnist-std" if data == "mnist" else "ding-cifar10-std"
        return run.model(small if run.small else f"{data}-std", paper=f"ding2020/{data}-standard")
    kind, size, *seed = name.split("-")
    over = "/255" if SETTINGS[setting][1] == 255 else ""
    words = [f"--threat={norm}:{size}{over}"]
    mma = kind.endswith("MMA")
    if kind == "OMMA":
        words += ["--set", "clean=0"]
    if kind == "PGDLS":
        words += ["--set", f"grow={'0.5' if run.small else f'50/{EPOCHS[data]}'}"]
    if mma and run.small and norm == "l2":
        words += ["--set", "eps_init=0.5"]
    if seed and seed[0] != "sd0":
        words += [f"--seed={seed[0].removeprefix('sd')}"]
    strategy = "mma" if mma else "single"
    return run.model(
        f"ding-{setting}-{name}", *words, small=f"ding-{data}-{strategy}",
        paper=f"ding2020/{setting}-{strategy}",
    )  # fmt: skip


def transferred(run: Run, setting: str, first: str) -> Any:
    """The one transfer run of a data set and norm; models are trained from ``first`` on."""
    data, norm = setting.split("-")
    names = [n for n in rows_of(run, setting) if not n.endswith("-ens")]
    at = names.index(first) if first in names else 0
    paths = {name: model(run, setting, name) for name in names[at:] + names[:at]}
    votes = [n for n in rows_of(run, setting) if n.endswith("-ens")]
    _, over, sizes = SETTINGS[setting]
    words = [word for n in names for word in (f"--model={paths[n]}", f"--name={n}")]
    words += [f"--threat={norm}:{size:g}{'' if over == 1 else '/255'}" for size in sizes]
    words += [f"--vote={'+'.join(members(run, setting, vote))}" for vote in votes]
    words += [f"--data={data}:test", "--preset=ding2020"]
    n, runs = run.pick((100, 4 if data == "mnist" else 2), (10_000, None))
    words += [f"--limit={n}"] + ([f"--runs={runs}", "--set=steps=20"] if runs else [])
    return run.hauberk("transfer", *words, out=f"transfer-{setting}")


def found_of(run: Run, setting: str, row: str) -> tuple[Any, str, list[tuple[str, Any]]] | None:
    """The summary, the row's name in it, and its cases by the columns' names."""
    name = row
    if row not in rows_of(run, setting):  # table 1 leaves out the seed
        name = f"{row}-sd0"
    if name not in rows_of(run, setting):
        return None
    summary = transferred(run, setting, name)
    if name.endswith("-ens"):
        name = "+".join(members(run, setting, name))
    sizes = [f"{size:g}" for size in SETTINGS[setting][2]]
    return summary, name, list(zip(sizes, summary["threats"].values(), strict=True))


def accuracies(setting: str, kind: str, run: Run, row: str) -> dict[str, Cell]:
    """A row of accuracies, ``combined`` or ``whitebox``, with their averages."""
    found = found_of(run, setting, row)
    if found is None:
        return {}
    summary, name, cases = found
    n, clean = summary["n"], summary["clean"][name]
    robust = [case[kind][name] for _, case in cases]
    return {
        "clean": share(clean, n),
        "AvgAcc": number(100 * np.mean([clean, *robust]), 1, n),
        "AvgRobAcc": number(100 * np.mean(robust), 1, n),
        **{size: share(case[kind][name], n) for size, case in cases},
    }


def gaps(setting: str, run: Run, row: str) -> dict[str, Cell]:
    """A row of transfer gaps, in points."""
    found = found_of(run, setting, row)
    if found is None:
        return {}
    summary, name, cases = found
    each = {size: 100 * (case["whitebox"][name] - case["combined"][name]) for size, case in cases}
    means = {
        "AvgAcc": sum(each.values()) / (len(each) + 1),
        "AvgRobAcc": np.mean(list(each.values())),
    }
    return {k: number(v, 1, summary["n"]) for k, v in (means | each).items()}


def distances(setting: str, run: Run, row: str) -> dict[str, Cell | str]:
    """A row of C&W distances; 0 where the model is wrong."""
    known = {n.removesuffix("-sd0"): n for n in rows_of(run, setting) if not n.endswith("-ens")}
    if row not in known:
        return {}
    data = setting.split("-")[0]
    n, solver, budget = run.pick((50, "ddn", 400), (1000, "cw", 18_000))
    found = run.hauberk(
        "radius", f"--model={model(run, setting, known[row])}", f"--data={data}:test",
        f"--limit={n}", "--metric=l2", f"--solver={solver}", f"--budget={budget}",
        out=f"distances-{setting}-{row}",
    )  # fmt: skip
    l2 = found["metrics"]["l2"]
    quantiles = {f"{100 * float(q):g}%": v for q, v in l2["quantiles"].items()}
    return {
        "clean": share(found["clean_accuracy"], n),
        "mean": f"≥ {l2['mean']:.2f}" if l2["mean_is_bound"] else number(l2["mean"], 2, n),
        "25%": number(quantiles["25%"], 2, n),
        "median": number(l2["median"], 2, n),
        "75%": number(quantiles["75%"], 2, n),
    }


def omma(run: Run, row: str) -> dict[str, Cell]:
    """OMMA against MMA, on CIFAR-10."""
    at = accuracies("cifar10-linf", "combined", run, row)
    alone = accuracies("cifar10-linf", "whitebox", run, row)
    gap = gaps("cifar10-linf", run, row)
    kept = {k: at[k] for k in ("clean", "AvgAcc", "AvgRobAcc")}
    return kept | {"white-box 8": alone["8"], "combined 8": at["8"], "TransferGap 8": gap["8"]}


def spsa(run: Run, row: str) -> dict[str, Cell]:
    """What SPSA breaks of what PGD left."""
    name = row if row in rows_of(run, "mnist-linf") else f"{row}-sd0"
    n = run.pick(30, 100)
    words = ["--runs=10", "--spsa-set=samples=128", "--spsa-set=steps=50"]
    found = run.hauberk(
        "transfer", f"--model={model(run, 'mnist-linf', name)}", f"--name={row}",
        "--data=mnist:test", "--preset=ding2020", "--threat=linf:0.3", f"--limit={n}",
        f"--spsa={n}", *(words if run.small else ()), out=f"spsa-{row}",
    )  # fmt: skip
    checked = found["check"]["threats"]["linf:0.3"][row]
    clean, left = found["clean"][row], found["threats"]["linf:0.3"]["whitebox"][row]
    return {
        "tried": number(n, 0, n),
        "broken by PGD": number(round((clean - left) * n), 0, n),
        "broken by SPSA alone": number(checked["broke_more"], 0, n),
    }


# Figures


GRID = torch.arange(-1500, 1501).double() / 500


def one_dimension(seed: int) -> nn.Module:
    """A network of one number and two classes."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        net[0].weight.mul_(3)
        net[2].weight.mul_(2)
    return net


def curve(net: nn.Module) -> torch.Tensor:
    """The logit margin of label 0 at every perturbation of the input 0."""
    return margin(net(GRID[:, None]), torch.zeros(len(GRID), dtype=torch.int64))


def least(values: torch.Tensor) -> float:
    """The margin: the shortest perturbation that succeeds."""
    there = GRID.abs()[values >= 0]
    return float(there.min()) if len(there) else inf


def nearest(values: torch.Tensor) -> float:
    """The shortest perturbation that succeeds, with its sign."""
    there = GRID[values >= 0]
    return float(there[there.abs().argmin()])


def updated(seed: int, at: str) -> tuple[torch.Tensor, torch.Tensor, float] | None:
    """Loss before and after a step at the shortest success, or within a fixed eps; that eps."""
    net = one_dimension(seed)
    before = curve(net)
    d = least(before.detach())
    if before[len(GRID) // 2] >= -0.2 or not 0.3 < d < 1:
        return None
    eps = d if at == "margin" else 2 * d
    inside = torch.where(GRID.abs() <= eps + 1e-9, before, -inf)
    grads = torch.autograd.grad(inside.max(), list(net.parameters()))
    scale = sum(float(g.square().sum()) for g in grads)
    with torch.no_grad():
        for p, g in zip(net.parameters(), grads, strict=True):
            p.sub_(0.25 * float(inside.detach().max() + 0.3) / scale * g)
        after = curve(net)
    lower = torch.where(GRID.abs() <= eps + 1e-9, after, -inf).max() < inside.detach().max()
    return (before.detach(), after, eps) if bool(lower) else None


def figure2(run: Run, svg: Path) -> str:
    """The four panels, of small networks that behave so."""
    wanted = {
        "before": None,
        "at the margin: it rises": lambda d, e: e > d,
        "at eps: it rises": lambda d, e: e > d * 1.02,
        "at eps: it falls": lambda d, e: e < d * 0.98,
    }
    figure, (row,) = canvas(1, 4, (2.4, 2.2))
    seeds = range(4000)
    for axes, (title, holds) in zip(row, wanted.items(), strict=True):
        at = "margin" if "margin" in title or holds is None else "eps"
        for seed in seeds:
            found = updated(seed, at)
            if found is None:
                continue
            before, after, eps = found
            if holds is None or holds(least(before), least(after)):
                break
        axes.plot(GRID[::10], before[::10], "--", color="tab:blue", linewidth=1)
        axes.axhline(0, color="0.7", linewidth=0.6)
        marks = [(nearest(before), "D")]
        if holds is not None:
            axes.plot(GRID[::10], after[::10], color="tab:red", linewidth=1)
            marks.append((nearest(after), "o"))
            axes.axvline(eps, color="0.5", linewidth=0.6, linestyle=":")
        for place, mark in marks:
            axes.plot([place], [0], mark, color="k", markersize=4)
        axes.set(title=title, xlabel="perturbation", xlim=(-2.2, 2.2))
        axes.title.set_fontsize(8)
    row[0].set_ylabel("logit margin")
    save(figure, svg)
    return (
        "Dashed: before an update, solid: after it; a diamond and a dot at the shortest successful "
        "perturbation in length, a dotted line at the size that the update is for."
    )


def figure3(run: Run, svg: Path) -> str:
    """Segments to failed points, of OMMA-32, PGD-8 and MMA-32."""
    names = ["OMMA-32-sd0", run.pick("PGDLS-8", "PGD-8"), "MMA-32-sd0"]
    words = [
        word for n in names for word in (f"--model={model(run, 'cifar10-linf', n)}", f"--name={n}")
    ]
    argv = [
        "landscape", "--along=segment", *words, "--data=cifar10:test", "--limit=50",
        "--threat=linf:8/255", "--attack=PGD", f"--set=steps={run.pick(20, 100)}",
    ]  # fmt: skip
    shown = " ".join(["hauberk", *argv, "--data-dir=DIR", f"--out={svg}"])
    run.commands.append(shown)
    run.pool.submit(work, [*argv, f"--data-dir={run.data_dir}", f"--out={svg}"]).result()
    svg.with_suffix(".json").unlink(missing_ok=True)
    return ""


FOLLOWED = {
    "small": ("mnist", {"MMA, d_max 4": ("mma", 4), "PGD, eps 2": ("single", 2)}),
    "paper": ("cifar10", {"MMA, d_max 3": ("mma", 3), "PGD, eps 2.5": ("single", 2.5)}),
}


def strategy_of(kind: str, size: float, steps: int) -> train.Strategy:
    """MMA, or PGD training, in l2."""
    if kind == "mma":
        return train.MMA(hb.L2(size), steps=steps, bisections=6 if steps == 8 else 10, eps_init=0.5)
    attack = hb.attacks.PGD(loss="soft_margin", steps=steps)
    return train.Single(hb.L2(size), attack=attack)


def followed(scale: str, name: str, data_dir: str, out: str) -> dict[int, list[float]]:
    """Margins after every epoch of a training; what is there of it is not made again."""
    data, kinds = FOLLOWED[scale]
    kind, size = kinds[name]
    few = scale == "small"
    model = "kwsmall_mnist" if few else "wrn_28_4"
    rates: dict[str, Any] = {"schedule": [(0, 2e-4), (2, 2e-3), (6, 0)], "minibatch": 50}
    if not few:
        rates = {
            "optimiser": "sgd", "learning_rate": 0.3, "minibatch": 128, "momentum": 0.9,
            "weight_decay": 2e-4, "augment": ["pad-crop:4", "flip"],
            "schedule": ("steps", [(20_000, 0.3), (30_000, 1 / 3), (40_000, 0.3)]),
        }  # fmt: skip
    found, _ = follow(
        Path(out), strategy_of(kind, size, 8 if few else 10), f"{data}:train", data_dir,
        model=getattr(hb.models, model), limit=3000 if few else None, epochs=6 if few else 142,
        points=100 if few else 500, coarse=100, fine=100 if few else 1000, **rates,
    )  # fmt: skip
    return {epoch: row.tolist() for epoch, row in found.items()}


def figure4(run: Run, svg: Path) -> str:
    """Histograms of margins by epoch."""
    scale = run.paper.scale
    jobs = {
        name: run.pool.submit(
            followed, scale, name, run.data_dir, str(run.folder(f"margins-{slug(name)}"))
        )
        for name in FOLLOWED[scale][1]
    }
    runs = {name: {e: np.array(r) for e, r in job.result().items()} for name, job in jobs.items()}
    by_epoch(runs, svg, small=SMALL, bins=16)
    ends = {name: (r[max(r)] < SMALL).mean() for name, r in runs.items()}
    printed = {"MMA": "20.4%", "PGD": "37.8%"}
    return "; ".join(
        f"{name}: {100 * end:.0f}% of margins below {SMALL:g} at the end · {printed[name[:3]]}"
        for name, end in ends.items()
    )


ABOUT = """
Max-margin training (MMA) pushes every example's own margin up to a threshold; the paper compares
it with training at a fixed size (PGD), with sizes that grow (PGDLS), with MMA without its clean
loss (OMMA), and with majority votes, each under many attacks of its own and of the other models.
"""

CUT = """
Small scale: 100 test images, runs of 20 steps (4 on each model for MNIST, 2 for CIFAR-10) instead
of 50 and 10 of 100; a network of two convolutions trained for 4 epochs on 6,000 (CIFAR-10: 4,000)
images; fewer models, so fewer transferred points; the vote is of the PGD models made here. All
tables of one data set and norm come from one command. Rows without a number of ours are trained
at paper scale only, and models of others (PGD-Madry, TRADES, DDN-Rony) not at all. In so short a
training PGD stays constant from smaller sizes on than in the paper (there from 0.45 under linf),
where sizes that grow (PGDLS) train.
"""

CIFAR = CUT + "On CIFAR-10 such a network is weak: its clean accuracy bounds everything else.\n"

SLIP = """The paper's text calls 28.36 and 29.39 AvgRobAcc; by its tables they are AvgAcc."""

TABLES: dict[str, Sequence[str]] = {
    "mnist-linf": ("Table 4", "Table 8", "Table 12"),
    "cifar10-linf": ("Table 5", "Table 9", "Table 13"),
    "mnist-l2": ("Table 6", "Table 10", "Table 14"),
    "cifar10-l2": ("Table 7", "Table 11", "Table 15"),
}


def main() -> int:
    paper = Paper.from_command_line("ding2020", about=ABOUT)
    makers = {}
    for setting, names in TABLES.items():
        kinds = [partial(accuracies, setting, k) for k in ("combined", "whitebox")]
        for name, make in zip(names, [*kinds, partial(gaps, setting)], strict=True):
            makers[name] = (make, CIFAR if setting.startswith("cifar10") else CUT)
    makers["Table 1"] = (partial(accuracies, "cifar10-linf", "combined"), CIFAR)
    far = (
        "Small scale: 50 test images, DDN of 200 steps in place of C&W, which wants some 5,000 "
        "passes an image; networks as in tables 4 to 7. Where the model is wrong it is 0; where "
        "no point was found (a constant network has none), the mean is a bound."
    )
    for name, setting in (("Table 2", "mnist-l2"), ("Table 3", "cifar10-l2")):
        makers[name] = (partial(distances, setting), far)
    for name in sorted(makers, key=lambda text: int(text.split()[1])):
        make, differs = makers[name]
        paper.table(name, make, differs=differs)
    paper.table("Appendix E", omma, differs=f"{CIFAR}\n{SLIP}")
    paper.table(
        "Section 4.3",
        spsa,
        differs="Small scale: 30 images, 10 runs of PGD, SPSA of 50 iterations of 128 samples.",
    )
    paper.figure(
        "Figure 2", figure2, differs="Ours are small networks that behave so; theirs a drawing."
    )
    paper.figure(
        "Figure 3", figure3, differs="50 test images, without the 50 training ones. Small "
        "scale: networks as in table 5, PGDLS-8 for PGD-8, which did not train.",
    )  # fmt: skip
    paper.figure(
        "Figure 4", figure4, differs="Small scale: MNIST, not CIFAR-10; d_max 4 against eps 2, "
        "100 images, DDN of 100 steps.",
    )  # fmt: skip
    return paper.run()


if __name__ == "__main__":
    raise SystemExit(main())
