"""Every attack in every kind of threat, every solver in every metric, every kind of objective."""

from dataclasses import replace
from typing import Any

import torch
from adapter import (
    as_attack,
    averaged,
    digits,
    exact_radius,
    expectation,
    mean_models,
    metric,
    solver_class,
    transferred,
    unbounded,
    vote,
    vote_loss,
)
from cases_small import smooth
from collect import case, tried
from nets import Noisy, Untrained, conv, perceptron
from torch import Tensor

import hauberk as hb
from hauberk import attacks as A

SIX = (20, 21, 22, 23, 24, 27)
"""Test digits of which the perceptron gets the last one wrong."""


def flipped(x: Tensor) -> Tensor:
    return x.flip(-1)


def brighter(x: Tensor) -> Tensor:
    return (x + 0.15).clamp(max=1)


def lifted(x: Tensor) -> Tensor:
    return x.roll(1, -2)


THREATS: dict[str, Any] = {
    "linf": lambda: hb.Linf(0.1),
    "l2": lambda: hb.L2(0.6),
    "l1": lambda: hb.L1(2.0),
    "l0": lambda: hb.L0(3),
    "l1.5": lambda: hb.Lp(1.5, 0.9),
    "rt": lambda: hb.RotationTranslation(20, 1),
    "affine": lambda: hb.threat("affine(linf:0.1,l1:2)"),
    "affine-rt": lambda: hb.Affine(hb.RotationTranslation(10, 1), hb.L2(0.4), betas=3),
    "swaps": lambda: hb.threat("swaps:20"),
    "finite": lambda: hb.FiniteSet([flipped, brighter, lifted], name="own"),
    "measured": lambda: hb.Measured(smooth, eps=1.2, name="smooth"),
    "perceptual": lambda: hb.Perceptual(hb.threats.layers(perceptron(), ["first"]), eps=0.4),
    "union": lambda: hb.threat("linf:0.1|l2:0.6|l1:2"),
}

ATTACKS: dict[str, Any] = {
    "apgd": A.APGD(steps=12),
    "apgd-ce": A.APGD(steps=9, loss="ce", restarts=2),
    "apgd-dlr-targets": A.APGD(steps=6, loss="dlr", targets=2, restarts=2),
    "apgd-cw-soft": A.APGD(steps=6, loss="cw", soften=0.3, enlarge=(4, 2, 1)),
    "boundary": A.Boundary(steps=6, trials=8),
    "fast-lpa": A.FastLPA(steps=6),
    "fgsm": A.FGSM(),
    "grid": A.Grid(counts=(5, 3, 3), chunk=7),
    "hopskipjump": A.HopSkipJump(steps=14, first=20, trials=8),
    "lpa": A.LPA(steps=10, restarts=2),
    "mim": A.MomentumIterative(steps=5),
    "mim-restarts": A.MomentumIterative(steps=4, random_start=True, restarts=2, targets=2),
    "msd": A.MultiSteepestDescent(steps=6, restarts=2, k=(2, 5)),
    "msd-first-order": A.MultiSteepestDescent(
        steps=6, ranking="first_order", zero_start=False, k=(2, 5)
    ),
    "noise": A.Noise(steps=3, restarts=2),
    "noise-uniform": A.Noise(steps=3, noise="uniform", sizes=4),
    "noise-salt": A.Noise(steps=3, noise="salt_and_pepper"),
    "pgd": A.PGD(steps=6, restarts=2),
    "pgd-gradient": A.PGD(steps=6, rule="gradient", step_size=0.1, random_start=False),
    "pgd-momentum-targets": A.PGD(steps=5, momentum=0.8, targets=2, loss="margin"),
    "pgd-share": A.PGD(steps=5, share=(0.01, 0.2), step_share=0.1, restarts=2),
    "pgd-soft": A.PGD(steps=4, soften=0.2, loss="soft_margin"),
    "pointwise": A.Pointwise(steps=12, trials=6),
    "pointwise-restarts": A.Pointwise(steps=8, trials=6, restarts=2, hop=False),
    "ppgd": A.PPGD(steps=5),
    "pwcf": A.PWCF(steps=15),
    "random": A.RandomSearch(samples=8, restarts=2),
    "sparse-l1": A.SparseL1Descent(steps=6),
    "sparse-l1-random": A.SparseL1Descent(steps=5, random_start=True, restarts=2),
    "spsa": A.SPSA(steps=3, samples=16, chunk=8),
    "square": A.Square(steps=25),
    "square-blind": A.Square(steps=12, blind=True, restarts=2, loss="ce"),
    "unbounded": unbounded(),
}


