"""The page of Tramèr & Boneh 2019, "Adversarial Training ... for Multiple Perturbations".

python recipes/papers/tramer2019.py --data-dir DIR --scale small|paper
"""

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import Cell, Cells, Paper, Run, number, share, work

RT = "rt:30,3"
EPS = {
    "mnist": {"linf": "linf:0.3", "l1": "l1:10", "l2": "l2:2", "RT": RT},
    "cifar10": {"linf": "linf:4/255", "l1": "l1:2000/255", "RT": RT},
}
SETS = {  # the threats of each table
    "mnist": {"lp": ("linf", "l1", "l2"), "RT": ("linf", "RT")},
    "cifar10": {"lp": ("linf", "l1"), "RT": ("linf", "RT")},
}
RECIPES = {  # by row and kind of threats: the end of the recipe's name
    "Nat": "standard", "Adv_inf": "linf-single", "Adv_1": "l1-single", "Adv_2": "l2-single",
    "Adv_RT": "rt-single", "lp Adv_avg": "union-avg", "lp Adv_max": "union-max",
    "RT Adv_avg": "linf-rt-avg", "RT Adv_max": "linf-rt-max",
}  # fmt: skip
SMALL = {
    "standard": "std", "linf-single": "linf", "l1-single": "l1", "l2-single": "l2",
    "rt-single": "rt", "union-avg": "avg", "union-max": "max", "linf-rt-avg": "linf-rt-avg",
    "linf-rt-max": "linf-rt-max",
}  # fmt: skip
SINGLE = {
    ("mnist", "lp"): ("Adv_inf", "Adv_1", "Adv_2"), ("mnist", "RT"): ("Adv_inf", "Adv_RT"),
    ("cifar10", "lp"): ("Adv_inf", "Adv_1"), ("cifar10", "RT"): ("Adv_inf", "Adv_RT"),
}  # fmt: skip
STAGES = {  # columns of tables 4 and 5
    "l1 PGD": ("l1", "sparse-l1"), "l1 EAD": ("l1", "ead"), "l1 PA": ("l1", "pointwise"),
    "l2 PGD": ("l2", "pgd"), "l2 C&W": ("l2", "cw"), "l2 BA": ("l2", "boundary"),
}  # fmt: skip
PUBLIC = "hauberk.models:kwsmall_mnist", "mnist_kwsmall_pgd_linf.npz"
"""A public network of linf 0.3 (fast_adversarial, PGD), whose weights lie in DIR/weights."""
OTHER = "public Adv_inf"
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}

paper = Paper.from_command_line(
    "tramer2019",
    about="""
Training against several threats by MAX and AVG, sparse l1 descent, mixtures of threats, and what
resisting several threats costs. *union*: 1 - R_adv^max, *average*: 1 - R_adv^avg; OPT: what one
model could have if resisting several threats cost nothing, from the models for one threat
(`hauberk price`).
""",
)


def model(run: Run, data: str, kind: str, row: str) -> str:
    """The model of a row, for ``--model``."""
    recipe = RECIPES.get(row) or RECIPES[f"{kind} {row}"]
    small = f"mnist-{SMALL[recipe]}" if data == "mnist" else f"tramer-cifar10-{SMALL[recipe]}"
    return run.model(small, paper=f"tramer2019/{data}-{recipe}")


def named(run: Run, data: str, kind: str, row: str) -> list[str]:
    """The words for a row's model; Adv_inf may be the public one."""
    if row != OTHER:
        return [f"--model={model(run, data, kind, row)}", "--weights=none"]
    return [f"--model={PUBLIC[0]}", f"--weights={run.data_dir}/weights/{PUBLIC[1]}"]


def suite(run: Run, data: str) -> str:
    """The attacks."""
    full = "tramer2019" if data == "mnist" else "tramer2019-cifar10"
    return f"--suite={run.pick('recipes/papers/small/tramer2019.yaml', full)}"


def folder_of(data: str, kind: str, row: str) -> str:
    """Where the evaluation of a row is kept."""
    return f"{data}-{kind}-{row}".replace("_", "-").lower()


