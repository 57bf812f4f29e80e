"""Natural training mixed in by projection (the second half of RAMP)."""

import pytest
import torch
from helpers.training import Attacked, blobs, net, normalised
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.errors import InputError
from hauberk.train import RAMP, Standard, fit
from hauberk.train.loop.natural import Natural

SETTINGS = {"minibatch": 10, "optimiser": "sgd", "learning_rate": 0.1, "seed": 3}


def mixed(old, a, n, share):
    """What the paper says, tensor by tensor, in plain words of its own."""
    found = {}
    for name, before in old.items():
        if not before.is_floating_point() or not before.dim():
            found[name] = a[name]
            continue
        u, v = (a[name] - before).flatten(), (n[name] - before).flatten()
        norms = float(u.norm() * v.norm())
        cosine = float(u @ v) / norms if norms else 0.0
        step = (1 - share) * u + share * max(0.0, cosine) * v
        found[name] = before + step.view_as(before)
    return found


@pytest.mark.parametrize("make", [net, normalised])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_one_epoch_is_the_projection_of_two_trainings(make, share):
    x, y = blobs(40, torch.float64)
    old = {k: v.clone() for k, v in make().double().state_dict().items()}
    ends = []
    for strategy in (Attacked(), Standard()):
        found = fit(make().double(), (x, y), strategy, epochs=1, **SETTINGS)
        ends.append(found.model.state_dict())
    found = fit(make().double(), (x, y), Attacked(), epochs=1, natural=share, **SETTINGS)
    wanted = mixed(old, *ends, share)
    for name, value in found.model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-10, atol=1e-12)
    record = found.history[0]
    assert (record["forwards"], record["backwards"]) == (40 * (4 + 1 + 1), 40 * (3 + 1 + 1))


def test_opposite_movements_are_not_mixed_in():
    model = nn.Linear(2, 2).double()
    natural = Natural(model, 0.5, lambda m: torch.optim.SGD(m.parameters(), lr=1.0))
    old = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        model.weight.add_(1)
        model.bias.add_(torch.tensor([1.0, 0.0]))
        natural.twin.weight.sub_(2)
        natural.twin.bias.add_(torch.tensor([3.0, 3.0]))
    natural.mix(model)
    torch.testing.assert_close(model.weight.detach(), old["weight"] + 0.5)
    wanted = old["bias"] + torch.tensor([0.5 + 0.5 * 0.5**0.5 * 3, 0.5 * 0.5**0.5 * 3])
    torch.testing.assert_close(model.bias.detach(), wanted)
    assert torch.equal(natural.twin.weight, model.weight)


class Odd(nn.Module):
    """A tied weight, a learned scale, a spectral norm, a mask of infinities and a statistic."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
        self.second = nn.Linear(3, 3, bias=False)
        self.third = nn.Linear(3, 3, bias=False)
        self.third.weight = self.second.weight
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, 0.0, -torch.inf]))

    def forward(self, x):
        z = self.third(self.norm(torch.tanh(self.second(self.first(x)))))
        return torch.cat([self.scale * z, z[:, :1]], 1) + self.mask


def test_every_parameter_is_mixed_once_and_no_buffer():
    x, y = blobs(40, torch.float64)
    first = Odd().double()
    ends = [
        fit(Odd().double(), (x, y), strategy, epochs=1, **SETTINGS).model
        for strategy in (Attacked(), Standard())
    ]
    found = fit(Odd().double(), (x, y), Attacked(), epochs=1, natural=0.5, **SETTINGS).model
    for name, p in found.named_parameters():
        old, a, n = (dict(m.named_parameters())[name].detach() for m in (first, *ends))
        u, v = (a - old).flatten(), (n - old).flatten()
        near = max(0.0, float(u @ v / (u.norm() * v.norm())))
        wanted = old.flatten() + 0.5 * u + 0.5 * near * v
        torch.testing.assert_close(p.detach().flatten(), wanted, rtol=1e-9, atol=1e-12)
    assert found.third.weight is found.second.weight
    assert torch.equal(found.mask, first.mask)
    vector = found.first.parametrizations.weight[0]._u
    assert float(vector.norm()) == pytest.approx(1)
    assert not torch.equal(found.norm.running_mean, ends[0].norm.running_mean)


def test_a_model_that_cannot_be_copied_is_refused():
    model = net()
    model.own = (i for i in range(3))
    with pytest.raises(InputError, match="cannot be made"):
        fit(model, blobs(), Standard(), epochs=1, natural=0.5)


def test_an_optimiser_of_other_parameters_is_refused():
    model = net()
    with pytest.raises(InputError, match="optimiser of other parameters"):
        fit(
            model, blobs(), Standard(), epochs=1, natural=0.5,
            optimiser=lambda _: torch.optim.SGD(model.parameters(), lr=0.1),
        )  # fmt: skip


@pytest.mark.parametrize("step", [3, 8, 12])
def test_it_resumes_where_it_was(tmp_path, step):
    def stop(event):
        if event.done > step / 15 - 1e-9:
            raise KeyboardInterrupt

    def run(out, **words):
        settings = {**SETTINGS, "minibatch": 10, "natural": 0.5, "epochs": 3}
        return fit(normalised(), blobs(), Attacked(), out=out, **settings, **words)

    whole = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, every_minutes=1e-9, progress=stop)
    again = run(tmp_path, resume=True)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value)


def test_ramp_with_both_halves_learns():
    x, y = blobs(60)
    strategy = RAMP(hb.Union(hb.Linf(0.03), hb.L1(0.06)), steps=3, pairing=1.0)
    found = fit(net(), (x, y), strategy, epochs=30, natural=0.5, learning_rate=0.02, minibatch=20)
    with torch.no_grad():
        z = found.model(x)
    assert float((z.argmax(1) == y).float().mean()) > 0.9
    assert float(F.cross_entropy(z, y)) < 0.7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"natural": 0.0}, "natural is 0.0"),
        ({"natural": 1.5}, "natural is 1.5"),
        ({"natural": "half"}, "natural is 'half'"),
        ({"natural": 0.5, "ema": 0.9}, "choose one of them"),
    ],
)
def test_what_is_refused(words, says):
    with pytest.raises(InputError, match=says):
        fit(net(), blobs(), Standard(), epochs=1, **words)
