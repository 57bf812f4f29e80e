"""The suites that come with the package."""

from typing import Any

from hauberk.attacks import APGD, Attack, Pointwise, Square
from hauberk.evaluation.suites import Stage, Suite


def masked(attack: Attack, **options: Any) -> Stage:
    """A stage that is run if there is evidence of masked gradients."""
    return Stage(attack=attack, when="masked", **options)


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name="fast",
            version=2,
            about="a first look: two short APGD runs with softened gradients",
            attacks={
                "apgd-soft": APGD(steps=12, soften=0.1),
                "apgd-softer": APGD(steps=11, soften=0.3),
                "carried": Stage(attack=APGD(steps=12, soften=0.1), carry=True),
            },
        ),
        Suite(
            name="standard",
            version=2,
            about="to quote: APGD exact and softened, targets, a search without gradients",
            attacks={
                "apgd": APGD(steps=20),
                "apgd-soft": APGD(steps=20, soften=0.1),
                "apgd-softer": APGD(steps=30, soften=0.3, loss="ce"),
                "carried": Stage(attack=APGD(steps=30, soften=0.1), carry=True),
                "apgd-t": Stage(attack=APGD(steps=25, targets=3), threats=("-l1",)),
                "apgd-ce-long": Stage(attack=APGD(steps=100, loss="ce"), threats=("l1",)),
                "apgd-t-long": Stage(attack=APGD(steps=40, targets=3), threats=("l1",)),
                "square": Stage(attack=Square(steps=200), share=0.1),
                "tenfold": Stage(attack=APGD(steps=100, targets=9), share=0.02, when="unmasked"),
                "carried-on": Stage(attack=APGD(steps=50), carry=True),
                "soft-restarts": masked(APGD(steps=60, loss="ce", soften=0.3, restarts=3)),
                "softest": masked(APGD(steps=50, loss="ce", soften=0.6)),
                "soft-targets": masked(APGD(steps=40, targets=9, soften=0.2)),
                "square-long": masked(Square(steps=1200)),
                "pointwise": masked(Pointwise(steps=60), threats=("l1", "l0")),
                "carried-last": masked(APGD(steps=50, soften=0.3), carry=True),
            },
        ),
    )
}
