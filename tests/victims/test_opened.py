"""Compiled and checkpointed parts: softened gradients are those of the same model without them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import checkpoint as module
from torch.utils.checkpoint import checkpoint

from hauberk.victims.softening_check import lost, stiffness
from hauberk.victims.victim import Victim


class Net(nn.Module):
    """A convolutional net the middle of which is run in some way."""

    def __init__(self, way=lambda net: net.middle):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.middle = nn.Sequential(
            nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        )
        self.last = nn.Linear(64, 3)
        self.run = way(self)

    def forward(self, x):
        return self.last(self.run(self.first(x)).flatten(1))


def own_forward(net):
    net.middle.forward = torch.compile(net.middle.forward, backend="eager")
    return net.middle


def in_place(net):
    net.middle.compile(backend="eager")
    return net.middle


def nested(net):
    return torch.compile(lambda z: checkpoint(net.middle, z, use_reentrant=False), backend="eager")


WAYS = {
    "module": lambda net: torch.compile(net.middle, backend="eager"),
    "aot": lambda net: torch.compile(net.middle, backend="aot_eager"),
    "forward": own_forward,
    "in place": in_place,
    "function": lambda net: torch.compile(lambda z: net.middle(z), backend="eager"),
    "reentrant": lambda net: lambda z: checkpoint(net.middle, z, use_reentrant=True),
    "not reentrant": lambda net: lambda z: checkpoint(net.middle, z, use_reentrant=False),
    "both": nested,
}


def images(n=4):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def gradient(victim, x, soften):
    with victim.held():
        u = x.clone().requires_grad_(True)
        logits = victim.logits(u, soften)
        return victim.gradient(logits[:, 0].sum(), None, u)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_the_part_itself(way):
    x = images()
    victim = Victim(Net(WAYS[way]).eval())
    # Compiling takes seconds, and is left out where gradients are exact.
    for soften in (0.1, 0.0) if "reentrant" in way else (0.1,):
        expected = gradient(Victim(Net().eval()), x, soften)
        assert expected.abs().sum() > 0
        assert torch.allclose(gradient(victim, x, soften), expected, atol=1e-6)
    if "reentrant" in way:
        assert stiffness(victim, x, 0) is None
    assert victim.stiff is None


def test_everything_is_as_it_was_afterwards():
    before = module.CheckpointFunction, module._checkpoint_without_reentrant_generator
    victim = Victim(Net(WAYS["reentrant"]).eval())
    for soften in (0.0, 0.1):
        gradient(victim, images(), soften)
    assert (module.CheckpointFunction, module._checkpoint_without_reentrant_generator) == before
    # Outside, the reentrant kind is what it is: it refuses gradients of the input alone.
    net = Net(WAYS["reentrant"]).eval()
    u = images().requires_grad_(True)
    with pytest.raises(RuntimeError, match="use_reentrant"):
        torch.autograd.grad(net(u).sum(), u)
    net(u).sum().backward()
    assert u.grad.abs().sum() > 0


def test_a_failing_part_fails_with_its_own_error():
    def fail(z):
        raise ValueError("mine")

    victim = Victim(Net(lambda net: lambda z: checkpoint(fail, z, use_reentrant=False)).eval())
    with pytest.raises(ValueError, match="mine"):
        gradient(victim, images(), 0.1)


def scaled(x, scale):
    """``x`` with its gradient times a number, which no rule of softening sees."""
    with torch._C.DisableTorchFunction():
        y = x.clone()
        y.register_hook(lambda grad: grad * scale)
        return y


@pytest.mark.parametrize(("scale", "word"), [
    (0.0, "zero, or no numbers"), (float("nan"), "zero, or no numbers"),
    (-1.0, "much less far"), (1.0, None), (0.5, None),
])  # fmt: skip
def test_softened_gradients_that_are_worse_than_exact_ones_are_our_failure(
    scale, word, monkeypatch
):  # fmt: skip
    """An undefended net must not look strong because softening lost its way."""
    victim, x = Victim(Net().eval()), images()
    read = victim._read

    def spoilt(model, given):
        soft = getattr(torch.overrides._get_current_function_mode(), "tau", 0)
        return read(model, scaled(given, scale) if soft else given)

    monkeypatch.setattr(victim, "_read", spoilt)
    said = stiffness(victim, x, 0)
    if word is None:
        assert said is None
        assert lost(victim, x, 0) is None
        return
    assert word in said
    assert "attacks use its own gradients only" in said
    expected = gradient(Victim(Net().eval()), x, 0.0)
    assert torch.allclose(gradient(victim, x, 0.1), expected)


def test_masked_gradients_are_still_seen_through():
    class Masked(Net):
        def forward(self, x):
            return super().forward((x * 8).round() / 8) + 0 * F.relu(x).flatten(1)[:, :3]

    victim, x = Victim(Masked().eval()), images()
    assert stiffness(victim, x, 0) is None
    assert gradient(victim, x, 0.0).abs().sum() == 0
    assert gradient(victim, x, 0.1).abs().sum() > 0
