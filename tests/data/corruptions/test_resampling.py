"""Matrices of one axis against scipy's filters and Pillow's resizing."""

import numpy as np
import pytest
import torch
from helpers.data import scenes
from scipy import ndimage

from hauberk.data.corruptions import resampling as r

X = scenes(1, 1)[0, 0].double()


@pytest.mark.parametrize(("sigma", "truncate"), [(0.25, 4), (0.4, 4), (1.3, 3), (6.4, 3), (0, 3)])
@pytest.mark.parametrize(("mirror", "mode"), [(True, "reflect"), (False, "nearest")])
def test_smoothing_is_a_gaussian_filter(sigma, truncate, mirror, mode):
    matrix = r.smoothing(32, sigma, truncate, mirror)
    wanted = ndimage.gaussian_filter(X.numpy(), sigma, mode=mode, truncate=truncate)
    assert np.allclose(r.along_both(X, matrix, matrix), wanted, atol=1e-12)


@pytest.mark.parametrize("n", [8, 28, 31, 32])
@pytest.mark.parametrize("factor", [1, 1.01, 1.07, 1.25, 1.75, 2.25])
def test_zoom_is_the_middle_enlarged(n, factor):
    x = X[:n, :n].numpy()
    kept = int(np.ceil(n / factor))
    top = (n - kept) // 2
    wide = ndimage.zoom(x[top : top + kept, top : top + kept], factor, order=1)
    cut = (len(wide) - n) // 2
    wanted = wide[cut : cut + n, cut : cut + n]
    matrix = r.zoom(n, factor)
    assert np.allclose(r.along_both(X[:n, :n], matrix, matrix), wanted, atol=1e-12)


@pytest.mark.parametrize(("n", "out"), [(32, 30), (32, 20), (20, 32), (8, 5), (5, 8), (28, 28)])
def test_box_average_is_pillows(n, out):
    image = pytest.importorskip("PIL.Image")
    line = X[0, :n]
    picture = image.fromarray(line.numpy()[None].astype(np.float32), mode=None)
    wanted = np.array(picture.resize((out, 1), image.Resampling.BOX))[0]
    assert np.allclose(r.box_average(n, out) @ line, wanted, atol=1e-6)


@pytest.mark.parametrize(("repeat_edge", "mode"), [(True, "reflect"), (False, "mirror")])
def test_sampling_interpolates_linearly(repeat_edge, mode):
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.rand(2, 1, 32, 32, generator=generator, dtype=torch.float64) * 60 - 15
    found = r.sampled(X[None, None], rows, columns, repeat_edge)[0, 0]
    wanted = ndimage.map_coordinates(
        X.numpy(), [rows[0].numpy(), columns[0].numpy()], order=1, mode=mode
    )
    assert np.allclose(found, wanted, atol=1e-12)


def test_places_beyond_the_ends():
    line = torch.arange(-9, 14)
    pad = np.arange(5)
    for function, mode in ((r.symmetric, "symmetric"), (r.mirrored, "reflect")):
        assert np.array_equal(function(line, 5), np.pad(pad, 9, mode=mode))


def test_gathering():
    x = torch.rand(2, 3, 4, 5)
    rows, columns = torch.randint(0, 4, (2, 4, 5)), torch.randint(0, 5, (2, 4, 5))
    found = r.gathered(x, rows, columns)
    for b in range(2):
        assert torch.equal(found[b], x[b][:, rows[b], columns[b]])
