"""Adaptive-norm PGD: exact along its direction, and within its radius."""

import pytest
import torch
from helpers.solving import BOX, inputs, labels, linear

from hauberk.solvers.anpgd import ANPGD


@pytest.mark.parametrize("eps", [None, 0.01, 5.0])
@pytest.mark.parametrize("start", [True, False])
def test_anpgd_is_exact_along_its_direction(eps, start):
    model, x = linear(classes=2), inputs(4, box=(-0.1, 0.1))
    y = labels(model, x)
    solver = ANPGD(steps=200, eps=eps, random_start=start, bisections=24)
    found = solver(model, x, y, "l2", box=(-9, 9))
    # From a random start, steps of 2.5 radii in all turn the direction most of the way only.
    off = 0.05 if start and eps else 1e-4
    torch.testing.assert_close(found.distance, model.radius(x, y, 2, (-9, 9)), rtol=off, atol=0)


def test_anpgd_draws_from_the_seed():
    model, x = linear(), inputs(4)
    y = labels(model, x)
    found = [
        ANPGD(eps=0.1, steps=3)(model, x, y, "l2", box=BOX, seed=s, batch_size=n).distance
        for s, n in [(0, None), (0, 1), (1, None)]
    ]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_anpgd_stays_within_eps_max():
    model, x = linear(classes=2), inputs(8, box=(-0.5, 0.5))
    true = model.radius(x, labels(model, x), 2, BOX)
    least, most = float(true.min()) * 0.5, float(true.median())
    solver = ANPGD(eps=least, eps_max=most * 1.01, random_start=False)
    found = solver(model, x, labels(model, x), "l2", box=BOX)
    assert torch.equal(found.fooled, true <= most)