def warm_starts(x: Tensor) -> dict[str, Tensor]:
    """Points near the inputs, one or two for an example."""
    waves = torch.sin(torch.arange(2 * x.numel(), dtype=x.dtype)).view(len(x), 2, *x.shape[1:])
    warm = (x.unsqueeze(1) + 0.3 * waves).clamp(0, 1)
    has = torch.arange(2 * len(x)).view(-1, 2) % 3 > 0
    return {"warm": warm, "has_warm": has}


def everyway(attack: Any, threat: Any) -> dict[str, Any]:
    """One attack until it succeeds, to its end, and from warm starts."""
    x, y = digits("test", SIX)
    ids = torch.tensor([5, 3, 8, 13, 1, 2])
    model, made = perceptron(), threat()
    again = attack
    if hasattr(attack, "restarts"):
        again = replace(attack, restarts=max(2, attack.restarts))
    return {
        "stop": tried(lambda: attack(model, x, y, made)),
        "on": tried(lambda: attack(model, x, y, made, stop=False, seed=4, ids=ids)),
        "warm": tried(lambda: again(model, x, y, made, stop=False, **warm_starts(x))),
    }


for _name, _attack in ATTACKS.items():
    for _kind, _threat in THREATS.items():
        case(f"attack/{_name}/{_kind}")(lambda a=_attack, t=_threat: everyway(a, t))

SOME = ("apgd", "apgd-dlr-targets", "boundary", "msd", "pgd", "pointwise", "square")
OTHERWISE: dict[str, Any] = {
    "float32": {"dtype": torch.float32},
    "batches": {"batch_size": 4},
    "wide-box": {"box": (-0.5, 1.5)},
    "edges": {"box": (torch.zeros(1, 1, 8), torch.linspace(1, 2, 8).view(1, 1, 8))},
}


def otherwise(attack: Any, threat: Any, model: Any, **options: Any) -> Any:
    """One attack with other numbers, other batches, another box."""
    dtype = options.pop("dtype", torch.float64)
    x, y = digits("test", SIX, dtype)
    return attack(model(dtype), x, y, threat(), **options)


for _name in SOME:
    for _kind in ("linf", "l2", "l1"):
        for _way, _given in OTHERWISE.items():
            case(f"attack-otherwise/{_name}/{_kind}/{_way}")(
                lambda a=ATTACKS[_name], t=THREATS[_kind], g=_given: {
                    "conv": tried(lambda: otherwise(a, t, conv, **g)),
                    "perceptron": tried(lambda: otherwise(a, t, perceptron, **g)),
                }
            )

# SOLVERS ------------------------------------------------------------------------------------------

METRICS = ("linf", "l2", "l1", "l0", "l1.5")
SOLVERS: dict[str, dict[str, Any]] = {
    "FMN": {"steps": 20},
    "FAB": {"steps": 5, "targets": 3, "restarts": 2, "near": 0.1},
    "PDPGD": {"steps": 20},
    "Bisection": {"levels": 4, "attack": A.APGD(steps=5)},
    "DeepFool": {"steps": 8, "targets": 4},
    "ANPGD": {"steps": 8, "bisections": 4},
    "DDN": {"steps": 20},
    "CW": {"steps": 12, "searches": 3},
    "EAD": {"steps": 12, "searches": 3},
    "SigmaZero": {"steps": 20},
    "General": {"steps": 15},
    "PWCF": {"steps": 15},
    "Best": {"budget": 250},
}


def solved(name: str, asked: Any) -> dict[str, Any]:
    """A solver as it is, and from warm starts."""
    x, y = digits("test", SIX)
    settings = SOLVERS[name]
    again = {} if name == "Best" else {"restarts": 2}  # which runs its plan once

    def run(dtype: torch.dtype = torch.float64, more: Any = None, **options: Any) -> Any:
        solver = solver_class(name)(**{**settings, **(more or {})})
        return solver(perceptron(dtype), x.to(dtype), y, asked(), **options)

    return {
        "clean": tried(run),
        "warm": tried(lambda: run(more=again, seed=2, **warm_starts(x))),
        "float32": tried(lambda: run(torch.float32)),
        "soft": tried(lambda: run(more={"soften": 0.2})),
    }


_ASKED: dict[str, Any] = {m: (lambda m=m: metric(m)) for m in METRICS}
_ASKED |= {
    "measured": lambda: hb.Measured(smooth, name="smooth"),
    "perceptual": lambda: hb.Perceptual(hb.threats.layers(perceptron(), ["first"])),
}
for _name in SOLVERS:
    for _kind, _asked in _ASKED.items():
        case(f"solver/{_name}/{_kind}")(lambda n=_name, a=_asked: solved(n, a))

for _name in ("FMN", "FAB", "CW", "DeepFool"):
    for _kind in ("linf", "l2"):
        case(f"solver-as-attack/{_name}/{_kind}")(
            lambda n=_name, t=THREATS[_kind]: everyway(as_attack(solver_class(n)(**SOLVERS[n])), t)
        )

