"""What all strategies share."""

import torch

from hauberk.train.strategies.base import divergence


def test_divergence_in_closed_form_and_at_infinite_logits():
    one, two = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    expected = 0.9 * torch.tensor(1.8).log() + 0.1 * torch.tensor(0.2).log()
    assert torch.isclose(divergence(one, two), expected).all()
    assert divergence(one, one).item() == 0
    sure = torch.tensor([[torch.inf, -torch.inf]])
    assert divergence(sure, sure).item() == 0
    assert torch.isclose(divergence(sure, two), torch.tensor(2.0).log()).all()
