"""The suites that come with the package; those named after papers setting by setting."""

import json
from dataclasses import fields, replace

import pytest
import torch
from helpers.models import Linear
from helpers.oracles import queries
from torch import nn

import hauberk as hb
from hauberk.evaluation import SUITES
from hauberk.evaluation.accuracy.question import Accuracy
from hauberk.evaluation.core.prepare import Setting
from hauberk.maths.norms import norm
from hauberk.threats import Box, threat
from hauberk.victims.victim import Victim

BALLS = hb.Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0)).parts


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_describes_itself(name):
    suite = SUITES[name]
    assert suite.name == name
    assert suite.version >= 1
    assert "\n" not in suite.about
    told = json.loads(json.dumps(suite.describe()))
    assert list(told) == list(suite.attacks)
    for key, stage in suite.stages.items():
        assert told[key]["attack"] == type(stage.attack).__name__
        assert told[key]["kind"] in ("gradient", "free", "transfer", "sanity")
        assert stage.about().startswith(type(stage.attack).__name__)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_begun_under_the_balls(name):
    x, y = torch.full((1, 1, 6, 6), 0.5), torch.zeros(1, dtype=torch.long)
    suite = SUITES[name]
    setting = Setting({"a": Victim(nn.Flatten())}, x, y, torch.arange(1), Box.of((0, 1)))
    for task in Accuracy(BALLS, suite).tasks(setting):
        task.check(setting)
    assert suite.passes(BALLS)[0] > 0


def test_standard_and_fast_are_for_sets_and_mixtures():
    texts = ["rt:30,3", "swaps:3", "l1.5:1", "l0:3", "affine(linf:0.1,l1:1)"]
    for name in ("standard", "fast"):
        assert SUITES[name].schedule(tuple(threat(t) for t in texts))


TEN = {"restarts": 10}
FOOLBOX = {  # what Maini et al. 2020 take from Foolbox; its settings are not printed
    "fgsm": (("linf",), "FGSM", {"steps": 1, "random_start": False}),
    "pgd-foolbox": (("linf",), "PGD", {"steps": 40, "step_share": 0.01 / 0.3, **TEN}),
    "mim": (
        ("linf",),
        "MomentumIterative",
        {"steps": 10, "momentum": 1.0, "random_start": True, **TEN},
    ),
    "pgd-l2-foolbox": (("l2",), "PGD", {"steps": 50, "step_share": 0.025, **TEN}),
    "gaussian": (("l2",), "Noise", {"steps": 100, "noise": "gaussian", **TEN}),
    "boundary": (("l2",), "Boundary", {"steps": 500, "trials": 25, "restarts": 1}),
    "deepfool": (("l2",), "AsAttack", {"solver": "DeepFool", "steps": 50, "restarts": 1}),
    "ddn": (("l2",), "AsAttack", {"solver": "DDN", "steps": 100, "restarts": 1}),
    "cw": (("l2",), "AsAttack", {"solver": "CW", "steps": 1000, "searches": 9, "restarts": 1}),
    "pointwise-l2": (("l2",), "Pointwise", {"steps": 100, **TEN}),
    "salt-and-pepper": (("l1",), "Noise", {"steps": 100, "noise": "salt_and_pepper", **TEN}),
    "pointwise": (("l1", "l0"), "Pointwise", {"steps": 100, **TEN}),
}


def own(steps, alpha, eps):
    """The three attacks of appendix C.1 of Maini et al. 2020, from the printed numbers."""
    linf, l2, l1 = (a / e for a, e in zip(alpha, eps, strict=True))
    drawn = {"step_l1": l1, "k": (5, 20), "zero_start": True, **TEN}
    return {
        "pgd": (("linf",), "PGD", {"steps": steps[0], "step_share": linf, **TEN}),
        "pgd-l2": (("l2",), "PGD", {"steps": steps[1], "step_share": l2, **TEN}),
        "pgd-l1": (("l1",), "MultiSteepestDescent", {"steps": steps[2], **drawn}),
    }


