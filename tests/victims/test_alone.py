"""Models that depend on the batch, shown each example alone."""

import torch
from torch import nn

from hauberk.victims.alone import Alone
from hauberk.victims.victim import Victim


class Centred(nn.Module):
    def forward(self, x):
        z = x.flatten(1)
        return torch.relu(z - 0.9 * z.mean(0)).square()


def test_each_row_is_that_of_a_batch_of_one_with_its_gradient_and_passes():
    x = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(0))
    victim, plain = Alone(Centred()), Victim(Centred())
    expected = torch.cat([plain.predict(row) for row in x.split(1)])
    assert torch.equal(victim.predict(x), expected)
    assert not torch.allclose(plain.predict(x), expected)
    assert victim.forwards == 5
    for soften in (0.0, 0.1):
        u = x.clone().requires_grad_(True)
        grad = victim.gradient(victim.logits(u, soften)[:, 0].sum(), None, u)
        assert victim.logits(u, soften).detach().equal(expected)
        for row in range(5):
            v = x[row : row + 1].clone().requires_grad_(True)
            alone = plain.gradient(plain.logits(v, soften)[:, 0].sum(), None, v)
            assert torch.allclose(grad[row], alone[0])
    assert victim.predict(x[:0]).shape[0] == 0
