"""Snow, frost and fog against the same by hand, from the same random numbers."""

import numpy as np
import pytest
import torch
from helpers.data import draws, scenes
from scipy import ndimage

from hauberk.data.corruptions import KINDS
from hauberk.data.corruptions import weather as w
from hauberk.data.corruptions.blur import moved

X = scenes(3).double()


@pytest.mark.parametrize("severity", [1, 4])
def test_snow_by_hand(severity):
    mean, scale, size, least, radius, sigma, kept = KINDS["snow"].settings[severity - 1]
    found = w.snow(X, draws(3), mean, scale, size, least, radius, sigma, kept)
    for i in range(3):
        layer = mean + scale * draws(3).normal(0, (32, 32), torch.float64)[i].numpy()
        kept_side = int(np.ceil(32 / size))
        top = (32 - kept_side) // 2
        layer = ndimage.zoom(layer[top : top + kept_side, top : top + kept_side], size, order=1)
        cut = (len(layer) - 32) // 2
        layer = layer[cut : cut + 32, cut : cut + 32]
        layer[layer < least] = 0
        layer = np.floor(np.clip(layer, 0, 1) * 255 + 1e-6) / 255
        angle = -135 + 90 * draws(3).uniform(1, (), torch.float64)[i : i + 1]
        layer = moved(torch.from_numpy(layer)[None, None], angle, radius, sigma)[0, 0].numpy()
        x = X[i].numpy()
        grey = 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]
        white = kept * x + (1 - kept) * np.maximum(x, grey * 1.5 + 0.5)
        assert np.allclose(found[i], white + layer + np.rot90(layer, 2))


def test_snow_falls_steeply():
    angles = draws(300).uniform(1, (), torch.float64) * 90 - 135
    assert angles.min() > -135
    assert angles.max() < -45


def plasma_by_hand(uniform, side, decay):
    """The diamond-square clouds of one image, point by point; ``uniform(level)`` is (3, n, n)."""
    field, step, size, level = {(0, 0): 0.0}, side, 1.0, 0
    while step > 1:
        half, noise = step // 2, size * (2 * uniform(level) - 1)
        places = [(i, j) for i in range(side // step) for j in range(side // step)]
        corner = {p: field[p[0] * step, p[1] * step] for p in places}
        n = side // step
        middle = {}
        for i, j in places:
            four = [corner[(i + a) % n, (j + b) % n] for a in (0, 1) for b in (0, 1)]
            middle[i, j] = sum(four) / 4 + noise[0, i, j]
        for i, j in places:
            ends = corner[i, j] + corner[i, (j + 1) % n]
            sides = middle[i, j] + middle[(i - 1) % n, j]
            field[i * step, j * step + half] = (ends + sides) / 4 + noise[1, i, j]
            ends = corner[i, j] + corner[(i + 1) % n, j]
            sides = middle[i, j] + middle[i, (j - 1) % n]
            field[i * step + half, j * step] = (ends + sides) / 4 + noise[2, i, j]
            field[i * step + half, j * step + half] = middle[i, j]
        step, size, level = half, size / decay**2, level + 1
    clouds = np.array([[field[i, j] for j in range(side)] for i in range(side)])
    return (clouds - clouds.min()) / (clouds.max() - clouds.min())


@pytest.mark.parametrize("decay", [3, 1.75])
def test_plasma_by_hand(decay):
    found = w.plasma(draws(2), 16, 16, decay)
    for i in range(2):

        def uniform(level, i=i):
            n = 2**level
            return draws(2).uniform(level, (3, n, n), torch.float64)[i].numpy()

        assert np.allclose(found[i], plasma_by_hand(uniform, 16, decay))
    # An image of other sides sees a part of the next larger one.
    assert torch.equal(w.plasma(draws(2), 10, 13, decay), found[:, :10, :13])


def test_fog_keeps_the_brightest_value_in_reach():
    found = w.fog(X, draws(3), 0.75, 2.5)
    clouds = w.plasma(draws(3), 32, 32, 2.5).numpy()
    for i in range(3):
        x, top = X[i].numpy(), X[i].numpy().max()
        assert np.allclose(found[i], (x + 0.75 * clouds[i]) * top / (top + 0.75))


def test_fog_of_the_same_image_is_thicker_in_places():
    grey = torch.full((1, 1, 32, 32), 0.5, dtype=torch.float64)
    found = w.fog(grey, draws(1), 1.5, 1.75)
    assert float(found.min()) == pytest.approx(0.5 * 0.5 / 2)
    assert float(found.max()) == pytest.approx(0.5)


def test_frost_adds_a_texture_of_its_own_to_each_image():
    black = torch.zeros(8, 3, 32, 32, dtype=torch.float64)
    ice = w.frost(black, draws(8), 0.75, 1.0)
    assert ice.min() >= 0
    assert ice.max() <= 1
    assert 0.3 < ice.mean() < 0.8
    assert (ice.std((2, 3)) > 0.05).all()
    assert (ice[:, 2] >= ice[:, 1]).all()  # bluish
    assert (ice[:, 1] >= ice[:, 0]).all()
    assert not torch.equal(ice[0], ice[1])
    found = w.frost(X, draws(3), 0.75, 0.45)
    assert torch.allclose(found, 0.75 * X + 0.45 * ice[:3])


def test_frost_on_grey_images_is_grey():
    black = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    assert torch.equal(w.frost(black, draws(1), 1, 1), w.crystals(draws(1), 32, 32))
    assert w.crystals(draws(1), 32, 32).amax() <= 1
