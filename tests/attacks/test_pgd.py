"""Projected gradient ascent, FGSM and sparse descent: their steps and starts."""

from math import cos, pi

import numpy as np
import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, above
from helpers.oracles import queries
from torch import nn

from hauberk import InputError
from hauberk.attacks import (
    FGSM,
    PGD,
    SparseL1Descent,
)
from hauberk.threats import L1, L2, Linf


def asked_by(*args, **options):
    return torch.stack(queries(*args, **options))


def data(n=12, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


def test_fgsm_is_one_step():
    model = Linear()
    x = data()
    y = model(x).argmax(1)
    g = (
        torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
        * (model.weight[:, 1] - model.weight[:, 0]).detach()
    )
    out = FGSM()(model, x, y, Linf(0.1), stop=False)
    torch.testing.assert_close(out.points, (x + 0.1 * g.sign()).clamp(0, 1))
    assert out.forwards.eq(2).all()
    assert out.backwards.eq(1).all()
    x = x * 0 + 0.5
    out = FGSM()(model, x, y, L2(0.1), stop=False)
    torch.testing.assert_close(out.points, x + 0.1 * g / g.norm(dim=1, keepdim=True))
    out = FGSM()(model, x, y, L1(0.1), stop=False)
    one = nn.functional.one_hot(g.abs().argmax(1), 20) * g.sign()
    torch.testing.assert_close(out.points, x + 0.1 * one)
    assert FGSM()(model, x, y, L2(0.1), seed=1, stop=False).points.equal(
        FGSM()(model, x, y, L2(0.1), seed=2, stop=False).points
    )


def test_pgd_takes_steps_of_the_size_given():
    model = Linear()
    x = torch.full((1, 20), 0.5)
    y = model(x).argmax(1)
    asked = asked_by(PGD(steps=5, step_size=0.03, random_start=False), Linf(0.1), model, x, y)
    lengths = (asked[1:] - asked[:-1]).abs().amax((1, 2))
    torch.testing.assert_close(lengths, torch.tensor([0.03, 0.03, 0.03, 0.01, 0.0]))
    asked = asked_by(PGD(steps=5, random_start=False), L2(0.5), model, x, y)
    torch.testing.assert_close((asked[1] - asked[0]).norm(), torch.tensor(0.25))
    asked = asked_by(PGD(steps=1, random_start=False), L2(0.5), model, x, y)
    torch.testing.assert_close((asked[1] - asked[0]).norm(), torch.tensor(0.5))
    asked = asked_by(
        PGD(steps=1, rule="gradient", step_size=0.01, loss="margin", random_start=False),
        L2(9.0), model, x, y,
    )  # fmt: skip
    g = (model.weight[:, 1] - model.weight[:, 0]).detach() * (1 - 2 * y)
    torch.testing.assert_close(asked[1] - asked[0], (0.01 * g).unsqueeze(0))


def test_random_starts_differ_and_are_inside():
    model = Linear()
    x, y = data(), torch.zeros(12, dtype=torch.int64)
    starts = [asked_by(PGD(steps=1), Linf(0.1), model, x, y, seed=s)[0] for s in (0, 0, 1)]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    assert (starts[0] != x).any(1).all()
    both = asked_by(PGD(steps=1, restarts=2), Linf(0.1), model, x, y)[0]
    assert torch.equal(both[:12], starts[0])
    assert not torch.equal(both[12:], both[:12])


def test_momentum_is_the_decayed_sum_of_normalised_gradients():
    x, y = torch.tensor([[0.5]]), torch.tensor([0])
    # Its gradient points up, then (beyond 0.55) hard down.
    turning = above(0.0, lambda x: torch.where(x < 0.55, x, -0.5 * x).sum(1))
    common = {"loss": "margin", "steps": 4, "step_size": 0.02, "random_start": False}
    plain = asked_by(PGD(**common), Linf(0.2), turning, x, y).flatten()
    torch.testing.assert_close(plain, torch.tensor([0.5, 0.52, 0.54, 0.56, 0.54]))
    # velocities 1, 2, 3, then 3 - 1 = 2: goes on; with decay 0.25: 0.328 - 1 turns back
    on = asked_by(PGD(momentum=1.0, **common), Linf(0.2), turning, x, y).flatten()
    torch.testing.assert_close(on, torch.tensor([0.5, 0.52, 0.54, 0.56, 0.58]))
    back = asked_by(PGD(momentum=0.25, **common), Linf(0.2), turning, x, y).flatten()
    torch.testing.assert_close(back, plain)


def test_sparse_descent_draws_a_share_for_every_attempt():
    model = Linear(features=200)
    x = torch.full((30, 200), 0.5)
    y = model(x).argmax(1)
    asked = asked_by(SparseL1Descent(steps=2, restarts=2), L1(1.0), model, x, y)
    moved = (asked[1] != asked[0]).sum(1)
    assert moved.min() >= 1
    assert moved.max() <= 40
    assert len(moved.unique()) > 10
    assert not torch.equal(moved[:30], moved[30:])
    fixed = asked_by(SparseL1Descent(steps=2, share=0.05), L1(1.0), model, x, y)
    assert ((fixed[1] != fixed[0]).sum(1) == 10).all()
    length = (fixed[1] - fixed[0]).abs().sum(1)
    torch.testing.assert_close(length, torch.ones(30), rtol=1e-4, atol=0)
    one = asked_by(PGD(steps=2, random_start=False), L1(1.0), model, x, y)
    assert ((one[1] != one[0]).sum(1) == 1).all()


def test_sparse_descent_moves_what_is_at_or_above_numpys_percentile():
    """79 of 784 at q = 0.9: their 90th percentile lies between the 78th and the 79th largest."""
    model = Linear(features=784)
    x, y = torch.full((3, 784), 0.5), torch.zeros(3, dtype=torch.int64)
    asked = asked_by(SparseL1Descent(steps=1, share=0.1), L1(1.0), model, x, y)
    g = (model.weight[:, 1] - model.weight[:, 0]).detach().abs().numpy()
    above_it = g >= np.percentile(g, 90)
    assert above_it.sum() == 79
    assert ((asked[1] != asked[0]).numpy() == above_it).all()


def test_a_cosine_schedule_ends_at_nothing():
    model = Linear(dtype=torch.float64)
    x = torch.full((2, 20), 0.5, dtype=torch.float64)
    y = model(x).argmax(1)
    expected = torch.tensor([0.08 * (1 + cos(pi * t / 5)) / 2 for t in range(5)])
    for given in ({"step_size": 0.08}, {"step_share": 0.008}):
        attack = PGD(steps=5, schedule="cosine", random_start=False, **given)
        asked = asked_by(attack, Linf(10.0), model, x, y, box=(-99, 99))
        lengths = (asked[1:] - asked[:-1]).abs().amax((1, 2))
        torch.testing.assert_close(lengths.float(), expected)
    one, many = (
        PGD(steps=5, schedule="cosine", restarts=3)(
            model, x, y, Linf(0.01), batch_size=size, stop=False
        )
        for size in (2, 64)
    )
    torch.testing.assert_close(one.points, many.points)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match="unknown schedule 'linear': choose constant or cosine"):
        PGD(schedule="linear")