def evaluated(run: Run, data: str, kind: str, row: str) -> dict[str, Any]:
    """The evaluation of a row: every attack on every point in lp, for tables 4 and 5."""
    words = [f"--threat={EPS[data][name]}" for name in SETS[data][kind]]
    words += ["--all-attacks"] if kind == "lp" else []
    own = [word for word in named(run, data, kind, row) if word != "--weights=none"]
    found: dict[str, Any] = run.hauberk(
        "evaluate", *own, f"--data={data}:test", *words, suite(run, data),
        f"--limit={run.pick(100, 1000)}", out=folder_of(data, kind, row),
    )  # fmt: skip
    return found


def priced(run: Run, data: str, kind: str, show: bool = True) -> dict[str, Any]:
    """The price of the rows of a table, from their evaluations."""
    from hauberk.analysis import price_of

    name = f"Table {1 if data == 'mnist' else 2}, {kind}"
    rows = [row for row in paper.printed["tables"][name]["rows"] if row not in ("OPT", "Nat")]
    for row in rows:
        evaluated(run, data, kind, row)
    run.commands.clear()
    alone = [run.folder(folder_of(data, kind, row)) for row in SINGLE[data, kind]]
    several = [
        run.folder(folder_of(data, kind, row)) for row in rows if row.endswith(("avg", "max"))
    ]
    if show:
        words = " ".join([*map(str, several), *(f"--single={folder}" for folder in alone)])
        run.commands.append(f"hauberk price {words}")
    return price_of(several, alone).to_dict()


def accuracies(data: str, kind: str) -> Any:
    """The rows of tables 1 and 2."""

    def row(run: Run, name: str) -> Cells:
        if name == "OPT":
            found = priced(run, data, kind)
            n = next(iter(found["runs"].values()))["n"]
            least, mean = found["optimum_union"], found["optimum_average"]
            return {"union": share(least, n), "average": number(100 * mean, 1, n)}
        found = evaluated(run, data, kind, name)
        return cells_of(found, {EPS[data][k]: k for k in SETS[data][kind]})

    return row


def cells_of(found: Mapping[str, Any], names: Mapping[str, str]) -> Cells:
    """Clean, under each threat, union and average."""
    n = found["n"]
    cells: dict[str, Cell | str | None] = {"clean": share(found["clean_accuracy"], n)}
    for threat, name in names.items():
        cells[name] = share(under(found, threat)["accuracy"], n)
    cells["union"] = share(found["union_accuracy"], n)
    cells["average"] = number(100 * found["average_accuracy"], 1, n)
    return cells


def under(found: Mapping[str, Any], notation: str) -> Any:
    """What a summary has of a threat, however its size is written there."""
    from hauberk import threat

    return next(own for name, own in found["threats"].items() if threat(name) == threat(notation))


def breakdown(data: str) -> Any:
    """The rows of tables 4 and 5: every attack alone."""

    def row(run: Run, name: str) -> Cells:
        found = evaluated(run, data, "lp", name)
        n = found["n"]
        linf = under(found, EPS[data]["linf"])["accuracy"]
        cells: dict[str, Cell | str | None] = {"linf": share(linf, n)}
        for column, (kind, stage) in STAGES.items():
            if kind in EPS[data]:
                own = under(found, EPS[data][kind])
                broke = own["attacks"][stage]["broke_alone"] / n
                cells[column] = share(found["clean_accuracy"] - broke, n)
                cells[f"all {kind}"] = share(own["accuracy"], n)
        return cells

    return row


MIXED = {
    "MNIST linf & RT": ("mnist", "RT", "RT"), "CIFAR-10 linf & RT": ("cifar10", "RT", "RT"),
    "CIFAR-10 linf & l1": ("cifar10", "lp", "l1"),
}  # fmt: skip


def mixtures(run: Run, name: str) -> Cells:
    """Table 3: on the union of two threats, and on their mixture as well, which contains both."""
    data, kind, other = MIXED[name]
    one = evaluated(run, data, kind, "Adv_max")
    threats = [EPS[data]["linf"], EPS[data][other]]
    mixture = f"affine({threats[1]},{threats[0]})"
    found = run.hauberk(
        "evaluate", f"--model={model(run, data, kind, 'Adv_max')}", f"--data={data}:test",
        *(f"--threat={t}" for t in (*threats, mixture)), "--union-only", suite(run, data),
        f"--limit={run.pick(100, 1000)}", out=f"mixture {name}",
    )  # fmt: skip
    n = found["n"]
    return {"union": share(one["union_accuracy"], n), "affine": share(found["union_accuracy"], n)}


