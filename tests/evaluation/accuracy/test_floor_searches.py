"""The floor's searches: which fit a threat, and how they grow with the passes."""

import pytest

import hauberk as hb
from hauberk.attacks import APGD, RandomSearch
from hauberk.evaluation.accuracy.floor_searches import SEARCHES, Search, fitting, sized
from hauberk.evaluation.accuracy.suites import Stage

BALLS = {"floor-targets", "floor-ce", "floor-soft", "floor-softer", "floor-dlr", "floor-square"}


def names(text, fits=lambda attack: True, **how):
    return set(fitting(hb.threat(text), fits, **how))


def test_a_threat_gets_what_is_for_it():
    assert names("linf:0.1") == names("l2:1") == BALLS
    assert names("l1:1") == names("l0:3") == BALLS | {"floor-pointwise"}
    assert names("rt:30,3") == BALLS - {"floor-square"} | {"floor-random"}
    assert "floor-mixture" in names("affine(linf:0.3,l1:10)")
    assert "floor-measured" in names("perceptual(2+4):0.5")
    assert names("l2:1", fits=lambda attack: isinstance(attack, APGD)) == BALLS - {"floor-square"}


def test_a_model_without_gradients_is_searched_without_or_through_softened_ones():
    soft = {"floor-soft", "floor-softer"}
    assert names("linf:0.1", gradients=False) == soft | {"floor-square"}
    assert names("l1:1", gradients=False) == soft | {"floor-square", "floor-pointwise"}
    assert names("rt:30,3", gradients=False) == soft | {"floor-random"}


@pytest.mark.parametrize("text", ["linf:0.1", "l1:1", "l0:3", "rt:30,3", "affine(linf:0.3,l1:10)"])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("passes", [500, 1200, 3000, 13000])
def test_together_they_spend_what_they_may(text, classes, passes):
    threat = hb.threat(text)
    rows = fitting(threat, lambda attack: True)
    made = sized(rows, threat, passes * threat.variants, classes)
    assert set(rows) - set(made) <= ({"floor-pointwise"} if passes < 3000 else set())
    each = {name: attack.passes * attack.attempts(classes) for name, attack in made.items()}
    assert 0.75 * passes < sum(each.values()) < 1.35 * passes
    shares = {name: rows[name].share for name in rows}
    total = sum(shares.values())
    if passes >= 3000:  # an attempt is small enough to keep the shares
        for name, spent in each.items():
            assert spent == pytest.approx(passes * shares[name] / total, rel=0.35), name


def test_what_is_too_long_for_its_share_is_left_out():
    rows = {name: SEARCHES[name] for name in ("floor-ce", "floor-pointwise")}
    assert list(sized(rows, hb.L1(1.0), 300, 10)) == ["floor-ce"]  # 240 passes, 100 its share
    assert list(sized(rows, hb.L1(1.0), 600, 10)) == ["floor-ce", "floor-pointwise"]
    alone = {"floor-pointwise": SEARCHES["floor-pointwise"]}
    assert list(sized(alone, hb.L1(1.0), 10, 10)) == ["floor-pointwise"]


def test_variants_of_a_threat_divide_the_passes():
    threat = hb.threat("affine(linf:0.3,l1:10)")
    rows = {"floor-ce": SEARCHES["floor-ce"]}
    spent = sized(rows, threat, 4000, 10)["floor-ce"]
    assert threat.variants > 1
    total = spent.passes * spent.attempts(10) * threat.variants
    assert total == pytest.approx(4000, rel=0.1)


def test_more_passes_buy_targets_then_starts_then_steps_then_restarts():
    search = Search(stage=Stage(attack=APGD(targets=9)), steps=(30, 100), starts=2)

    def at(passes, classes=10):
        attack = search.sized(passes, classes)
        return attack.targets, attack.steps, attack.restarts

    assert at(1) == (2, 30, 1)
    assert at(270) == (4, 30, 1)
    assert at(550) == (9, 30, 1)
    assert at(1080) == (9, 30, 2)
    assert at(2160) == (9, 59, 2)
    assert at(3640) == (9, 100, 2)
    assert at(9045) == (9, 100, 5)
    assert at(540, classes=3) == (2, 67, 2)
    samples = Search(stage=Stage(attack=RandomSearch())).sized(333, 10)
    assert (samples.samples, samples.restarts) == (333, 1)
