"""Every suite, every strategy of training, and what is made of their results."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from adapter import (
    analysis,
    digits,
    metric,
    short_suite,
    solver_class,
    solver_names,
    suite_names,
    suite_passes,
)
from cases_attacks import SIX, THREATS
from cases_small import BALLS, EIGHT, evaluated, minmaxed, radii, trained
from collect import case
from nets import Noisy, conv, perceptron

import hauberk as hb
from hauberk import train
from hauberk.attacks import APGD, PGD, Square

FOUR = range(24, 28)
ALL = "linf:0.1|l2:0.6|l1:2|l0:3|l1.5:0.9|rt:20,1|swaps:20|affine(linf:0.1,l1:2)"

# SUITES -------------------------------------------------------------------------------------------

for _name in suite_names():

    @case(f"suite/{_name}")
    def _(name: str = _name) -> Any:
        balls = hb.threat(BALLS)
        told = evaluated(FOUR, balls, suite=short_suite(name, 15))
        return {"run": told, "passes": suite_passes(name, balls)}


for _name in ("fast", "standard", "gradient-free"):
    for _words in ("linf:0.06", "l2:0.3", "l1:0.9", "l0:2", "l1.5:0.5", "rt:10,1", "swaps:10"):
        case(f"suite-alone/{_name}/{_words}")(
            lambda n=_name, w=_words: evaluated(FOUR, w, suite=short_suite(n, 30))
        )

for _kind in ("measured", "perceptual", "finite", "affine", "affine-rt"):
    for _name in ("fast", "standard"):
        case(f"suite-alone/{_name}/{_kind}")(
            lambda n=_name, t=THREATS[_kind]: evaluated(FOUR, t(), suite=short_suite(n, 20))
        )


@case("evaluate/everything")
def _() -> Any:
    return evaluated(FOUR, ALL, suite=short_suite("standard", 20))


@case("evaluate/conv")
def _() -> Any:
    return evaluated(range(12), BALLS, conv(), suite="standard")


@case("evaluate/batches")
def _() -> Any:
    return evaluated(EIGHT, BALLS, suite="fast", batch_size=3)


@case("evaluate/union-only-standard")
def _() -> Any:
    return evaluated(FOUR, BALLS, suite=short_suite("standard", 20), union_only=True)


@case("evaluate/all-attacks-standard")
def _() -> Any:
    return evaluated(FOUR, BALLS, suite=short_suite("standard", 10), all_attacks=True)


@case("evaluate/stochastic")
def _() -> Any:
    return evaluated(FOUR, BALLS, Noisy(perceptron()), suite=short_suite("standard", 6))


@case("evaluate/float32")
def _() -> Any:
    x, y = digits("test", EIGHT, torch.float32)
    found = hb.evaluate(perceptron(torch.float32), x, y, hb.threat(BALLS), suite="fast")
    names = found.accuracy
    return {
        "robust": {t: found.robust(t) for t in names},
        "at": {t: found.points(t) for t in names},
    }


@case("evaluate/verified")
def _() -> Any:
    x, y = digits("test", EIGHT)
    with TemporaryDirectory() as folder:
        run, more = Path(folder) / "run", Path(folder) / "radii"
        hb.evaluate(perceptron(), x, y, hb.threat(BALLS), suite="fast", out=run)
        hb.radius(perceptron(), x, y, "l2", budget=60, out=more)
        told = [hb.verify(run, perceptron()), hb.verify(run, conv()), hb.verify(more, perceptron())]
    return [[v.points, v.confirmed, len(v.refuted), len(v.unsettled), v.finished] for v in told]


# RADII --------------------------------------------------------------------------------------------

for _name in solver_names():
    for _metric in ("linf", "l2", "l1", "l0", "l1.5"):
        case(f"radii/{_name}/{_metric}")(
            lambda n=_name, m=_metric: radii(m, FOUR, solver=n, budget=400)
        )


@case("radii/union")
def _() -> Any:
    return radii([hb.threat(BALLS), "l1.5"], EIGHT, budget=300, soften=0.2)


@case("radii/perceptual")
def _() -> Any:
    asked = hb.Perceptual(hb.threats.layers(perceptron(), ["first"]))
    return radii(asked, FOUR, budget=200)


# MIN-MAX ------------------------------------------------------------------------------------------

MINMAX: dict[str, Any] = {
    "default-attack": {"attack": None},
    "gamma": {"gamma": 0.0, "beta": 0.1},
    "gradient": {"attack": PGD(loss="cw", steps=6, rule="gradient", step_size=0.1)},
    "to-the-end": {"stop": False},
    "square": {"attack": Square(loss="cw", steps=10)},
    "targets": {"attack": APGD(loss="ce", steps=5, targets=2)},
}
for _name, _given in MINMAX.items():
    for _words in ("linf:0.1", "l1:2", "rt:20,1"):
        case(f"minmax-models/{_name}/{_words}")(
            lambda g=_given, w=_words: minmaxed({"a": conv(), "b": perceptron()}, w, FOUR, **g)
        )


class Dimmed(hb.Domain):
    """A domain of one's own."""

    def inputs(self, x: Any, draws: Any, number: Any) -> Any:
        return 0.8 * x


