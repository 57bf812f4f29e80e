"""The settings of every kind and severity are those of CIFAR-10-C, written here once more."""

import pytest

from hauberk.data.corruptions import KINDS, SEVERITIES

# By kind, and by setting, its values at the severities 1 to 5.
PUBLISHED = {
    "gaussian_noise": [(0.04, 0.06, 0.08, 0.09, 0.10)],
    "shot_noise": [(500, 250, 100, 75, 50)],
    "impulse_noise": [(0.01, 0.02, 0.03, 0.05, 0.07)],
    "defocus_blur": [(0.3, 0.4, 0.5, 1, 1.5), (0.4, 0.5, 0.6, 0.2, 0.1)],
    "glass_blur": [(0.05, 0.25, 0.4, 0.25, 0.4), (1, 1, 1, 2, 2)],
    "motion_blur": [(6, 6, 6, 8, 9), (1, 1.5, 2, 2, 2.5)],
    "zoom_blur": [(1.06, 1.11, 1.16, 1.21, 1.26)],
    "snow": [
        (0.1, 0.1, 0.15, 0.25, 0.3),
        (0.2, 0.2, 0.3, 0.3, 0.3),
        (1, 1, 1.75, 2.25, 1.25),
        (0.6, 0.5, 0.55, 0.6, 0.65),
        (8, 10, 10, 12, 14),
        (3, 4, 4, 6, 12),
        (0.95, 0.9, 0.9, 0.85, 0.8),
    ],
    "frost": [(1, 1, 0.9, 0.85, 0.75), (0.2, 0.3, 0.4, 0.4, 0.45)],
    "fog": [(0.2, 0.5, 0.75, 1, 1.5), (3, 3, 2.5, 2, 1.75)],
    "brightness": [(0.05, 0.1, 0.15, 0.2, 0.3)],
    "contrast": [(0.75, 0.5, 0.4, 0.3, 0.15)],
    "elastic_transform": [
        (0, 0.05, 0.08, 0.1, 0.1),
        (0, 0.2, 0.06, 0.04, 0.03),
        (0.08, 0.07, 0.06, 0.05, 0.03),
    ],
    "pixelate": [(0.95, 0.9, 0.85, 0.75, 0.65)],
    "jpeg_compression": [(80, 65, 58, 50, 40)],
}


def test_the_fifteen_kinds():
    assert list(KINDS) == list(PUBLISHED)
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_settings_of_the_severities(kind):
    assert list(zip(*KINDS[kind].settings, strict=True)) == PUBLISHED[kind]