def tramer(restarts):
    """The attacks of Tramèr & Boneh 2019, section 4."""
    sparse = {"share": (1 - 0.995, 1 - 0.8), "random_start": True}
    mixed = {**sparse, "first": None, "step_share": None, "step_size": None}
    return {
        "pgd": (("linf", "l2"), "PGD", {"steps": 100, "restarts": restarts}),
        "sparse-l1": (
            ("l1",), "SparseL1Descent", {"steps": 100, "restarts": restarts, **sparse},
        ),
        "cw": FOOLBOX["cw"],
        "ead": (("l1",), "AsAttack", {"solver": "EAD", "steps": 1000, "searches": 9}),
        "boundary": FOOLBOX["boundary"],
        "pointwise": (("l1",), "Pointwise", {"steps": 100, **TEN}),
        "grid": (("enumerable",), "Grid", {"counts": (31, 5, 5), "restarts": 1}),
        "mixture": (("affine",), "MixturePGD", {"steps": 100, **TEN, **mixed}),
    }  # fmt: skip


SEARCH = {  # figure 4 of Maini et al. 2020
    **own((100, 200, 100), (0.01, 0.1, 0.8), (0.3, 2, 10)),
    "pointwise": FOOLBOX["pointwise"],
}

ONCE = {  # tables 5 and 6 of Maini et al. 2020: no restarts, and the l1 attack from 0
    "pgd": (("linf",), "PGD", {"steps": 40, "step_share": 0.01 / 0.3, "restarts": 1}),
    "pgd-l2": (("l2",), "PGD", {"steps": 50, "step_share": 0.025, "restarts": 1}),
    "sparse-l1": (("l1",), "SparseL1Descent", {"steps": 100, "random_start": False}),
    "cw": FOOLBOX["cw"],
    "ead": (("l1",), "AsAttack", {"solver": "EAD", "steps": 1000, "searches": 9, "restarts": 1}),
    "boundary": FOOLBOX["boundary"],
    "pointwise": (("l1",), "Pointwise", {"steps": 100, "restarts": 1}),
}

BALL = ("linf", "l2", "l1")


def apgd(**more):
    """APGD with 100 iterations, as Croce & Hein 2020 run it."""
    return BALL, "APGD", {"steps": 100, "rho": 0.75, "targets": 0, "restarts": 1, **more}


def fab(**more):
    """FAB with 100 iterations, likewise."""
    own = {"solver": "FAB", "steps": 100, "alpha": 0.1, "eta": 1.05, "beta": 0.9, "near": 0.0}
    return BALL, "AsAttack", {**own, "restarts": 1, **more}


SQUARE = BALL, "Square", {"steps": 5000, "restarts": 1}
AUTOATTACK = {
    "apgd-ce": apgd(loss="ce"),
    "apgd-t": apgd(loss="dlr", targets=9),
    "fab-t": fab(targets=9),
    "square": SQUARE,
}
PLUS = AUTOATTACK | {  # five restarts of the untargeted ones; FAB's first start is the clean input
    "apgd-ce": apgd(loss="ce", restarts=5),
    "apgd-dlr": apgd(loss="dlr", restarts=5),
    "fab": fab(targets=0),
    "fab-restarts": fab(targets=0, restarts=4, near=0.5),
}

PRINTED = {
    "autoattack": (2, AUTOATTACK),
    "autoattack-plus": (1, PLUS),
    "maini2020": (3, FOOLBOX | own((100, 200, 100), (0.01, 0.1, 0.8), (0.3, 2, 10))),
    "maini2020-cifar10": (1, FOOLBOX | own((100, 500, 100), (0.003, 0.05, 1), (0.03, 0.5, 12))),
    "maini2020-search": (1, SEARCH),
    "maini2020-once": (2, ONCE),
    "tramer2019": (3, tramer(40)),
    "tramer2019-cifar10": (2, tramer(20)),
}
"""Version and stages of each suite named after a paper, as the paper prints them."""

CLOSE = {"step_share", "step_l1", "share"}
"""Settings that are quotients of printed numbers."""


def settings(attack):
    """The settings of an attack, those of its solver among them."""
    told = {f.name: getattr(attack, f.name) for f in fields(attack)}
    if (solver := told.get("solver")) is not None:
        own = {f.name: getattr(solver, f.name) for f in fields(solver)}
        told = own | told | {"solver": type(solver).__name__}
    return told


def unsaid(attack):
    """The settings that are not the defaults of the attack's class or of its solver's."""
    objects = [attack, *([attack.solver] if hasattr(attack, "solver") else [])]
    return {f.name for o in objects for f in fields(o) if getattr(o, f.name) != f.default}


