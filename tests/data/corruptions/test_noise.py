"""Noise against the moments and the distributions that it should have."""

import numpy as np
import pytest
import torch
from helpers.data import draws
from scipy import stats

from hauberk.data.corruptions import Corruption
from hauberk.data.corruptions.noise import gaussian_noise, impulse_noise, shot_noise


def level(value, n=30):
    return torch.full((n, 3, 32, 32), value / 255, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.04, 0.1])
def test_gaussian_noise_is_normal(scale):
    noise = (gaussian_noise(level(128), draws(30), scale) - level(128)).numpy().ravel()
    assert abs(noise.mean()) < 4 * scale / noise.size**0.5
    assert noise.std() == pytest.approx(scale, rel=0.01)
    assert stats.kstest(noise / scale, "norm").pvalue > 0.001


@pytest.mark.parametrize(("value", "photons"), [(3, 500), (128, 50), (255, 100), (77, 75)])
def test_shot_noise_counts_photons(value, photons):
    found = shot_noise(level(value), draws(30), photons).numpy().ravel() * photons
    mean = value / 255 * photons
    assert np.abs(found - found.round()).max() < 1e-9
    assert abs(found.mean() - mean) < 4 * (mean / found.size) ** 0.5
    assert found.var() == pytest.approx(mean, rel=0.03)
    # The share of every count, against scipy's probabilities.
    counts = np.bincount(found.round().astype(int))
    chance = stats.poisson.pmf(np.arange(len(counts)), mean)
    assert np.abs(counts / found.size - chance).max() < 0.01


def test_shot_noise_is_the_quantile_of_the_uniform_draw():
    x = torch.randint(0, 256, (2, 3, 8, 8)).double() / 255
    uniform = draws(2).uniform(0, x.shape[1:], torch.float64).numpy()
    wanted = stats.poisson.ppf(uniform, 75 * x.numpy())
    assert np.array_equal((shot_noise(x, draws(2), 75) * 75).round().numpy(), wanted)


def test_black_stays_black_under_shot_noise():
    assert not shot_noise(level(0), draws(30), 50).any()


def test_shot_noise_of_white_is_clipped():
    found = Corruption("shot_noise", 5)(torch.ones(4, 1, 32, 32))
    assert found.max() == 1
    assert 0.3 < (found == 1).double().mean() < 0.7


@pytest.mark.parametrize("share", [0.01, 0.07])
def test_impulse_noise_is_salt_and_pepper(share):
    x = level(100)
    found = impulse_noise(x, draws(30), share)
    n = x.numel()
    for value in (0, 1):
        hit = int((found == value).sum())
        assert abs(hit - n * share / 2) < 4 * (n * share / 2) ** 0.5
    assert ((found == 0) | (found == 1) | (found == x)).all()
    # Values are hit one by one, not pixels.
    assert ((found != x).sum(1) == 1).any()