ROUTED = """\
detector: hauberk.models:PaddingDetector
detected: {rt}
other: {linf}
"""


def detector(run: Run, name: str) -> Cells:
    """Section 4: a detector of black padding, Adv_RT where it fires, Adv_inf elsewhere."""
    models = {
        role: Path(model(run, "cifar10", "RT", row)).resolve()
        for role, row in (("rt", "Adv_RT"), ("linf", "Adv_inf"))
    }
    folder = run.folder("routed")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "routed.yaml"
    file.write_text(ROUTED.format(**models), encoding="utf-8")
    found = run.hauberk(
        "evaluate", f"--model={file}", "--data=cifar10:test", "--threat=linf:4/255",
        f"--threat={RT}", suite(run, "cifar10"), f"--limit={run.pick(100, 1000)}",
        out="routed-run",
    )  # fmt: skip
    return cells_of(found, {EPS["cifar10"][k]: k for k in ("linf", "RT")})


def training(run: Run, name: str) -> Cells:
    """Accuracy on training examples, under the union of linf and l1."""
    few = run.pick(100, 1000)
    out = f"training {name}"
    run.hauberk(
        "evaluate", f"--model={model(run, 'cifar10', 'lp', name)}", "--data=cifar10:test",
        "--gap=cifar10:train", "--threat=linf:4/255", "--threat=l1:2000/255", "--union-only",
        suite(run, "cifar10"), f"--limit={few}", out=out,
    )  # fmt: skip
    gap = json.loads((run.folder(out) / "gap.json").read_text(encoding="utf-8"))["union"]
    return {
        "training": share(gap["train"], few),
        "test": share(gap["test"], few),
        "gap": Cell(100 * gap["gap"], *(100 * end for end in gap["interval"]), few),
    }


def theory(run: Run, name: str) -> Cells:
    """The theorems' numbers on the toy distribution."""
    return {"here": number(100 * run.python(toy_number, name), 1)}


def toy_number(name: str) -> float:
    """One of them, in a process."""
    import torch

    from hauberk.data import toy

    if name.startswith("Remark"):
        found = toy.remark10(samples=50_000)
        return {"sign(x_0)": found.strong, "sign(sum": found.weak}.get(
            next((k for k in ("sign(x_0)", "sign(sum") if k in name), ""), found.lower_bound
        )
    eleven = name.startswith("Theorem 11")
    made = toy.Toy(p0=0.5 * (1 + torch.erf(torch.tensor(2**0.5)).item()) if eleven else 0.9)
    x, label = made.sample(50_000, seed=1)
    if not eleven:  # any classifier will do: an untrained network
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(201, 50), torch.nn.ReLU(), torch.nn.Linear(50, 2))
        weak = toy.reverse_weak(made, x, label)
        with torch.no_grad():
            right = [
                (net(z).argmax(1) == label).double().mean() for z in (weak, toy.reverse_strong(x))
            ]
        return float(sum(right))

    def decide(z: Any) -> Any:
        return (3 * z[:, 0].sign() + 2 / made.d**0.5 * z[:, 1:].sum(1) > 0).long()

    if "mixture" in name:
        return float((decide(toy.erase(made, x, label)) == label).double().mean())
    y = toy.sign_of(label, x).flatten()
    # Each threat's best: linf moves all weak features by 3 / sqrt(d); l1 turns x_0, or one of them.
    weak = toy.reverse_weak(made, x, label, times=1.5)
    strong = x.clone()
    strong[:, 0] = -1e-6 * y
    rest = 3 - (x[:, 0] - strong[:, 0]).abs()
    strong[:, 1] -= y * rest.clamp_min(0)
    pulled = x.clone()
    pulled[:, 1] -= 3 * y
    wrong = [decide(z) != label for z in (x, weak, strong, pulled)]
    return float(torch.stack(wrong).any(0).double().mean())


