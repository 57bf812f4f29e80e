"""The page of Wang et al. 2021, "Adversarial Attack Generation Empowered by Min-Max Optimization".

python recipes/papers/wang2021.py --data-dir DIR --scale small|paper
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import Cell, Cells, Paper, Run, number, share, slug

THREATS = ("linf:0.3", "l2:2", "l1:10")
TRAINED = {  # by row of Table A6: the small training, that of the paper, the row of Maini's page
    "linf-AT": ("mnist-linf", "maini2020/mnist-linf-single", "P_inf"),
    "l2-AT": ("mnist-l2", "maini2020/mnist-l2-single", "P_2"),
    "l1-AT": ("mnist-l1", "maini2020/mnist-l1-single", "P_1"),
    "MAX": ("mnist-max", "maini2020/mnist-union-max", "MAX"),
    "AVG": ("mnist-avg", "maini2020/mnist-union-avg", "AVG"),
    "MSD": ("mnist-msd-9", "maini2020/mnist-union-msd", "MSD"),
    "AMPGD": ("mnist-ampgd", "wang2021/mnist-union-ampgd", "AMPGD"),
}
SUITES = {"Maini": "maini2020", "AA": "autoattack", "AA+": "autoattack-plus"}
PUBLIC = {  # what stands for the large networks at the small scale: public weights
    "E": ("hauberk.models:kwsmall_cifar10", "cifar10_kwsmall_standard.npz"),
    "F": ("hauberk.models:ResNet20A", "cifar10_resnet20_standard.npz"),
}
SIZES = {"mnist": (0.05, 0.1, 0.15, 0.2, 0.3), "cifar10": (0.01, 0.02, 0.03, 0.05, 0.1)}
GAMMAS = (0, 1, 4, 10)
GROUPS = (2, 5, 10)
WEIGHTS = {"linf": "linf:0.2", "l2": "l2:3", "l1": "l1:20", "l0": "l0:30"}
SIDES = {"average": "average", "min-max": "minmax"}

paper = Paper.from_command_line(
    "wang2021",
    about="""
