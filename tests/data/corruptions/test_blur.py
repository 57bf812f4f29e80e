"""Blur, pixel by pixel and by scipy."""

import math

import numpy as np
import pytest
import torch
from helpers.data import draws, scenes
from scipy import ndimage

from hauberk.data.corruptions import Corruption
from hauberk.data.corruptions import blur as b

X = scenes(2).double()


@pytest.mark.parametrize(
    ("radius", "smooth"), [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]
)
def test_the_disk_is_even_and_smoothed(radius, smooth):
    kernel = b.disk(radius, smooth)
    assert float(kernel.sum()) == pytest.approx(1)
    line = np.arange(-8, 9)
    flat = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    bell = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * smooth**2))
    bell /= bell.sum()
    wanted = ndimage.convolve(flat / flat.sum(), np.outer(bell, bell), mode="constant")
    inside = 8 - len(kernel) // 2
    assert np.allclose(kernel, wanted[inside : 17 - inside, inside : 17 - inside])
    assert wanted.sum() == pytest.approx(float(kernel.sum()))


def test_defocus_is_the_mean_over_the_disk():
    found = b.defocus_blur(X, draws(2), 1.5, 0.1)
    for c in range(3):
        wanted = ndimage.correlate(X[1, c].numpy(), b.disk(1.5, 0.1).numpy(), mode="mirror")
        assert np.allclose(found[1, c], wanted)


@pytest.mark.parametrize(("sigma", "times"), [(0.05, 1), (0.4, 1), (0.4, 2)])
def test_glass_takes_pixels_from_next_to_them(sigma, times):
    found = b.glass_blur(X, draws(2), sigma, times)

    def smooth(a):
        return np.stack([ndimage.gaussian_filter(p, sigma, mode="nearest") for p in a])

    for i in range(2):
        x = np.floor(smooth(X[i].numpy()) * 255 + 1e-6)
        for time in range(times):
            move = draws(2).integers(time, (2, 32, 32), 2)[i].numpy() - 1
            for h in range(31, 1, -1):  # from the end, so that what is taken has not changed yet
                for w in range(31, 1, -1):
                    x[:, h, w] = x[:, h + move[1, h, w], w + move[0, h, w]]
        assert np.allclose(found[i], smooth(x / 255))


def test_glass_moves_both_ways_equally_often():
    x = torch.arange(1024.0).view(1, 1, 32, 32) / 1024
    x = torch.cat((x, x.transpose(2, 3)), 1).repeat(20, 1, 1, 1).double()
    ahead = (x - b.glass_blur((x * 255).round() / 255, draws(20), 0.05, 1))[..., 2:, 2:]
    # A step up is 32 of these shades, a step to the left is one: rounding hides the latter.
    assert float(ahead[:, 0].mean() * 32) == pytest.approx(0.5, abs=0.06)
    assert float(ahead[:, 1].mean() * 32) == pytest.approx(0.5, abs=0.06)
    edge = b.glass_blur(X, draws(2), 0.05, 1)
    assert torch.allclose(edge[..., :2, :], X[..., :2, :], atol=1e-6)
    assert torch.allclose(edge[..., :2], X[..., :2], atol=1e-6)


def motion_by_hand(x, degrees, radius, sigma):
    """ImageMagick's motion blur of one channel (H, W), pixel by pixel."""
    width = 2 * radius + 1
    weights = [math.exp(-i * i / (2 * sigma**2)) for i in range(width)]
    found = np.zeros_like(x)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i, weight in enumerate(weights):
                dx = math.ceil(i * math.cos(math.radians(degrees)) - 0.5)
                dy = math.ceil(i * math.sin(math.radians(degrees)) - 0.5)
                at = min(max(r + dy, 0), x.shape[0] - 1), min(max(c + dx, 0), x.shape[1] - 1)
                found[r, c] += weight * x[at]
    return found / sum(weights)


@pytest.mark.parametrize(
    ("degrees", "radius", "sigma"), [(30, 6, 1), (-100.5, 10, 4), (0, 8, 2), (-70, 14, 12)]
)
def test_motion_is_half_a_gaussian_along_a_line(degrees, radius, sigma):
    both = torch.tensor([degrees, 77], dtype=torch.float64)
    found = b.moved(X[:, :1], both, radius, sigma)
    for i, angle in enumerate(both.tolist()):
        wanted = motion_by_hand(X[i, 0].numpy(), angle, radius, sigma)
        assert np.abs(found[i, 0].numpy() - wanted).max() <= 0.5 / 255 + 1e-9
    assert torch.equal((found * 255).round() / 255, found)


def test_motion_keeps_within_45_degrees():
    x = torch.zeros(300, 1, 33, 33, dtype=torch.float64)
    x[:, :, 16, 16] = 1
    found = b.motion_blur(x, draws(300), 6, 2)[:, 0] * 255
    line = torch.arange(33.0, dtype=torch.float64) - 16
    mass = found.sum((1, 2))
    down = (found.sum(2) * line).sum(1) / mass
    right = (found.sum(1) * line).sum(1) / mass
    # The pixel's light is found where a line that starts there leads back to it: to the left.
    assert (right < 0).all()
    degrees = torch.rad2deg(torch.atan2(down, right.abs()))
    assert degrees.abs().max() < 47
    assert degrees.max() > 40
    assert degrees.min() < -40


@pytest.mark.parametrize(("last", "severity"), [(1.06, 1), (1.26, 5)])
def test_zoom_blur_is_a_mean_of_zooms(last, severity):
    x = X[0].numpy()
    factors = np.arange(1, last, 0.01)
    total = x.copy()
    for factor in factors:
        kept = int(np.ceil(32 / factor))
        top = (32 - kept) // 2
        part = x[:, top : top + kept, top : top + kept]
        wide = ndimage.zoom(part, (1, factor, factor), order=1)
        cut = (wide.shape[1] - 32) // 2
        total += wide[:, cut : cut + 32, cut : cut + 32]
    wanted = total / (len(factors) + 1)
    assert np.allclose(b.zoom_blur(X, draws(2), last)[0], wanted)
    found = Corruption("zoom_blur", severity)(X[:1].float())[0].numpy() * 255
    assert np.abs(found - np.floor(wanted * 255 + 1e-6)).max() < 1e-3


def test_cutting_to_bytes_is_no_rounding():
    levels = torch.arange(256, dtype=torch.float64) / 255
    assert torch.equal(b.cut(levels), levels)
    assert torch.equal(b.cut(levels[:-1] + 0.99 / 255), levels[:-1])
    assert b.cut(torch.tensor([-0.2, 1.3])).tolist() == [0, 1]