def draw(words: list[str]) -> None:
    """A command that draws, with its texts as texts, which makes a small file; in a process."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        work(words)


def drawn(run: Run, svg: Path, command: str, *words: str, data: bool = True) -> dict[str, Any]:
    """A command that draws one picture; returns the numbers that it leaves beside it."""
    made = run.folder(f"{command}-{svg.stem}") / svg.name
    made.parent.mkdir(parents=True, exist_ok=True)
    argv = [command, *words, *([f"--data-dir={run.data_dir}"] if data else []), f"--out={made}"]
    run.commands.append(" ".join(["hauberk", *argv]).replace(run.data_dir, "DIR"))
    run.python(draw, argv)
    small(made, svg)
    found: dict[str, Any] = json.loads(made.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def small(made: Path, svg: Path) -> None:
    """A picture with coordinates of two digits, and images of 48 colours."""
    text = made.read_text(encoding="utf-8")
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)
    text = re.sub(r"(?<=data:image/png;base64,)[\sA-Za-z0-9+/=]+", fewer_colours, text)
    svg.write_text(text, encoding="utf-8")


def fewer_colours(found: re.Match[str]) -> str:
    """An image, in base64."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(found[0])))
    made = io.BytesIO()
    image.convert("RGB").quantize(48).save(made, "png", optimize=True)
    return base64.b64encode(made.getvalue()).decode()


def figure_1(run: Run, svg: Path) -> str:
    """Four sets of threats in one picture."""
    from hauberk.report.plots import price as plots

    found, commands = {}, []
    for data, kinds in SETS.items():
        for kind in kinds:
            own = priced(run, data, kind)
            commands += run.commands
            single = own["single"]
            own["price"] = {
                k: v for k, v in own["price"].items() if k.endswith("max") or k in single
            }
            names = {k: "Adv_max" if k.endswith("max") else k for k in own["price"]}
            own["price"] = {names[k]: v for k, v in own["price"].items()}
            own["runs"] |= {names[k]: own["runs"][k] for k in names}
            found[f"{TITLES[data]}, {kind}"] = own
    run.commands[:] = commands
    plots.panels(found, svg)
    small(svg, svg)
    lines = [
        f"{title}: {100 * own['price']['Adv_max']['union']:.1f} on the union, "
        f"{100 * own['price']['Adv_max']['average']:.1f} on average"
        for title, own in found.items()
    ]
    return "What Adv_max pays, in points: " + "; ".join(lines) + "."


def figure_2(data: str) -> Any:
    """Loss against steps."""

    def figure(run: Run, svg: Path) -> str:
        steps = run.pick(100, 1000)
        found = drawn(
            run, svg, "trace", f"--model={model(run, data, 'lp', 'Adv_1')}",
            f"--data={data}:test", f"--limit={run.pick(20, 100)}", f"--threat={EPS[data]['l1']}",
            "--attack=SparseL1Descent", f"--set=steps={steps}", "--vary=q=0.8,0.9,0.95,0.99,none",
        )  # fmt: skip
        ((_, curves),) = found["models"].items()
        last = {c["name"]: c["best"]["mean"][-1] for c in curves}
        lines = ", ".join(f"{name} {value:.3f}" for name, value in last.items())
        return f"Largest mean loss after {steps} steps: {lines}."

    return figure


def figure_3(run: Run, svg: Path) -> str:
    """The planes of one network: at the small scale the public one, which has thresholds."""
    words = named(run, "mnist", "lp", run.pick(OTHER, "Adv_inf"))
    found = drawn(
        run, svg, "landscape", *words, "--data=mnist:test", f"--limit={run.pick(20, 200)}",
        "--threat=l1:10", "--threat=l2:2", f"--points={run.pick(15, 41)}",
    )["panels"]  # fmt: skip
    jumps = {plane["threat"]: plane["jump"]["ce"] for plane in found}
    lines = [
        f"{threat} {jump['gradient']:.2f} towards the gradient's point, {jump['free']:.2f} towards "
        "the other"
        for threat, jump in jumps.items()
    ]
    return f"Largest change between neighbours, as a share of all: {'; '.join(lines)}."