One perturbation against several domains (models, images, transformations, threats), by min-max. The
paper's Tables 1 and 3 and its universal perturbations stand in the main text alone, and there are
no numbers to print beside ours but the mean lifts of the supplement. *lift*: relative gain of
min-max over the average, in ASR_all or ASR_gp.
""",
)


def trained(run: Run, data: str, letter: str) -> list[str]:
    """Words that name one of the models A to H."""
    if run.small and data == "cifar10" and letter in PUBLIC:
        model, file = PUBLIC[letter]
        return [f"--model={model}", f"--weights={run.data_dir}/weights/{file}"]
    if run.small and letter == "H":
        letter = "B"
    folder = run.model(f"{data}-{letter.lower()}", paper=f"wang2021/{data}-{letter}-standard")
    return [f"--model={folder}", "--weights=none"]


def several(run: Run, data: str, letters: str) -> list[str]:
    """Words that name several of them."""
    return [w for k in letters for w in (*trained(run, data, k), f"--name={k}")]


def minmax(run: Run, recipe: str, out: str, *words: str) -> dict[str, Any]:
    """A recipe of recipes/minmax, with other words than its own."""
    config = f"--config=recipes/minmax/{recipe}.yaml"
    found: dict[str, Any] = run.hauberk("minmax", config, *words, out=out)
    return found


def lift(found: Mapping[str, Any], metric: str, side: str) -> Cell | str | None:
    """The gain of min-max over the average, in its row."""
    value = found["lift"][metric]
    if side != "minmax":
        return None
    return "–" if value in (None, "inf") else number(100 * float(value), 1)


def ensemble_row(data: str, letters: str, recipe: str) -> Any:
    """The rows of a table of one perturbation against several models."""

    def row(run: Run, name: str) -> Cells:
        if name == "mean lift":
            gains = [row(run, f"{norm} min-max")["lift"] for norm in WEIGHTS]
            values = [gain.value for gain in gains if isinstance(gain, Cell)]
            return {"lift": number(sum(values) / len(values), 1)}
        norm, _, side = name.partition(" ")
        few = run.pick(30, 1000)
        found = minmax(
            run, f"{recipe}-{norm}", f"{recipe}-{norm}", *several(run, data, letters),
            f"--limit={few}",
        )  # fmt: skip
        own, n = found["sides"][SIDES[side]], found["n"]
        cells: dict[str, Cell | str | None] = {k: share(own["accuracy"][k], n) for k in letters}
        return {
            **cells,
            "ASR_all": share(own["asr_all"], n),
            "lift": lift(found, "asr_all", SIDES[side]),
        }

    return row


def table_a2(run: Run, name: str) -> Cells:
    cells: dict[str, Cell | str | None] = {}
    for data, title in (("mnist", "MNIST"), ("cifar10", "CIFAR-10")):
        if name not in ("ABCD" if data == "mnist" or run.small else "ABCDEFGH"):
            continue
        limit = run.pick("--limit=300" if name == "B" else "--limit=1000", "--limit=10000")
        found = run.hauberk(
            "evaluate", *trained(run, data, name)[:1], f"--data={data}:test", "--threat=linf:0.2",
            "--suite=recipes/papers/fgsm.yaml", limit, out=f"fgsm-{data}-{name}",
        )  # fmt: skip
        n = found["n"]
        cells[title] = share(found["clean_accuracy"], n)
        cells[f"{title} FGSM"] = share(found["threats"]["linf:0.2"]["accuracy"], n)
    return cells


def transforms_row(kind: str) -> Any:
    """The rows of Tables A4 and A5."""

    def row(run: Run, name: str) -> Cells:
        letter, _, side = name.partition(" ")
        few = run.pick(10 if letter == "B" else 50, 1000)
        found = minmax(
            run, f"transforms-{kind}", f"{kind}-{letter}", *trained(run, "cifar10", letter),
            f"--name={letter}", f"--limit={few}",
        )  # fmt: skip
        own, n = found["sides"][SIDES[side]], found["n"]
        accuracies = {k.split("/")[-1]: share(v, n) for k, v in own["accuracy"].items()}
        names = [c for c in paper.printed["tables"]["Table A5"]["columns"] if c.islower()]
        parts = dict(zip(names[: len(accuracies)], accuracies.values(), strict=False))
        return {
            **parts,
            "ASR_avg": share(own["asr_avg"], n),
            "ASR_gp": share(own["asr_all"], n),
            "lift": lift(found, "asr_all", SIDES[side]),
        }

    return row


def table_a6(run: Run, name: str) -> Cells:
    small, full, maini = TRAINED[name]
    model = run.model(small, paper=full)
    cells: dict[str, Cell | str | None] = {}
    for title, suite in SUITES.items():
        folder, more = run.folder(f"a6-{name}-{suite}"), []
        if title == "Maini":  # the run of that paper's page
            folder = run.paper.kept.parent / "maini2020" / slug(f"mnist-{maini}")
            more = ["--all-attacks"]
        found = run.hauberk(
            "evaluate", f"--model={model}", "--data=mnist:test",
            *(f"--threat={t}" for t in THREATS),
            f"--suite={run.pick(f'recipes/papers/{suite}.yaml', suite)}", *more,
            f"--limit={run.pick(60, 1000)}", out=folder,
        )  # fmt: skip
        n = found["n"]
        cells["clean"] = share(found["clean_accuracy"], n)
        for threat in THREATS:
            accuracy = found["threats"][threat]["accuracy"]
            cells[f"{title} {threat.partition(':')[0]}"] = share(accuracy, n)
        cells[f"{title} all"] = share(found["union_accuracy"], n)
    return cells


def universal_rows() -> list[str]:
    """Data, model, number of images and side."""
    models = {"MNIST": "ABCD", "CIFAR-10": "BD" if paper.scale == "small" else "BDEH"}
    return [
        f"{data} {k}, K = {size}, {side}"
        for data, letters in models.items() for k in letters for size in GROUPS for side in SIDES
    ]  # fmt: skip


def universal(run: Run, name: str) -> Cells:
    where, size, side = name.split(", ")
    title, letter = where.split(" ")
    data, size = {"MNIST": "mnist", "CIFAR-10": "cifar10"}[title], size.removeprefix("K = ")
    recipe = f"universal-{letter}" if data == "mnist" else f"universal-cifar10-{letter}"
    found = minmax(
        run, recipe, f"{recipe}-{size}", *trained(run, data, letter), f"--name={letter}",
        f"--group={size}", f"--limit={run.pick(20 if letter == 'B' else 100, 1000)}",
    )  # fmt: skip
    own, n = found["sides"][SIDES[side]], found["n"]
    return {
        "ASR_avg": share(own["asr_avg"], n * int(size)),
        "ASR_gp": share(own["asr_group"], n),
        "lift": lift(found, "asr_group", SIDES[side]),
    }


def weigh_images(model: str, data_dir: str, groups: int, budget: int, out: str) -> None:
    """Weights of images that share a perturbation, beside their distances; in a process."""
    from hauberk.analysis import hardness
    from hauberk.data import load_data
    from hauberk.models.loading import load_model
    from hauberk.models.saved import resolve_model

    data = load_data("mnist:test", data_dir)
    spec, weights = resolve_model(model, None)
    found = hardness(
        load_model(spec, weights), data.images, data.labels, groups=groups,
        threats=tuple(WEIGHTS.values()), gamma=4, beta=1 / 50, budget=budget,
    )  # fmt: skip
    rows = {
        norm: [
            (a.rho, a.top, a.groups)
            for a in (found.correlations[t, "eps_linf"], found.correlations[t, "cw_l2"])
        ]
        for norm, t in WEIGHTS.items()
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(rows), encoding="utf-8")


def image_weights(run: Run, name: str) -> Cells:
    file = run.folder("image-weights") / "rows.json"
    with run.paper.lock(str(file)):
        if not file.exists():
            model = run.model("mnist-a", paper="wang2021/mnist-A-standard")
            groups, budget = run.pick((1, 500), (2, 2000))
            run.python(weigh_images, model, run.data_dir, groups, budget, str(file))
    eps, cw = json.loads(file.read_text(encoding="utf-8"))[name]
    return {
        "rank correlation with eps_min": number(eps[0], 2, eps[2]),
        "same hardest (%)": share(eps[1] / eps[2], eps[2]),
        "rank correlation with C&W": number(cw[0], 2, cw[2]),
        "same hardest by C&W (%)": share(cw[1] / cw[2], cw[2]),
    }


def figure_3(run: Run, svg: Path) -> str:
    from hauberk.report.plots.minmax import weight_boxes

    small, full, _ = TRAINED["AMPGD"]
    folder = Path(run.model(small, paper=full))
    with (folder / "history.csv").open(encoding="utf-8", newline="") as stream:
        records = list(csv.DictReader(stream))
    weight_boxes(records, svg)
    means = ", ".join(f"{t} {float(records[-1][f'weight {t}']):.3f}" for t in THREATS)
    return f"Mean weights after the last epoch: {means}. In the paper, too, linf gets the most."


def lines(
    curves: Mapping[str, Sequence[float]], at: Sequence[float], xlabel: str, svg: Path
) -> None:
    """Shares in %, by what was done."""
    from hauberk.report.plots.canvas import one, save, style

    figure, axes = one(5.0, 3.2)
    for place, (name, values) in enumerate(curves.items()):
        colour, line = style(place)
        percent = [100 * value for value in values]
        axes.plot(at, percent, marker="o", color=colour, linestyle=line, label=name)
    axes.set(xlabel=xlabel, ylabel="%", ylim=(-2, 102))
    axes.legend(fontsize=7)
    save(figure, svg)


def figure_a1(run: Run, svg: Path) -> str:
    from hauberk.report.plots.canvas import canvas, save, style

    figure, (panels,) = canvas(1, 2, (4.0, 3.0))
    notes = []
    for axes, (data, sizes) in zip(panels, SIZES.items(), strict=True):
        recipe = "sizes" if data == "mnist" else "sizes-cifar10"
        found = [
            minmax(
                run, recipe, f"{recipe}-{eps}", *several(run, data, "ABC"),
                f"--threat=linf:{eps}", f"--limit={run.pick(15, 1000)}",
            )
            for eps in sizes
        ]  # fmt: skip
        for place, (name, side) in enumerate(SIDES.items()):
            values = [100 * f["sides"][side]["asr_all"] for f in found]
            colour, line = style(place)
            axes.plot(sizes, values, marker="o", color=colour, linestyle=line, label=name)
            notes.append(f"{data} {name} {', '.join(f'{v:.0f}' for v in values)}")
        axes.set(
            title=f"{data}, A, B, C", xlabel="eps (linf)", ylabel="ASR_all (%)", ylim=(-2, 102)
        )
        axes.legend(fontsize=7)
    save(figure, svg)
    return f"n = {found[0]['n']}. ASR_all (%): {'; '.join(notes)}."


def figure_a2(run: Run, svg: Path) -> str:
    found = [
        minmax(
            run, "ensemble-linf", f"gamma-{gamma}", *several(run, "mnist", "ABCD"),
            f"--gamma={gamma}", f"--limit={run.pick(12, 1000)}",
        )
        for gamma in GAMMAS
    ]  # fmt: skip
    sides = [f["sides"]["minmax"] for f in found]
    curves = {"ASR_all": [side["asr_all"] for side in sides]}
    curves |= {f"accuracy of {k}": [side["accuracy"][k] for side in sides] for k in "ABCD"}
    curves["ASR_all of the average"] = [f["sides"]["average"]["asr_all"] for f in found]
    lines(curves, GAMMAS, "gamma", svg)
    best = [
        g for g, v in zip(GAMMAS, curves["ASR_all"], strict=True) if v == max(curves["ASR_all"])
    ]
    return (
        f"n = {found[0]['n']}. ASR_all {', '.join(f'{100 * v:.0f}' for v in curves['ASR_all'])} at "
        f"gamma {', '.join(map(str, GAMMAS))}; most at {', '.join(map(str, best))}, the paper's at "
        "about 4."
    )


SMALL = paper.scale == "small"
CIFAR = """Models trained on 2,500 to 20,000 of the images for a few epochs; B, which costs the
most, on the fewest."""
LARGE = """Public networks stand for three of the four: KWSmall (Wong & Kolter 2018) for E, ResNet20
for F; B, trained here, for H."""
NETWORK = """At the small scale their short forms, recipes/papers/*.yaml: fewer steps and restarts.
A network of 166,406 parameters trained on 6,000 images with few attack steps."""


def note(text: str, small: str = "") -> str:
    """What differs; ``small``: at the small scale only."""
    return f"{text} {small if SMALL else ''}".strip()


ROWS = [f"{norm} {side}" for norm in WEIGHTS for side in SIDES]
paper.table(
    "Table 1", ensemble_row("mnist", "ABCD", "ensemble"), rows=ROWS,
    differs="""Sizes are those of the public code: linf 0.2, l2 3, l1 20, l0 30. Returned is the
visited point of largest value at the best weights, the paper's is the last one; starts are random
points of the ball.""",
)  # fmt: skip
paper.table(
    "Table 3", ensemble_row("cifar10", "ABCD", "ensemble-cifar10-ABCD"),
    differs=note("Sizes are those of the public code: linf 0.05, l2 3, l1 30, l0 50.", CIFAR),
)  # fmt: skip
paper.table(
    "Table A3", ensemble_row("cifar10", "AEFH", "ensemble-cifar10-AEFH"),
    differs=note("Sizes as printed: linf 0.03, l2 1.5, l1 30, l0 70.", LARGE),
)  # fmt: skip
paper.table(
    "Table A2", table_a2, rows=list("ABCD") if SMALL else (),
    differs=note(
        """A point that was wrong stays wrong, whatever the step does. Our gradient of
cross-entropy is in closed form; in plain float32 it vanishes where a model is sure of itself, which
may be why the paper's numbers are higher.""",
        f"{CIFAR} E to H are trained at the paper's scale only.",
    ),
)  # fmt: skip
paper.table(
    "Universal perturbations", universal, rows=universal_rows(),
    differs="""Groups of K images in order; linf 0.2 (A, B), 0.3 (C) and 0.25 (D) on MNIST, 0.02 (B,
H), 0.05 (D) and 0.035 (E) on CIFAR-10, where the paper prints 0.35 for E. n counts groups and
images.""",
)  # fmt: skip
paper.table(
    "Table A4", transforms_row("stochastic"),
    differs=note("Seven random transformations, as in section D.3; the table has five.", CIFAR),
)  # fmt: skip
paper.table("Table A5", transforms_row("deterministic"), differs=note("", CIFAR))
paper.table(
    "Table A6", table_a6,
    differs=note("Maini: suite maini2020; AA: autoattack; AA+: autoattack-plus.", NETWORK),
)  # fmt: skip
paper.table(
    "Tables A7 and A8", image_weights,
    differs="""Groups of five images of one digit, model A; n counts groups. Printed: a summary of
the paper's twenty groups. eps_min is the best of several solvers', the paper's found by PGD at
several eps. [Hardness](../results/hardness.md) looks further.""",
)  # fmt: skip
paper.figure(
    "Figure 3", figure_3,
    differs="Boxes: quartiles of the examples' weights; dots: their means; whiskers of one and "
    "a half boxes at most.",
)  # fmt: skip
paper.figure("Figure A1", figure_a1, differs="The paper's gap is widest at middle sizes.")
paper.figure("Figure A2", figure_a2, differs="The paper has a hump near 4; small gammas waver.")

if __name__ == "__main__":
    raise SystemExit(paper.run())
