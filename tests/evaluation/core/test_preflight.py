"""What is found out about a model before it is attacked."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import TwoLayers
from torch import nn

from hauberk import HauberkWarning, evaluate
from hauberk.attacks import APGD
from hauberk.evaluation.core.preflight import _change, preflight
from hauberk.maths.seeding import seeded
from hauberk.threats import Linf
from hauberk.victims.averaged import Averaged
from hauberk.victims.ensembles import Vote
from hauberk.victims.victim import Victim


class Net(TwoLayers):
    def __init__(self, dtype=torch.float32, classes=3):
        super().__init__(
            6, 12, classes, activation=F.relu, seed=0, dtype=dtype, drawn=torch.float32
        )


class Purifying(Net):
    """Takes a step down the gradient of an energy before it decides."""

    def forward(self, x):
        with torch.enable_grad():
            z = x.detach().flatten(1).requires_grad_(True)
            energy = F.relu(z @ self.first - 0.5).sum()
            (slope,) = torch.autograd.grad(energy, z)
        return super().forward(x.flatten(1) - 0.1 * slope.detach())


def data(n=9, shape=(6,), dtype=torch.float32):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def screened(model, x=None, y=None):
    """Warnings and the victim to attack."""
    x = data() if x is None else x
    y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
    victim = model if isinstance(model, Victim) else Victim(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HauberkWarning)
        found = preflight(victim, x, y)
    return found.warnings, found.victim


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_computes_gradients_on_the_way_is_attacked_plainly(dtype):
    model, x = Purifying(dtype), data(dtype=dtype)
    y = model(x).argmax(1)
    found, victim = screened(model, x, y)
    assert "computes gradients on the way" in victim.stiff
    assert "cannot be looked into (softened gradients change its output" in found[-1]
    assert "gradient-free" in found[-1]
    ask = x.clone().requires_grad_(True)
    assert torch.equal(victim.logits(ask, soften=0.1), model(x))
    with pytest.warns(HauberkWarning, match="cannot be looked into"):
        evaluate(model, x, y, Linf(0.1), suite=APGD(steps=1))


@pytest.mark.parametrize("shape", [(6,), (1, 2, 3)])
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("classes", [2, 3])
def test_an_ordinary_model_is_looked_into(shape, n, classes):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found, victim = screened(Net(dtype, classes), data(n, shape))
        assert type(victim) is Victim
        assert victim.stiff is None
        assert not [w for w in found if "looked into" in w or "changes" in w]


def test_a_random_model_is_compared_with_the_same_random_numbers():
    class Noisy(Net):
        def forward(self, x):
            return super().forward(x + 0.3 * torch.randn_like(x))

    class NoisyPurifying(Purifying):
        def forward(self, x):
            return super().forward(x + 0.3 * torch.randn_like(x))

    with seeded(0):
        found, victim = screened(Noisy())
        assert isinstance(victim, Averaged)
        assert victim.stiff is None
        assert [w for w in found if "mean probability over 10" in w]
        assert not [w for w in found if "torch's generators" in w]
        _, victim = screened(NoisyPurifying())
        assert isinstance(victim, Averaged)
        assert "on the way" in victim.stiff
        found, victim = screened(Vote([Noisy(), Net()]))
        assert victim.stiff is None
        assert [w for w in found if "cannot be repeated" in w and "torch's generators" not in w]


def test_random_numbers_from_elsewhere_are_warned_of():
    """Nothing seeds numpy's generators, so no run repeats."""

    class Numpy(Net):
        rng = np.random.default_rng(0)

        def forward(self, x):
            return super().forward(x) + float(self.rng.normal()) * x.new_tensor([1.0, 0.0, -1.0])

    for model in (Numpy(), Averaged(Numpy(), 5)):
        found, victim = screened(model)
        assert isinstance(victim, Averaged)
        assert victim.stiff is None  # that it changes says nothing about softening
        told = [w for w in found if "even where torch's generators are seeded" in w]
        assert len(told) == 1
        assert "from torch, not from numpy" in told[0]
        assert len([w for w in found if "mean probability over" in w]) == (type(model) is Numpy)


@pytest.mark.parametrize(("share", "changes"), [(1e-7, False), (2e-6, False), (1e-3, True)])
def test_jitter_is_no_randomness(share, changes):
    class Jittery(Net):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * (1 + share * (self.calls % 2))

    with warnings.catch_warnings():
        warnings.simplefilter("error" if not changes else "ignore", HauberkWarning)
        found, victim = screened(Jittery())
    assert isinstance(victim, Averaged) == changes
    assert bool(found) == changes


def test_what_counts_as_a_change():
    inf, nan = float("inf"), float("nan")

    def change(a, b, dtype=torch.float32):
        return _change(torch.tensor([a], dtype=dtype), torch.tensor([b], dtype=dtype))

    assert change([1.0, 2.0], [1.0, 2.0]) == 0
    assert change([100.0, 2.0], [100.0, 2.0005]) == 0
    assert change([1.0, 2.0], [1.0, 2.0005]) == pytest.approx(0.0005, rel=1e-3)
    assert change([inf, 2.0], [inf, 2.0]) == change([nan, 2.0], [nan, 2.0]) == 0
    assert change([inf, 2.0], [3.0, 2.0]) == change([1.0, nan], [1.0, 2.0]) == inf
    assert change([0.0, 0.0], [0.0, 0.0]) == 0
    assert change([0.0, 0.0], [0.0, 1e-6]) > 0
    # Half precision rounds by a thousandth.
    assert change([1.0, 2.0], [1.0, 2.0 + 2**-9], torch.float16) == 0
    assert change([1.0, 2.0], [1.0, 2.1], torch.float16) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_attacked_plainly_and_warned_of():
    x = data()
    for sealed in (torch.jit.trace(Net().eval(), x), torch.jit.script(nn.Linear(6, 3))):
        found, victim = screened(sealed)
        assert "TorchScript" in victim.stiff
        assert "cannot be looked into (it is TorchScript" in found[-1]
        ask = x.clone().requires_grad_(True)
        assert torch.equal(victim.logits(ask, soften=0.3), victim.logits(ask))
    found, victim = screened(nn.Sequential(nn.ReLU(), torch.jit.script(nn.Linear(6, 3))))
    assert victim.stiff is None  # the rest can be softened
    assert "part '1' is TorchScript" in found[-1]
