"""The cases that are tests: a small run of every kind, seconds in all."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from adapter import digits, transfer_table
from collect import SMALL, case, ledger, tried
from nets import Noisy, Untrained, conv, perceptron

import hauberk as hb
from hauberk import train
from hauberk.attacks import APGD, PGD, Square

BALLS = "linf:0.1|l2:0.6|l1:2"
EIGHT = range(20, 28)
"""Test digits of which the perceptron gets the last one wrong."""
small = partial(case, where=SMALL)


def standing(result: Any) -> dict[str, Any]:
    """What a result of an evaluation says by itself."""
    threats = list(result.accuracy)
    return {
        "numbers": [result.clean_accuracy, result.union_accuracy, result.average_accuracy],
        "ids": result.ids,
        "union": result.robust(),
        "accuracy": result.accuracy,
        "robust": {t: result.robust(t) for t in threats},
        "points": {t: result.points(t) for t in threats},
    }


def evaluated(rows: Any, threats: Any, model: Any = None, **options: Any) -> dict[str, Any]:
    """The ledger of an evaluation."""
    x, y = digits("test", rows)
    asked = hb.threat(threats) if isinstance(threats, str) else threats
    network = perceptron() if model is None else model
    options["ids"] = torch.arange(len(x)).flip(0) * 7 + 3
    return ledger(
        lambda out: hb.evaluate(network, x, y, asked, out=out, **options),
        lambda result: [result.clean_accuracy, result.union_accuracy, result.average_accuracy],
    )


@small("evaluate/fast")
def _() -> Any:
    return evaluated(EIGHT, BALLS, suite="fast")


@small("evaluate/standard")
def _() -> Any:
    return evaluated(range(25, 28), BALLS, suite="standard", seed=3)


@small("evaluate/in-memory")
def _() -> Any:
    x, y = digits("test", EIGHT)
    return standing(hb.evaluate(perceptron(), x, y, hb.threat(BALLS), suite="fast"))


OWN = {"pgd": PGD(steps=4), "apgd": APGD(steps=5, targets=2), "square": Square(steps=10)}


@small("evaluate/union-only")
def _() -> Any:
    return evaluated(EIGHT, BALLS, suite=OWN, union_only=True)


@small("evaluate/all-attacks")
def _() -> Any:
    return evaluated(EIGHT, "linf:0.1|l1:2", suite=OWN, all_attacks=True)


@small("evaluate/other-threats")
def _() -> Any:
    return evaluated(range(20, 23), "rt:20,1|affine(linf:0.05,l1:1)|l0:3", suite="fast")


def radii(metric: Any, rows: Any = range(24, 28), **options: Any) -> dict[str, Any]:
    """The ledger of a radius run, and what its result says by itself."""
    x, y = digits("test", rows)

    def says(found: Any) -> dict[str, Any]:
        every = dict(found) if hasattr(found, "keys") else {"one": found}
        names = ("ids", "correct", "found", "distance", "solver", "forwards", "backwards", "points")
        return {
            name: {**{n: getattr(one, n) for n in names}, "nearest": list(one.nearest)}
            for name, one in every.items()
        }

    return ledger(lambda out: hb.radius(perceptron(), x, y, metric, out=out, **options), says)


@small("radius/best")
def _() -> Any:
    metrics = ["l0", "l1.5", hb.threat(BALLS)]
    return radii(metrics, budget=220, eps={"union": [0.5, 1.0]})


@small("radius/fmn")
def _() -> Any:
    return radii("l2", budget=60, solver="fmn", seed=2)


@small("radius/union-ddn-fab")
def _() -> Any:
    return {
        "ddn": radii("l2", solver=hb.solvers.DDN(steps=20)),
        "fab": radii(hb.threat("linf:0.1|l1:2"), solver=hb.solvers.FAB(steps=6, targets=3)),
    }


@small("radius/measured")
def _() -> Any:
    return radii(hb.Measured(smooth, name="smooth"), budget=120)


def smooth(x0: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A distance of one's own."""
    d = x - x0
    return d.flatten(1).norm(dim=1) + d.diff(dim=-1).flatten(1).norm(dim=1)


