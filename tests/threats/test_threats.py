"""One row for each public threat: what every threat must be, whatever its geometry."""

import pytest
import torch

from hauberk import attacks, threats
from hauberk.evaluation.accuracy.reading import read_suite
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.maths.rng import Draws
from hauberk.threats import (
    L0,
    L1,
    L2,
    Affine,
    Ball,
    Box,
    Each,
    FiniteSet,
    Linf,
    Lp,
    Measured,
    Metric,
    NamedLayers,
    Perceptual,
    RotationTranslation,
    Shared,
    Swaps,
    Threat,
    Trait,
    Union,
    Whole,
    threat,
)
from hauberk.threats.notation import grammar, is_kind, metric, traits_of


def distance(x0, x):
    return (x - x0).flatten(1).square().sum(1).add(1e-20).sqrt() - 1e-10


def flipped(x):
    return x.flip(-1)


# One row a threat: how text makes it ("threat", "metric", or None: Python only), and its traits.
ROWS = [
    (Linf(0.2), "threat", {Trait.BALL, Trait.BOX}),
    (L2(1.0), "threat", {Trait.BALL}),
    (L1(3.0), "threat", {Trait.BALL, Trait.SPARSE}),
    (L0(4), "threat", {Trait.BALL, Trait.DISCRETE}),
    (Lp(1.5, 2.0), "threat", {Trait.BALL}),
    (Ball(3.0, 1.0), "threat", {Trait.BALL}),
    (RotationTranslation(20, 1.5), "threat", {Trait.ENUMERABLE, Trait.RUGGED}),
    (Swaps(5), "threat", {Trait.ENUMERABLE, Trait.RUGGED}),
    (FiniteSet([flipped]), None, {Trait.ENUMERABLE, Trait.RUGGED}),
    (Affine(Linf(0.2), L1(3.0)), "threat", {Trait.MIXTURE}),
    (Measured(distance, 1.0), None, {Trait.EVALUATED}),
    (Perceptual(lambda x: x, 0.5), None, {Trait.EVALUATED}),
    (Each(Linf(0.2), L2(1.0)), "threat", {Trait.SEVERAL}),
    (Shared(Linf(0.2)), "threat", {Trait.SEVERAL}),
    (Shared(L2(1.0), clip=True), "threat", {Trait.SEVERAL}),
    (Metric(2.0), "metric", {Trait.DISTANCE}),
    (Metric(0.0), "metric", {Trait.DISTANCE, Trait.DISCRETE}),
]
WHOLE = (Union, Whole)
"""Made of threats: they have no kind of their own."""
NAMES = [str(row[0]) for row in ROWS]
each_row = pytest.mark.parametrize(("one", "text", "traits"), ROWS, ids=NAMES)


def images(one, n=3):
    x = torch.rand(n, 1, 5, 5, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    return x.unsqueeze(1).repeat(1, 2, 1, 1, 1) if one.grouped else x


def bound(one, n=3):
    return one.at(images(one, n), Box())


def test_every_public_threat_has_a_row():
    public = [getattr(threats, name) for name in threats.__all__]
    classes = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Threat)}
    # Layers by name are a threat once they are bound to a network: test_named_layers.py.
    assert classes - {Threat, NamedLayers, *WHOLE} == {type(one) for one, _, _ in ROWS}


@each_row
def test_text_makes_it_or_it_has_no_grammar(one, text, traits):
    if text == "threat":
        assert type(one).grammar in grammar()
        again = threat(str(one))
        assert (str(again), again) == (str(one), one)
    elif text == "metric":
        assert metric(str(one)) == one
    else:
        assert type(one).grammar == ""


@each_row
def test_kind_and_traits(one, text, traits):
    assert is_kind(one.kind)
    assert one.traits == traits
    if text != "metric":  # the notation of a metric is a kind of ball
        assert traits_of(str(one)) in (traits, frozenset())


@each_row
def test_a_suite_can_name_its_kind_and_traits(one, text, traits, tmp_path):
    words = [one.kind, *(trait.value for trait in one.traits)]
    for k, word in enumerate(words):
        file = tmp_path / f"{k}.yaml"
        file.write_text(f"attacks:\n  a: {{attack: PGD, threats: [{word}]}}\n"
                        f"  b: {{attack: PGD, threats: ['-{word}']}}\n")  # fmt: skip
        stages = read_suite(file).stages
        assert stages["a"].fits(one)
        assert not stages["b"].fits(one)
    other = L2(1.0) if one.kind != "l2" else Linf(1.0)
    assert not Stage(attack=attacks.PGD(), threats=(one.kind,)).fits(other)


def test_what_no_suite_can_name():
    for word in ("l", "l-1", "linf:0.3", "balls", "", "rt2"):
        assert not is_kind(word)


@each_row
def test_every_point_it_gives_lies_inside(one, text, traits):
    region, draws = bound(one), Draws.of(0, torch.arange(3), 0)
    start, random = region.start(), region.random(draws, 1)
    points = [start, random]
    if type(one) not in (FiniteSet, Swaps):  # a member moves to a member
        grad = torch.randn(start.shape, generator=torch.Generator().manual_seed(2))
        step = region.ascent(random.clone(), grad.to(start), 0.3, None)
        points.append(region.project_(step))
    for u in points:
        final = region.finalise(u.clone())
        x = region.decode(final)
        assert region.contains(x, region.witness(final)).all()
        assert (region.distance(x, region.witness(final)) <= region.radius * (1 + 1e-9)).all()


@each_row
def test_the_clean_input_is_at_distance_zero(one, text, traits):
    region = bound(one)
    u = region.start()
    assert torch.equal(region.decode(u).flatten(1), images(one).flatten(1)) or region.members
    assert (region.distance(region.decode(u), region.witness(u)) == 0).all()


@each_row
def test_rows_are_taken_and_joined(one, text, traits):
    region = bound(one)
    order = torch.tensor([2, 0, 1])
    back = region.take(order[:1]).join(region.take(order[1:])).take(torch.tensor([1, 2, 0]))
    u = region.random(Draws.of(0, torch.arange(3), 0), 1)
    assert torch.equal(back.project_(u.clone()), region.project_(u.clone()))
    assert torch.equal(back.radius, region.radius)


@each_row
def test_scaled_regions_are_those_of_scaled_threats(one, text, traits):
    half = one.scaled(0.5)
    assert type(half) in (type(one), Ball, Lp)
    assert half.kind == one.kind
    scaled = bound(one).scaled(torch.full((3,), 0.5, dtype=torch.float64))
    if one.kind not in ("rt", "affine", "each"):  # their size is relative: 1
        assert torch.allclose(scaled.radius, bound(half).radius)


@each_row
def test_no_row_at_all(one, text, traits):
    region = bound(one, 0)
    assert region.project_(region.start()).shape == region.start().shape
    assert region.random(Draws.of(0, torch.arange(0), 0), 1).shape == region.start().shape
