"""Stages, suites and suite files: what they say, what they cost, and what they refuse."""

import pytest

import hauberk as hb
from hauberk.attacks import APGD, SparseL1Descent, Square
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.threats import threat

BALLS = hb.Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0)).parts
SHORT = APGD(steps=10)


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ((), {"linf", "l2", "l1", "l0", "l1.5", "rt", "swaps", "affine"}),
        (("l1",), {"l1"}),
        (("l1", "rt"), {"l1", "rt"}),
        (("-l1",), {"linf", "l2", "l0", "l1.5", "rt", "swaps", "affine"}),
        (("-l1", "-rt", "-affine", "-swaps"), {"linf", "l2", "l0", "l1.5"}),
        (("l2", "-l1"), {"l2"}),
        (("l1", "-l1"), set()),
        ("-l1", {"linf", "l2", "l0", "l1.5", "rt", "swaps", "affine"}),
        ("linf", {"linf"}),
    ],
)
def test_which_threats_a_stage_is_for(words, kinds):
    texts = ["linf:0.1", "l2:1", "l1:1", "l0:3", "l1.5:1", "rt:30,3", "swaps:3",
             "affine(linf:0.1,l1:1)"]  # fmt: skip
    stage = Stage(attack=SHORT, threats=words)
    found = {t.partition(":")[0].partition("(")[0] for t in texts if stage.fits(threat(t))}
    assert found == kinds
    assert isinstance(stage.threats, tuple)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"when": "sometimes"}, "always, masked or unmasked"),
        ({"portion": 0}, "portion"),
        ({"portion": 1.5}, "portion"),
        ({"portion": float("nan")}, "portion"),
        ({"attack": "apgd"}, "give an attack"),
        ({"attack": APGD}, "give an attack"),
    ],
)
def test_bad_stages_are_refused(settings, message):
    with pytest.raises(hb.InputError, match=message):
        Stage(**{"attack": SHORT} | settings)


def test_passes_of_a_stage():
    assert Stage(attack=SHORT).passes() == 21
    assert Stage(attack=APGD(steps=10, restarts=3)).passes() == 63
    targeted = APGD(steps=10, targets=9)
    assert Stage(attack=targeted).passes(classes=10) == 9 * 21
    assert Stage(attack=targeted).passes(classes=2) == 21
    assert Stage(attack=SHORT, portion=0.5).passes() == 10.5
    assert Stage(attack=SHORT, carry=True).passes() == 0
    assert Stage(attack=Square(steps=10)).passes() == 11


def test_passes_of_a_suite_with_and_without_escalation():
    rows = {
        "always": SHORT,  # 21
        "only": Stage(attack=APGD(steps=5), threats=("l1",)),  # 11, one threat
        "unmasked": Stage(attack=APGD(steps=1), when="unmasked"),  # 3
        "masked": Stage(attack=APGD(steps=100), when="masked"),  # 201
        "carried": Stage(attack=APGD(steps=100), carry=True),
    }
    suite = Suite("s", 1, "for a test", rows)
    assert suite.passes(BALLS) == (3 * 21 + 11 + 3 * 3, 3 * 21 + 11 + 3 * 201)
    two = hb.Union(threat("affine(linf:0.1,l1:1)")).parts
    assert suite.passes(two)[0] == two[0].variants * (21 + 3)


def test_the_order_is_stage_by_stage():
    rows = {"a": SHORT, "b": Stage(attack=SHORT, threats=("-l2",))}
    found = [(str(t), name) for t, name, _ in Suite("s", 1, "", rows).schedule(BALLS)]
    assert found == [("linf:0.1", "a"), ("l2:0.4", "a"), ("l1:1", "a"),
                     ("linf:0.1", "b"), ("l1:1", "b")]  # fmt: skip


@pytest.mark.parametrize("options", [{"threats": ("l1",)}, {"when": "masked"}])
def test_every_threat_needs_an_attack_that_is_always_run(options):
    suite = Suite("lacking", 1, "", {"a": Stage(attack=SHORT, **options)})
    with pytest.raises(hb.InputError, match=r"lacking holds no attack for linf:0\.1"):
        suite.schedule(BALLS)


def test_about_tells_settings_that_are_not_defaults():
    assert Stage(attack=APGD(steps=7)).about() == "APGD(steps=7)"
    stage = Stage(attack=APGD(steps=7, soften=0.1), when="masked", portion=0.05, threats=("-l1",))
    told = stage.about()
    assert told.startswith("APGD(steps=7, soften=0.1); for -l1; ")
    assert "5%" in told
    assert "masked" in told
    assert "another threat" in Stage(attack=SHORT, carry=True).about()


def test_share_of_the_attack_is_another_setting():
    """Square's windows and a stage's portions are different things."""
    one = Stage(attack=Square(steps=9, share=0.3), portion=0.5).describe()
    assert (one["share"], one["portion"]) == (0.3, 0.5)
    assert "portion" not in Stage(attack=SparseL1Descent(steps=9)).describe()
    assert not set(Stage(attack=SHORT).describe()) & {"when", "carry", "threats", "portion"}
    assert Stage(attack=SHORT, carry=True, when="masked").describe()["when"] == "masked"