def minmaxed(models: Any, threat: Any, rows: Any = EIGHT, **options: Any) -> dict[str, Any]:
    """The ledger of a min-max run, and what its result says by itself."""
    x, y = digits("test", rows)
    settings = {"attack": APGD(loss="cw", steps=8), **options}

    def says(found: Any) -> dict[str, Any]:
        return {
            "index": found.index,
            "clean": found.clean,
            "weights": tried(lambda: found.weights),
            "lift": tried(found.lift),
            "sides": {
                name: {
                    "asr": [side.asr_all, side.asr_avg, side.asr_group, side.asr_any],
                    "delta": side.delta,
                    "accuracy": side.accuracy,
                }
                for name, side in found.items()
            },
        }

    return ledger(lambda out: hb.minmax(models, x, y, threat, out=out, **settings), says)


@small("minmax/models")
def _() -> Any:
    return minmaxed({"a": conv(), "b": perceptron()}, "linf:0.1")


@small("minmax/transforms")
def _() -> Any:
    several = hb.transforms.wang2021("deterministic")
    return minmaxed(perceptron(), "linf:0.06", range(24, 28), transforms=several)


@small("minmax/random-transforms")
def _() -> Any:
    words = ("flh", "rot:-10..10", "sometimes(bri:0.1,0.8)", "crop:0.6..1")
    several = [hb.transforms.transform(word) for word in words]
    return minmaxed(
        perceptron(), "l2:0.6", range(24, 28), transforms=several, draws=2, judge_draws=3
    )


@small("minmax/groups")
def _() -> Any:
    x, y = range(40), {"group": 2, "by_class": True, "gamma": 1.0}
    return {
        "by class": minmaxed(perceptron(), "linf:0.1", x, **y),
        "in order": minmaxed(perceptron(), "l2:0.8", EIGHT, group=4),
    }


@small("minmax/threats")
def _() -> Any:
    attack = PGD(loss="cw", steps=8, share=0.1)
    return minmaxed(perceptron(), hb.threat(BALLS), range(24, 28), attack=attack)


@small("universal")
def _() -> Any:
    x, y = digits("test", range(24))
    found = hb.universal(perceptron(), x, y, "l2:1.5", epochs=2, minibatch=8, seed=1)
    tested = found.test(perceptron(), *digits("test", range(24, 40)))
    return {
        "delta": found.delta,
        "losses": found.losses,
        "passes": [found.forwards, found.backwards],
        "points": found.apply(x[:3]),
        "tested": [tested.clean, tested.accuracy, tested.changed],
        "wrong": tested.wrong,
    }


@small("transfer")
def _() -> Any:
    x, y = digits("test", EIGHT)
    models = {"a": conv(), "b": perceptron(), "c": Untrained().double().eval()}
    attacks = [PGD(loss="ce", steps=5), APGD(steps=5)]
    return transfer_table(models, x, y, hb.threat("linf:0.1|l2:0.6"), attacks)


def trained(strategy: Any, rows: Any = range(24), norm: bool = False, **options: Any) -> Any:
    """Weights and history of a training of two epochs."""
    x, y = digits("train", rows)
    settings = {"epochs": 2, "minibatch": 10, "learning_rate": 0.01, **options}
    model = Untrained(norm).to(torch.float64)
    found = train.fit(model, (x, y), strategy, **settings)
    return {
        "weights": dict(found.model.state_dict()),
        "history": found.history,
        "summary": found.summary,
    }


@small("train/msd")
def _() -> Any:
    return trained(train.MSD(hb.threat(BALLS), steps=4), validation=6, validate_steps=3)


@small("train/max")
def _() -> Any:
    return trained(train.MAX(hb.threat(BALLS), attacks=PGD(steps=3), grow=0.5), ema=0.9)


@small("train/ampgd")
def _() -> Any:
    return trained(train.AMPGD(hb.threat(BALLS), steps=3), clip=1.0)


@small("train/resumed")
def _() -> Any:
    """A training that ended after its first epoch goes on, from its folder, to the second."""

    def ends(record: dict[str, Any]) -> None:
        raise RuntimeError(f"ended after {len(record) > 0}")

    strategy = train.TRADES(hb.Linf(0.1), attack=PGD(steps=3))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        first = tried(lambda: trained(strategy, out=out, on_epoch=ends))
        again = trained(strategy, out=out, resume=True)
    return {"first": list(first), "again": again, "whole": trained(strategy)}


@small("model/stochastic")
def _() -> Any:
    return evaluated(EIGHT, "linf:0.1|l1:2", Noisy(perceptron()), suite={"pgd": PGD(steps=4)})
