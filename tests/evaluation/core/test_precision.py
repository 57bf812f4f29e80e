"""Full precision holds inside the block, and what was set before comes back."""

import torch

from hauberk.evaluation.core.precision import full_precision


def test_autocast_is_off_inside():
    x = torch.rand(4, 4)
    with torch.autocast("cpu"), full_precision(torch.device("cpu")):
        assert (x @ x).dtype == torch.float32