@case("minmax/own-domain")
def _() -> Any:
    return minmaxed({"a": conv(), "b": perceptron()}, "l2:0.6", FOUR, domains=[Dimmed()])


@case("minmax/stochastic-set")
def _() -> Any:
    several = hb.transforms.wang2021("stochastic")
    return minmaxed(conv(), "linf:0.06", FOUR, transforms=several, judge_draws=4)


@case("minmax/words")
def _() -> Any:
    words = ("flh", "flv", "gam:1.3", "crop:0.8", "jpeg:75", "flh+rot:30", "bri:0.1")
    several = [hb.transforms.transform(word) for word in words]
    return minmaxed(conv(), "linf:0.06", FOUR, transforms=several)


@case("minmax/groups-of-models")
def _() -> Any:
    return minmaxed({"a": conv(), "b": perceptron()}, "l1:3", EIGHT, group=2)


@case("minmax/msd")
def _() -> Any:
    attack = hb.attacks.MultiSteepestDescent(loss="cw", steps=6, k=(2, 5))
    models = {"a": conv(), "b": perceptron()}
    return minmaxed(models, hb.threat(BALLS), FOUR, attack=attack)


for _words in ("linf:0.15", "l2:1.5", "l1:5"):

    @case(f"universal/{_words}")
    def _(words: str = _words) -> Any:
        x, y = digits("test", range(24))
        models = [conv(), perceptron()]
        plain = hb.universal(models[0], x, y, words, epochs=2, minibatch=8)
        both = hb.universal(
            models[0], x, y, words, epochs=1, minibatch=8, objective=hb.MinMax(models)
        )
        return [[u.delta, u.losses, u.forwards, u.backwards] for u in (plain, both)]


# TRAINING -----------------------------------------------------------------------------------------