@pytest.mark.parametrize("name", PRINTED)
def test_suites_of_papers_have_the_settings_of_the_papers(name):
    version, rows = PRINTED[name]
    suite = SUITES[name]
    assert suite.version == version
    assert set(suite.stages) == set(rows)
    for key, stage in suite.stages.items():
        threats, kind, printed = rows[key]
        assert stage == hb.evaluation.Stage(attack=stage.attack, threats=threats), key
        assert type(stage.attack).__name__ == kind, key
        found = settings(stage.attack)
        for word, value in printed.items():
            expected = pytest.approx(value, rel=1e-12) if value and word in CLOSE else value
            assert found[word] == expected, f"{key}: {word}"
        assert unsaid(stage.attack) <= set(printed) | {"solver"}, key


GRADIENT = ("pgd", "fgsm", "pgd-foolbox", "mim", "pgd-l2", "pgd-l2-foolbox", "pgd-l1", "sparse-l1")


@pytest.mark.parametrize("name", [name for name in PRINTED if "autoattack" not in name])
def test_gradient_attacks_of_papers_climb_cross_entropy(name):
    stages = SUITES[name].stages
    assert {stages[key].attack.loss for key in GRADIENT if key in stages} == {"ce"}


STEPS = {  # by suite and attack: the threat of the paper, and the length of a step there
    ("maini2020", "pgd"): (hb.Linf(0.3), 0.01),
    ("maini2020", "pgd-l2"): (hb.L2(2.0), 0.1),
    ("maini2020", "pgd-l1"): (hb.L1(10.0), 0.8),
    ("maini2020-cifar10", "pgd"): (hb.Linf(0.03), 0.003),
    ("maini2020-cifar10", "pgd-l2"): (hb.L2(0.5), 0.05),
    ("maini2020-cifar10", "pgd-l1"): (hb.L1(12.0), 1.0),
}


@pytest.mark.parametrize(("name", "key"), STEPS)
def test_steps_of_maini_2020_have_the_printed_lengths(name, key):
    threat, length = STEPS[name, key]
    model, x = Linear(784), torch.full((6, 784), 0.5)
    attack = replace(SUITES[name].stages[key].attack, steps=5, restarts=1)
    if hasattr(attack, "random_start"):
        attack = replace(attack, random_start=False)
    y, wide = model(x).argmax(1), (-9.0, 9.0)  # no step ends at the edge of the box
    asked = torch.stack(queries(attack, threat, model, x, y, box=wide)).double()
    moves = asked.diff(dim=0)
    torch.testing.assert_close(asked[0], x.double())
    far = norm(moves.flatten(0, 1), threat.p)
    torch.testing.assert_close(far, torch.full_like(far, length), rtol=1e-4, atol=0)
    if threat.kind == "l1":  # k is drawn anew at every step: no attempt keeps its first
        count = (moves.abs() > 1e-6).sum(2)
        assert count.min() >= 5
        assert count.max() <= 20
        assert (count != count[0]).any(0).all()


@pytest.mark.parametrize("factor", [2.0**-5, 2.0**5])
def test_no_factor_on_the_logits_changes_what_fast_finds(factor):
    """A power of two, which changes no rounding."""

    class Times(nn.Module):
        def __init__(self, net, factor):
            super().__init__()
            self.net, self.factor = net, factor

        def forward(self, x):
            return self.net(x) * self.factor

    torch.manual_seed(0)
    first, second = (nn.Sequential(nn.Linear(n, 24), nn.ReLU()) for n in (12, 24))
    net = nn.Sequential(first, second, nn.Linear(24, 5))
    x = torch.rand(40, 12, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    balls = [hb.Linf(0.02), hb.L2(0.06), hb.L1(0.15)]
    found = [hb.evaluate(Times(net, f), x, y, balls, suite="fast") for f in (1.0, factor)]
    parts = [run.store.rows("attack-") for run in found]
    for column in ("id", "task", "broken", "forwards", "backwards"):
        assert parts[0][column].tolist() == parts[1][column].tolist()
    assert 0 < found[0].union_accuracy < 1
    assert {"apgd-pm", "apgd-pm-wide"} <= set(parts[0]["task"].tolist())
