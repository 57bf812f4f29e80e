"""Compositions, and transforms applied with a probability."""

import math

import torch

from hauberk.maths.rng import Draws
from hauberk.transforms import (
    Brightness,
    Compose,
    FlipH,
    FlipV,
    Gamma,
    Rotate,
    Sometimes,
)


def images(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_compose_goes_from_left_to_right():
    x = images(1, 1, 4, 4)
    both = Compose(Brightness(0.1), Gamma(2))
    assert torch.allclose(both(x), (x + 0.1) ** 2)
    assert not both.random
    nested = Compose(Compose(FlipH(), Rotate(90)), FlipV())
    assert nested == Compose(FlipH(), Compose(Rotate(90), FlipV()))
    assert len(nested.parts) == 3
    own = Compose(torch.sin, Brightness(0.1))
    assert torch.equal(own(x), x.sin() + 0.1)


def squares(n, side=8, dtype=torch.float64):
    return torch.rand(n, 3, side, side + 2, dtype=dtype, generator=torch.Generator().manual_seed(1))


def streams(ids, seed=5):
    return Draws.of(seed, torch.as_tensor(ids))


def test_never_and_always():
    x = squares(50)
    for draws in (None, streams(range(50))):
        assert torch.equal(Sometimes(FlipH(), 0)(x, draws), x)
        assert torch.equal(Sometimes(FlipH(), 1)(x, draws), x.flip(3))


def test_sometimes_takes_whole_images_at_its_rate():
    n = 4000
    x = torch.zeros(n, 2)
    moved = Sometimes(Brightness(1.0), 0.8)(x, streams(range(n)))
    assert set(moved.sum(1).tolist()) == {0.0, 2.0}
    # Five standard errors; the draws are fixed by their seed, so this cannot fail by luck.
    assert abs(moved[:, 0].mean() - 0.8) < 5 * math.sqrt(0.16 / n)


def test_the_coin_tells_nothing_about_what_it_covers():
    x = squares(400)
    half = Sometimes(Sometimes(FlipH(), 0.5), 0.5)(x, streams(range(400)))
    flipped = (half != x).flatten(1).any(1).double().mean()
    assert abs(flipped - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 400)  # one coin twice: 0.5


def test_parts_of_a_composition_draw_on_their_own():
    x = torch.zeros(400, 1)
    coin = Sometimes(Brightness(1.0), 0.5)
    total = Compose(coin, coin)(x, streams(range(400)))
    assert set(total.flatten().tolist()) == {0.0, 1.0, 2.0}
