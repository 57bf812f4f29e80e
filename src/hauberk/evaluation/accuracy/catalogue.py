"""The suites that come with the package."""

from typing import Any

from hauberk.attacks import (
    APGD,
    FGSM,
    LPA,
    PGD,
    Boundary,
    Grid,
    HopSkipJump,
    MixturePGD,
    MomentumIterative,
    MultiSteepestDescent,
    Noise,
    Pointwise,
    RandomSearch,
    SparseL1Descent,
    Square,
)  # fmt: skip
from hauberk.attacks.unbounded import Unbounded
from hauberk.engine.method import Method
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.base import Solver
from hauberk.solvers.cw import CW
from hauberk.solvers.ddn import DDN
from hauberk.solvers.deepfool import DeepFool
from hauberk.solvers.ead import EAD
from hauberk.solvers.fab import FAB

WIDE, WIDER = (10.0, 4.0, 2.0, 1.0), (6.0, 3.0, 1.0)
"""Balls, in units of the threat's own, through which searches in l1 come to it."""
SURE = "probability_margin_scaled"


def only(attack: Method, *threats: str, **options: Any) -> Stage:
    """A stage for some kinds of threat."""
    return Stage(attack=attack, threats=threats, **options)


def pays(attack: Method, *threats: str, **options: Any) -> Stage:
    """A stage that is run where the scheduler expects it to pay."""
    return Stage(attack=attack, threats=threats, adaptive=True, **options)


def nearest(solver: Solver, *threats: str) -> Stage:
    """A stage that asks whether a radius solver's point lies in the ball."""
    return only(AsAttack(solver=solver), *threats)


def _maini(linf: PGD, l2: PGD, l1: MultiSteepestDescent) -> dict[str, Stage]:
    """The fifteen attacks of Maini et al. 2020, given those of appendix C.1.

    Steps are relative to the radius; the l1 attack draws its number of coordinates anew at every
    step, and its first restart starts from the clean input. The settings of the others, which the
    paper takes from Foolbox, are not printed.
    """
    return {
        "pgd": only(linf, "linf"),
        "fgsm": only(FGSM(), "linf"),
        "pgd-foolbox": only(PGD(steps=40, step_share=1 / 30, restarts=10), "linf"),
        "mim": only(MomentumIterative(random_start=True, restarts=10), "linf"),
        "pgd-l2": only(l2, "l2"),
        "pgd-l2-foolbox": only(PGD(steps=50, step_share=0.025, restarts=10), "l2"),
        "gaussian": only(Noise(noise="gaussian", restarts=10), "l2"),
        "boundary": only(Boundary(steps=500), "l2"),
        "deepfool": nearest(DeepFool(), "l2"),
        "ddn": nearest(DDN(steps=100), "l2"),
        "cw": nearest(CW(), "l2"),
        "pointwise-l2": only(Pointwise(steps=100, restarts=10), "l2"),
        "pgd-l1": only(l1, "l1"),
        "salt-and-pepper": only(Noise(noise="salt_and_pepper", restarts=10), "l1"),
        "pointwise": only(Pointwise(steps=100, restarts=10), "l1", "l0"),
    }


MAINI_MNIST = _maini(
    PGD(steps=100, step_share=1 / 30, restarts=10),
    PGD(steps=200, step_share=0.05, restarts=10),
    MultiSteepestDescent(steps=100, step_l1=0.08, k=(5, 20), restarts=10),
)
MAINI_SEARCH = ("pgd", "pgd-l2", "pgd-l1", "pointwise")
"""Those of them by which the models of the paper's search are judged."""


