"""Whether softening leaves the logits as they are."""

import torch
import torch.nn.functional as F
from helpers.models import TwoLayers
from torch import nn

from hauberk.victims.softening_check import gap, stiffness
from hauberk.victims.victim import Victim


class Purifying(TwoLayers):
    """Takes a step down the gradient of an energy before it decides."""

    def forward(self, x):
        with torch.enable_grad():
            z = x.detach().flatten(1).requires_grad_(True)
            energy = F.relu(z @ self.first - 0.5).sum()
            (slope,) = torch.autograd.grad(energy, z)
        return super().forward(x.flatten(1) - 0.1 * slope.detach())


def look(model, x):
    victim = Victim(model)
    return stiffness(victim, x, seed=0), victim.stiff


def test_a_model_that_softens_is_no_matter():
    x = torch.rand(4, 6)
    assert look(TwoLayers(6, 12, activation=F.relu), x) == (None, None)
    assert look(nn.Linear(6, 3), x) == (None, None)


def test_gradients_on_the_way_are_noted():
    told, why = look(Purifying(6, 12, activation=F.relu), torch.rand(4, 6))
    assert "computes gradients on the way" in why
    assert told.startswith("the model cannot be looked into (softened gradients change its output")


def test_gaps_between_the_endless():
    a, b = (
        torch.tensor([torch.inf, torch.nan, 1.0, 1.0]),
        torch.tensor([torch.inf, torch.nan, torch.nan, 3]),
    )
    assert gap(a, b).tolist() == [0, 0, torch.inf, 2]