THREE = hb.threat(BALLS)
SEEING = PGD(steps=2)
STRATEGIES: dict[str, Any] = {
    "standard": train.Standard,
    "single": lambda: train.Single(hb.Linf(0.1), attack=SEEING),
    "single-usual-l1": lambda: train.Single(hb.L1(2.0), steps=3, soften=0.2),
    "single-rt": lambda: train.Single(hb.RotationTranslation(10, 1)),
    "pgdls": lambda: train.PGDLS(hb.L2(0.6), steps=2),
    "avg": lambda: train.AVG(THREE, steps=2, clean=0.3),
    "max": lambda: train.MAX(THREE, steps=2),
    "max-kinds": lambda: train.MAX(THREE, attacks={"linf": APGD(loss="ce", steps=3)}, steps=2),
    "msd": lambda: train.MSD(THREE, steps=3, ranking="first_order", k=(2, 5), grow=0.5),
    "ampgd": lambda: train.AMPGD(THREE, steps=3, gamma=1.0, random_start=False),
    "mma": lambda: train.MMA(hb.L2(0.6), steps=3, bisections=3),
    "mma-linf": lambda: train.MMA(hb.Linf(0.1), steps=3, bisections=3, objective="minimum"),
    "mma-ddn": lambda: train.MMA(hb.L2(0.6), solver=solver_class("DDN")(steps=3, eps=0.15)),
    "omma": lambda: train.OMMA(hb.L1(2.0), steps=3, bisections=3),
    "trades": lambda: train.TRADES(hb.Linf(0.1), attack=SEEING),
    "trades-usual": lambda: train.TRADES(hb.L2(0.6), beta=1.0, grow=0.5),
    "random-norm": lambda: train.RandomNorm(THREE, steps=2),
    "random-norm-example": lambda: train.RandomNorm(THREE, steps=2, per="example"),
    "eat": lambda: train.EAT(THREE, steps=2),
    "ramp": lambda: train.RAMP(THREE, steps=2),
}
for _name, _strategy in STRATEGIES.items():
    case(f"training/{_name}")(lambda s=_strategy: trained(s(), range(20)))

WAYS: dict[str, Any] = {
    "sgd": {"optimiser": "sgd", "momentum": 0.8, "nesterov": True, "weight_decay": 1e-3},
    "schedule": {"schedule": [(0.0, 1e-3), (1.0, 1e-2), (2.0, 0.0)], "seed": 3},
    "steps": {"schedule": ("steps", [(1, 0.1), (3, 0.01)])},
    "natural": {"natural": 0.5},
    "augmented": {"augment": ("pad-crop:1", "flip")},
    "train-mode": {"attack_mode": "train", "norm": True},
    "validated-clean": {"validation": 6, "select": "clean"},
    "validated-margin": {"validation": 6, "select": "margin", "validate_steps": 3, "patience": 1},
    "ema": {"ema": 0.8, "validation": 6, "validate_steps": 3},
}
for _name, _given in WAYS.items():
    case(f"training-way/{_name}")(
        lambda g=_given: trained(train.MAX(THREE, attacks=SEEING), range(20), **g)
    )

# LOOKED AT ----------------------------------------------------------------------------------------


@case("analysis/patterns")
def _() -> Any:
    x, y = digits("test", range(12))
    runs = analysis().attack_runs({"apgd": APGD(steps=6)}, ["linf:0.2", "l1:4"], ["ce", "margin"])

    def fmn(norm: str) -> Any:
        solver = solver_class("FMN")(steps=15)
        return lambda model, x, y: solver(model, x, y, metric(norm)).points

    runs += analysis().radius_runs([(f"fmn {m}", fmn(m)) for m in ("linf", "l1")])
    study = analysis().patterns(conv(), x, y, runs, bins=10)
    return {"told": study.to_dict(), "deltas": study.deltas}


@case("analysis/curves")
def _() -> Any:
    x, y = digits("test", range(12))
    found = {
        name: hb.radius(model, x, y, "l2", budget=60)
        for name, model in (("a", conv()), ("b", perceptron()))
    }
    one, other = found["a"], found["b"]
    return {"curves": [one.curve(), other.curve()], "area": [one.area(1.0), other.area(1.0)]}


@case("analysis/hardness")
def _() -> Any:
    x, y = digits("test", range(60))
    found = analysis().hardness(
        perceptron(), x, y, group=2, groups=1, classes=(0, 1, 2), threats=("linf:0.1", "l2:0.6"),
        attack=PGD(loss="cw", steps=5), budget=90,
    )  # fmt: skip
    names = ("index", "labels", "weights", "cw_l2", "eps_linf", "correct", "fooled")
    return {n: getattr(found, n) for n in names}


@case("analysis/sizes")
def _() -> Any:
    x, y = digits("test", SIX)
    delta = APGD(steps=5)(conv(), x, y, hb.L1(2.0)).points - x
    return {
        "sparsity": analysis().soft_sparsity(delta),
        "sizes": analysis().magnitudes(delta, bins=8),
    }