def _tramer(restarts: int) -> dict[str, Stage]:
    """The attacks of Tramèr & Boneh 2019; the restarts are those of projected gradient ascent."""
    sparse = SparseL1Descent(steps=100, restarts=restarts, random_start=True)
    return {
        "pgd": only(PGD(steps=100, restarts=restarts), "linf", "l2"),
        "sparse-l1": only(sparse, "l1"),
        "cw": nearest(CW(), "l2"),
        "ead": nearest(EAD(), "l1"),
        "boundary": only(Boundary(steps=500), "l2"),
        "pointwise": only(Pointwise(steps=100, restarts=10), "l1"),
        "grid": only(Grid(), "enumerable"),
        "mixture": only(MixturePGD(steps=100, restarts=10), "affine"),
    }


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name="fast",
            version=3,
            about="a first look: short APGD runs with softened gradients, and a few where it pays",
            attacks={
                "apgd-soft": only(APGD(steps=8, soften=0.1, loss="ce_scaled"), "-l1"),
                "apgd-soft-l1": only(
                    APGD(steps=20, soften=0.2, loss="ce_scaled", enlarge=WIDER), "l1"
                ),
                "random": only(RandomSearch(samples=25), "enumerable"),
                "carried": Stage(attack=APGD(steps=15, soften=0.1), carry=True),
                "apgd-pm": pays(APGD(steps=20, loss=SURE), "-l1", odds=-2.0),
                "apgd-t": pays(APGD(steps=12, targets=2, rank="linear"), "-l1", odds=-2.0),
                "apgd-softer": pays(APGD(steps=20, soften=0.3, loss="ce_scaled"), "-l1"),
                "apgd-ce-wide": pays(
                    APGD(steps=25, loss="ce_scaled", enlarge=WIDER), "l1", odds=-2.0
                ),
                "apgd-softer-wide": pays(
                    APGD(steps=35, soften=0.3, loss="ce_scaled", enlarge=WIDE), "l1", odds=-2.0
                ),
                "apgd-pm-wide": pays(APGD(steps=30, loss=SURE, enlarge=WIDE), "l1", odds=-2.0),
                "apgd-t-wide": pays(
                    APGD(steps=25, targets=2, rank="linear", enlarge=WIDER), "l1", odds=-1.8
                ),
            },
            price=1200,
        ),
        Suite(
            name="standard",
            version=3,
            about="to quote: exact and softened APGD, then all that pays of searches that differ",
            attacks={
                "apgd": only(APGD(steps=10, loss="ce_scaled"), "-l1"),
                "apgd-l1": only(APGD(steps=30, loss="ce_scaled", enlarge=WIDER), "l1"),
                "unbounded": only(Unbounded(), "ball", portion=0.05),
                "apgd-soft-l1": only(APGD(steps=25, soften=0.2, enlarge=WIDE), "l1"),
                "carried": Stage(attack=APGD(steps=30, soften=0.1), carry=True),
                "grid": only(Grid(), "enumerable"),
                "lpa": only(LPA(steps=60), "measured"),
                "pointwise-l0": only(Pointwise(steps=60), "l0"),
                "apgd-soft": pays(APGD(steps=10, soften=0.1), "-l1"),
                "apgd-longer": pays(APGD(steps=30), "-l1"),
                "apgd-softer": pays(APGD(steps=30, soften=0.3, loss="ce_scaled"), "-l1"),
                "apgd-pm": pays(APGD(steps=30, loss="probability_margin"), "-l1", odds=-2.0),
                "ddn": pays(AsAttack(solver=DDN(steps=40), early=True), "l2"),
                "apgd-t": pays(APGD(steps=25, targets=2, rank="linear"), "-l1", odds=-1.8),
                "apgd-t-soft": pays(APGD(steps=20, targets=9, soften=0.1), "-l1"),
                "apgd-ce-long": pays(APGD(steps=100, loss="ce_scaled"), "-l1", odds=-2.0),
                "apgd-t-long": pays(APGD(steps=100, targets=9), "-l1"),
                # In l1, balls far larger than the threat get out of local maxima.
                "apgd-wide": pays(APGD(steps=40, enlarge=WIDER), "l1"),
                "apgd-pm-wide": pays(
                    APGD(steps=30, loss="probability_margin", enlarge=WIDE), "l1", odds=-2.0
                ),
                "apgd-ce-wide": pays(
                    APGD(steps=40, loss="ce_scaled", soften=0.3, enlarge=WIDE), "l1"
                ),
                "apgd-t-wide": pays(APGD(steps=25, targets=3, enlarge=WIDER), "l1", odds=-1.8),
                "apgd-t-wide-soft": pays(
                    APGD(steps=40, targets=3, soften=0.2, enlarge=WIDER), "l1"
                ),
                "apgd-wide-long": pays(APGD(steps=100, enlarge=WIDE), "l1", odds=-2.0),
                "apgd-t-wide-long": pays(APGD(steps=60, targets=9, enlarge=WIDER), "l1"),
                "apgd-ce-restarts": pays(
                    APGD(steps=100, loss="ce", restarts=5, enlarge=WIDE), "l1"
                ),
                "square": pays(Square(steps=200), "ball"),
                "carried-on": Stage(attack=APGD(steps=50), carry=True),
                "soft-restarts": pays(
                    APGD(steps=60, loss="ce", soften=0.3, restarts=3), when="masked", odds=-0.5
                ),
                "softest": pays(APGD(steps=50, loss="ce", soften=0.6), when="masked", odds=-0.5),
                "soft-targets": pays(
                    APGD(steps=40, targets=9, soften=0.2), when="masked", odds=-0.5
                ),
                "square-long": pays(Square(steps=1200), "ball", when="masked", odds=0.5),
                "pointwise": pays(Pointwise(steps=60), "l1", when="masked", odds=-0.5),
                "carried-last": Stage(attack=APGD(steps=50, soften=0.3), carry=True, when="masked"),
            },
            price=9_000,
        ),
        Suite(
            name="gradient-free",
            version=1,
            about="decisions and losses only, for models whose gradients mislead",
            attacks={
                "noise": only(Noise(steps=10), "ball"),
                "square": only(Square(steps=2000, restarts=2), "ball"),
                "pointwise": only(Pointwise(steps=100, restarts=3), "l1", "l0"),
                "boundary": only(Boundary(steps=100), "l2"),
                "hopskipjump": only(HopSkipJump(steps=150), "l2", "linf"),
                "random": RandomSearch(samples=100),
                "grid": only(Grid(), "enumerable"),
                "carried": only(Square(steps=500), "ball", carry=True),
            },
        ),
        Suite(
            name="autoattack",
            version=2,
            about="the stages of Croce & Hein 2020, for comparison",
            attacks={
                "apgd-ce": only(APGD(steps=100, loss="ce"), "linf", "l2", "l1"),
                "apgd-t": only(APGD(steps=100, loss="dlr", targets=9), "linf", "l2", "l1"),
                "fab-t": nearest(FAB(steps=100, targets=9), "linf", "l2", "l1"),
                "square": only(Square(steps=5000), "linf", "l2", "l1"),
            },
        ),
        Suite(
            name="autoattack-plus",
            version=1,
            about="AutoAttack+, the larger set of Croce & Hein 2020: AA+ of Wang et al. 2021",
            attacks={
                "apgd-ce": only(APGD(steps=100, loss="ce", restarts=5), "linf", "l2", "l1"),
                "apgd-dlr": only(APGD(steps=100, loss="dlr", restarts=5), "linf", "l2", "l1"),
                # The first of FAB's five starts is the clean input.
                "fab": nearest(FAB(steps=100, targets=0), "linf", "l2", "l1"),
                "fab-restarts": only(
                    AsAttack(solver=FAB(steps=100, targets=0, restarts=4), near=0.5),
                    "linf",
                    "l2",
                    "l1",
                ),
                "square": only(Square(steps=5000), "linf", "l2", "l1"),
                "apgd-t": only(APGD(steps=100, loss="dlr", targets=9), "linf", "l2", "l1"),
                "fab-t": nearest(FAB(steps=100, targets=9), "linf", "l2", "l1"),
            },
        ),
        Suite(
            name="maini2020",
            version=3,
            about="Maini et al. 2020, section 5.1, MNIST settings, 10 restarts",
            attacks=MAINI_MNIST,
        ),
        Suite(
            name="maini2020-cifar10",
            version=1,
            about="Maini et al. 2020, section 5.1, CIFAR-10 settings, 10 restarts",
            attacks=_maini(
                PGD(steps=100, step_share=0.1, restarts=10),
                PGD(steps=500, step_share=0.1, restarts=10),
                MultiSteepestDescent(steps=100, step_l1=1 / 12, k=(5, 20), restarts=10),
            ),
        ),
        Suite(
            name="maini2020-search",
            version=1,
            about="Maini et al. 2020, figure 4: three attacks by gradients, and one without",
            attacks={name: MAINI_MNIST[name] for name in MAINI_SEARCH},
        ),
        Suite(
            name="maini2020-once",
            version=2,
            about="Maini et al. 2020, tables 5 and 6: the attacks of Tramèr & Boneh, each once",
            attacks={
                "pgd": only(PGD(steps=40, step_share=1 / 30), "linf"),
                "pgd-l2": only(PGD(steps=50, step_share=0.025), "l2"),
                "sparse-l1": only(SparseL1Descent(steps=100), "l1"),
                "cw": nearest(CW(), "l2"),
                "ead": nearest(EAD(), "l1"),
                "boundary": only(Boundary(steps=500), "l2"),
                "pointwise": only(Pointwise(steps=100), "l1"),
            },
        ),
        Suite(
            name="tramer2019",
            version=3,
            about="Tramèr & Boneh 2019, section 4, 40 restarts (MNIST)",
            attacks=_tramer(restarts=40),
        ),
        Suite(
            name="tramer2019-cifar10",
            version=2,
            about="Tramèr & Boneh 2019, section 4, 20 restarts (CIFAR-10)",
            attacks=_tramer(restarts=20),
        ),
    )
}
