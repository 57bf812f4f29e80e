"""LPA and Fast-LPA: the price of leaving the threat."""

import pytest
import torch
from helpers.perceptual import ellipsoid, linear, middle, shear

from hauberk import InputError
from hauberk.attacks.lpa import LPA, FastLPA
from hauberk.threats.measured import Measured


def test_a_plain_price_is_that_of_the_authors_and_of_one_unit():
    model, x = linear(), middle()
    y = model(x).argmax(1)

    def points(unit, **options):
        threat = Measured(ellipsoid(shear() * unit), 0.3 * unit)
        return LPA(steps=30, **options)(model, x, y, threat, stop=False).points

    assert torch.allclose(points(1.0), points(2.0**-10), atol=1e-5)
    plain = {"relative": False, "price": 0.01}
    assert not torch.allclose(points(1.0, **plain), points(2.0**-10, **plain), atol=1e-2)


def test_points_outside_fool_nobody():
    """A price of nearly nothing: the attack walks out, and only its start lies inside."""
    model, x = linear(), middle()
    y = model(x).argmax(1)
    threat = Measured(ellipsoid(shear()), 0.2)
    out = FastLPA(price=1e-9, step_share=20.0, relative=False)(model, x, y, threat, stop=True)
    assert threat.contains(x, out.points).all()
    assert torch.equal(out.fooled, model(out.points).argmax(1) != y)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LPA(outer=0), "outer is 0"),
        (lambda: LPA(steps=3, outer=4), "outer is 4"),
        (lambda: LPA(step_share=0.0), "step_share"),
        (lambda: LPA(price=float("nan")), "price"),
        (lambda: FastLPA(outer=2), "use LPA"),
        (lambda: LPA(loss="nonsense"), "unknown loss"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()
