"""What is refused as a distance, before it is relied on."""

import pytest
import torch

from hauberk import InputError
from hauberk.threats.measured import Measured

X = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


def l2(x0, x):
    return (x - x0).flatten(1).norm(dim=1)


@pytest.mark.parametrize(
    ("distance", "says"),
    [
        (lambda x0, x: l2(x0, x) + torch.rand(len(x)), "changes between identical calls"),
        (lambda x0, x: -l2(x0, x), "is negative"),
        (lambda x0, x: l2(x0, x) + 1, "from an input to itself"),
        (lambda x0, x: l2(x0, x) * (1 + x.mean() * len(x)), "depends on the other inputs"),
        (lambda x0, x: x @ x0, "failed on inputs"),
    ],
)
def test_what_is_no_distance_is_refused(distance, says):
    with pytest.raises(InputError, match=says):
        Measured(distance, 0.1).at(X)


def test_a_distance_is_taken_in_the_types_that_it_takes():
    threat = Measured(l2, 0.1)
    threat.at(X)
    assert threat.dtypes == [torch.float64, torch.float32]
    single = torch.nn.Linear(4, 4)
    threat = Measured(lambda x0, x: l2(single(x0), single(x)), 0.1)
    threat.at(X)
    assert threat.dtypes == [torch.float32]
