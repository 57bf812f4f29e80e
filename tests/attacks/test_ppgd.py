"""PPGD: the curvature of the features, and conjugate gradients on it."""

import pytest
import torch
from torch import nn

from hauberk import InputError
from hauberk.attacks.ppgd import PPGD, _curvature, solve
from hauberk.threats.perceptual import Perceptual


def test_conjugate_gradients_solve_each_row_and_stop_where_there_is_nothing():
    torch.manual_seed(0)
    root = torch.randn(3, 6, 6, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(6)
    b = torch.randn(3, 6, dtype=torch.float64)
    b[1] = 0
    x = solve(lambda v: (matrix @ v.unsqueeze(2)).squeeze(2), b, 12)
    assert torch.allclose(x, torch.linalg.solve(matrix, b), atol=1e-6)
    assert torch.equal(solve(torch.zeros_like, b, 3), b)


@pytest.mark.parametrize("p", [1, 2])
def test_curvature_is_that_of_the_features(p):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5)).double()
    x, v = torch.rand(4, 6).double(), torch.randn(4, 6).double()
    u = torch.rand(4, 6).double()
    region = Perceptual(net, 1.0, p=p).at(x)

    def unit(z):
        z = net(z)
        return z / (z.norm() + 1e-10)

    found = _curvature(region, u, 1e-5)(v)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(unit, u[i])
        assert torch.allclose(found[i], jacobian.T @ (jacobian @ v[i]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PPGD(step_share=-1.0), "step_share"),
        (lambda: PPGD(conjugate=0), "conjugate"),
        (lambda: PPGD(h=0.0), "h is 0"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()
