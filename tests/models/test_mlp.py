"""The perceptron."""

import pytest
import torch

from hauberk import models
from hauberk.errors import InputError


def test_mlp_sizes():
    assert models.MLP((6, 3))(torch.rand(4, 2, 3)).shape == (4, 3)
    with pytest.raises(InputError, match="at least two"):
        models.MLP((6,))