for _norm in ("linf", "l2", "l1"):

    @case(f"exact/{_norm}")
    def _(norm: str = _norm) -> Any:
        x, y = digits("test", (23, 27))
        found = exact_radius(SmallNet(), x, y, norm)
        return {n: getattr(found, n) for n in ("distance", "lower", "points", "proven")}


class SmallNet(torch.nn.Sequential):
    """A network of which all radii can be proven at once."""

    def __init__(self) -> None:
        known = Untrained().double()
        super().__init__(torch.nn.Flatten(), known.first, torch.nn.ReLU(), known.last)


# OBJECTIVES ---------------------------------------------------------------------------------------


def own_loss(logits: Tensor, y: Tensor) -> Tensor:
    return logits.logsumexp(1) - logits.gather(1, y.unsqueeze(1)).squeeze(1)


def pair() -> list[Any]:
    return [conv(), perceptron()]


def noisy() -> Any:
    return Noisy(perceptron(), 0.15)


def jittered(x: Tensor) -> Tensor:
    return x + 0.05 * torch.randn_like(x)


OBJECTIVES: dict[str, Any] = {
    "minmax": lambda: (perceptron(), hb.MinMax(pair(), gamma=1.0)),
    "minmax-ce": lambda: (perceptron(), hb.MinMax(pair(), 0.0, 0.1, loss="ce")),
    "average": lambda: (perceptron(), hb.Average(pair())),
    "fixed": lambda: (perceptron(), hb.Fixed(pair(), weights=(0.8, 0.2))),
    "own": lambda: (perceptron(), own_loss),
    "mean-logits": lambda: (mean_models(pair(), "logits"), "ce"),
    "mean-probabilities": lambda: (mean_models(pair(), "probabilities"), "ce"),
    "vote": lambda: (vote([*pair(), Untrained().double()]), "ce"),
    "vote-sum": lambda: (vote([*pair(), Untrained().double()]), vote_loss("sum")),
    "vote-state": lambda: (vote([*pair(), Untrained().double()]), vote_loss("state")),
    "vote-printed": lambda: (vote(pair()), vote_loss("state", loss="ce", sign="printed")),
    "averaged": lambda: (averaged(noisy(), 3), "ce"),
    "expectation": lambda: (noisy(), expectation(draws=3)),
    "expectation-probabilities": lambda: (noisy(), expectation(draws=3, mean="probabilities")),
    "expectation-transform": lambda: (
        perceptron(),
        expectation(loss="ce", draws=3, transform=jittered),
    ),
    "expectation-averaged": lambda: (averaged(noisy(), 2), expectation(draws=3)),
    "expectation-vote": lambda: (vote([noisy(), perceptron()]), expectation(draws=2)),
}
UNDER = {
    "pgd": A.PGD(steps=6, restarts=2),
    "pgd-gradient": A.PGD(steps=6, rule="gradient", step_size=0.1),
    "apgd": A.APGD(steps=8),
    "apgd-soft": A.APGD(steps=4, soften=0.2),
    "square": A.Square(steps=10),
}


def objective(name: str, attack: Any, kind: str) -> dict[str, Any]:
    x, y = digits("test", SIX)

    def run(stop: bool) -> Any:
        model, loss = OBJECTIVES[name]()
        return replace(attack, loss=loss)(model, x, y, THREATS[kind](), stop=stop)

    return {"stop": tried(lambda: run(True)), "on": tried(lambda: run(False))}


for _name in OBJECTIVES:
    for _attack_name, _attack in UNDER.items():
        for _kind in ("linf", "l1") if _attack_name != "apgd" else ("linf", "l2", "l1", "rt"):
            case(f"objective/{_name}/{_attack_name}/{_kind}")(
                lambda n=_name, a=_attack, k=_kind: objective(n, a, k)
            )

for _kind in ("linf", "l1", "rt"):
    case(f"transferred/{_kind}")(
        lambda t=THREATS[_kind]: everyway(
            transferred({"a": conv(), "b": Untrained().double()}, A.APGD(steps=5)), t
        )
    )

EACH: dict[str, Any] = {
    "minmax": lambda: hb.MinMax(gamma=1.0, toward="strong"),
    "average": lambda: hb.Average(toward="strong", loss="ce"),
    "models": lambda: hb.MinMax(pair(), toward="strong"),
}
for _name, _loss in EACH.items():
    for _attack_name in ("pgd", "apgd", "fgsm", "mim", "random", "spsa"):
        case(f"objective-each/{_name}/{_attack_name}")(
            lambda s=_loss, a=ATTACKS[_attack_name]: everyway(
                replace(a, loss=s()), lambda: hb.Each(hb.Linf(0.1), hb.L2(0.6))
            )
        )