def figure_4(data: str, kind: str, other: str) -> Any:
    """Mixtures of two threats, from one pure threat to the other."""

    def figure(run: Run, svg: Path) -> str:
        drawn(
            run, svg, "gallery", f"--model={model(run, data, kind, 'Adv_max')}",
            f"--data={data}:test", f"--limit={run.pick(20, 100)}",
            f"--threat=affine({EPS[data][other]},{EPS[data]['linf']})", "--show=2",
        )  # fmt: skip
        return ""

    return figure


def thresholds(run: Run, svg: Path) -> str:
    """The first layers of three networks, as pictures and as thresholds."""
    rows = ("Nat", "Adv_inf", OTHER)
    words = [w for row in rows for w in named(run, "mnist", "lp", row)]
    names = [f"--name={row}" for row in rows]
    found = drawn(run, svg, "filters", *words, *names, data=False)["models"]
    lines = []
    for name, own in found.items():
        known = ", ".join(f"ReLU({t['a']:.2f} (x - {t['t']:.2f}))" for t in own["thresholds"])
        lines.append(f"{name}: {len(own['thresholds'])} filters of one weight {known}".strip())
    return ". ".join(lines) + "."


NETS = """Small convolutional networks (kwsmall), 6,000 images of MNIST and 5,000 of CIFAR-10,
attacks of 8 to 12 steps in training; the evaluation has the paper's attacks with fewer steps and
restarts. """
for data, table in (("mnist", 1), ("cifar10", 2)):
    for kind in SETS[data]:
        note = NETS if paper.scale == "small" else ""
        derived = {("mnist", "lp"), ("cifar10", "RT")}
        if (data, kind) in derived:
            note += "OPT is not printed here: it follows from the printed rows."
        paper.table(f"Table {table}, {kind}", accuracies(data, kind), differs=note)
paper.figure("Figure 1", figure_1)
paper.table(
    "Table 3",
    mixtures,
    differs="Five shares beta at each input; how the paper chooses them, and how many warps are "
    "drawn, is not printed. *affine* counts the attacks on both threats alone as well.",
)
paper.table(
    "Table 4",
    breakdown("mnist"),
    rows=[*paper.printed["tables"]["Table 4"]["rows"], OTHER],
    differs="*public Adv_inf*: kwsmall_mnist with the public weights of fast_adversarial (PGD, "
    "linf 0.3): in l1 the first-order attacks do less than the one without gradients, as printed "
    "for Adv_inf. The small networks of this page learn no thresholds in so short a training.",
)
paper.table("Table 5", breakdown("cifar10"))
paper.table(
    "Detector with two models",
    detector,
    differs="The paper names the construction and no numbers: those printed are what it says of "
    "it, Adv_inf in linf, Adv_RT under RT.",
)
paper.table(
    "Training accuracy",
    training,
    differs="A network that has the size and the time to fit its training examples is needed to "
    "see the gap: those of the small scale have neither.",
)
paper.table(
    "Theory",
    theory,
    differs="The classifier of Theorem 11 has a union risk above the printed bound at d = 200, and "
    "below it from d of about 1,000 on: an l1 adversary that spends what is left of its budget, "
    "after turning the sign of x_0, on the sum does better than the one of the proof.",
)
paper.figure(
    "Figure 2, MNIST", figure_2("mnist"), differs="The model is not named in the paper: Adv_1 here."
)
paper.figure("Figure 2, CIFAR-10", figure_2("cifar10"))
paper.figure(
    "Figure 3",
    figure_3,
    differs="Sparse l1 descent against Pointwise in l1, PGD against Boundary in l2; the first "
    "example that only the attack without gradients breaks. Of *public Adv_inf* (see Table 4): a "
    "change of 1 is a step.",
)
paper.figure("Figure 4, MNIST", figure_4("mnist", "RT", "RT"))
paper.figure("Figure 4, CIFAR-10", figure_4("cifar10", "lp", "l1"))
paper.figure(
    "Threshold filters",
    thresholds,
    differs="The paper finds three in the public model of Madry et al.: ReLU(0.6 (x - 0.3)), "
    "ReLU(1.34 (x - 0.3)) and ReLU(0.86 (x - 0.7)).",
)

if __name__ == "__main__":
    raise SystemExit(paper.run())
