"""Light, places and pixels against numpy, scipy, colorsys and Pillow."""

import colorsys

import numpy as np
import pytest
import torch
from helpers.data import draws, scenes
from scipy import ndimage

from hauberk.data.corruptions import KINDS, Corruption
from hauberk.data.corruptions import digital as d

X = scenes(2).double()


@pytest.mark.parametrize("shift", [0.05, 0.3])
def test_brightness_raises_the_value_of_hsv(shift):
    x = X.clone()
    x[0, :, 0, 0] = 0
    x[0, :, 0, 1] = torch.tensor([1.0, 0.2, 0.4])
    found = d.brightness(x, draws(2), shift)
    for place in [(0, 0), (0, 1), (5, 9), (31, 2), (17, 17)]:
        red, green, blue = x[0, :, place[0], place[1]].tolist()
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        wanted = colorsys.hsv_to_rgb(hue, saturation, min(1, value + shift))
        assert np.allclose(found[0, :, place[0], place[1]], wanted)


def test_brightness_of_grey_images_is_a_shift():
    x = scenes(1, 1).double()
    assert torch.allclose(d.brightness(x, draws(1), 0.2), (x + 0.2).clamp(max=1))


@pytest.mark.parametrize("factor", [0.75, 0.15])
def test_contrast_about_the_mean_of_each_channel(factor):
    x = X[1].numpy()
    mean = x.mean((1, 2), keepdims=True)
    assert np.allclose(d.contrast(X, draws(2), factor)[1], (x - mean) * factor + mean)


@pytest.mark.parametrize("severity", [1, 2, 5])
@pytest.mark.parametrize("side", [32, 20])
def test_elastic_by_scipy(severity, side):
    x = scenes(2, side=side).double()
    size, smooth, corner = KINDS["elastic_transform"].settings[severity - 1]
    found = d.elastic_transform(x, draws(2), size, smooth, corner)
    y, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    for i in range(2):
        away, middle = side // 3, side // 2
        first = middle + np.array([[away, away], [away, -away], [-away, -away]])
        shift = corner * side * (2 * draws(2).uniform(0, (3, 2), torch.float64)[i].numpy() - 1)
        # Forward: the map that takes the three points (x, y) to where they move; then inverted.
        forward = np.linalg.solve(np.c_[first, np.ones(3)], first + shift).T
        inverse = np.linalg.inv(np.r_[forward, [[0, 0, 1]]])
        back = np.einsum("ij,jhw->ihw", inverse, np.stack([columns, y, np.ones_like(y)]))
        moved = [
            ndimage.map_coordinates(p, [back[1], back[0]], order=1, mode="mirror")
            for p in x[i].numpy()
        ]
        noise = 2 * draws(2).uniform(1, (2, side, side), torch.float64)[i].numpy() - 1
        dx, dy = (
            size * side * ndimage.gaussian_filter(p, smooth * side, mode="reflect", truncate=3)
            for p in noise
        )
        for c in range(3):
            wanted = ndimage.map_coordinates(
                moved[c], [y + dy, columns + dx], order=1, mode="reflect"
            )
            assert np.allclose(found[i, c], wanted)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixelate_is_pillows_box_filter(severity, channels):
    image = pytest.importorskip("PIL.Image")
    x = scenes(3, channels)
    found = Corruption("pixelate", severity)(x) * 255
    side = int(32 * KINDS["pixelate"].settings[severity - 1][0])
    for one, other in zip(x, found, strict=True):
        levels = (one * 255).round().byte().permute(1, 2, 0).squeeze(2).numpy()
        small = image.fromarray(levels).resize((side, side), image.Resampling.BOX)
        wanted = np.array(small.resize((32, 32), image.Resampling.BOX)).reshape(32, 32, channels)
        assert np.abs(other.permute(1, 2, 0).numpy() - wanted).max() < 1e-3


def test_pixelate_of_a_side_in_half():
    x = torch.arange(64.0, dtype=torch.float64).view(1, 1, 8, 8) / 255
    found = d.pixelate(x, draws(1), 0.5) * 255
    wanted = (x * 255).reshape(4, 2, 4, 2).mean((1, 3))
    # The mean of two columns is rounded up before that of two rows.
    wanted = torch.floor(torch.floor(wanted + 0.5 - 0.25) + 0.75)
    assert (found[0, 0, ::2, ::2] - found[0, 0, 1::2, 1::2]).abs().max() == 0
    assert (found[0, 0, ::2, ::2] - wanted).abs().max() <= 1


def test_eight_bits_rounds_halves_up():
    x = torch.tensor([0.0, 0.5, 1.49, 254.5, 255.0], dtype=torch.float64) / 255
    assert (d.eight_bits(x) * 255).round().tolist() == [0, 1, 1, 255, 255]
