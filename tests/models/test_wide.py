"""Wide residual networks."""

import pytest

from hauberk import models
from hauberk.errors import InputError


def test_the_default_of_wrn_28_4_is_that_of_mma_training():
    assert models.wrn_28_4().per_image
    assert not models.WideResNet(28, 4).per_image


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: models.WideResNet(27, 4), "6 n"),
        (lambda: models.WideResNet(4, 4), "6 n"),
        (lambda: models.WideResNet(10, 0), "widen"),
        (lambda: models.WideResNet(10, 1, 1), "2 or more"),
        (lambda: models.PreActResNet18(1), "2 or more"),
        (lambda: models.PreActResNet18(mean=[0.5], std=[0.2]), "3 channels"),
        (lambda: models.PreActResNet18(std=[0.2] * 3), "3 channels"),
        (lambda: models.PreActResNet18(mean=[0.5] * 3, std=[0.0] * 3), "above 0"),
        (
            lambda: models.WideResNet(10, 1, mean=[0.5] * 3, std=[1.0] * 3, per_image=True),
            "per image or per channel",
        ),
    ],
)
def test_what_cannot_be_built(make, says):
    with pytest.raises(InputError, match=says):
        make()
