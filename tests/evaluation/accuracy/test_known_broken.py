"""Defences known to be broken: the standard suite breaks each, or says that something is wrong."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers.models import Wrapped, noisy, rounded
from torch import nn

import hauberk as hb
from hauberk.data import load_data

THREATS = hb.Union(hb.Linf(0.15), hb.L2(0.8), hb.L1(2.0))
N = 24


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    train = load_data("digits:train")
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    step = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(25):
        for rows in torch.randperm(len(train.images)).split(64):
            step.zero_grad()
            F.cross_entropy(model(train.images[rows]), train.labels[rows]).backward()
            step.step()
    return model.eval()


class Flipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Mute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * 0


@torch.jit.script
def scripted_levels(x: torch.Tensor) -> torch.Tensor:
    return torch.round(x * 7) / 7


class Winners(nn.Module):
    """Only the ten largest units of each layer act."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        for layer in self.net:
            if isinstance(layer, nn.ReLU):
                kept, where = x.topk(10, dim=1)
                x = torch.zeros_like(x).scatter(1, where, kept)
            else:
                x = layer(x)
        return x


def evaluated(model, **options):
    data = load_data("digits:test", limit=N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hb.HauberkWarning)
        return hb.evaluate(model, data.images, data.labels, THREATS, **options)


DEFENCES = {
    "no gradient": lambda net: Wrapped(net, before=Mute.apply),
    "eight levels": lambda net: Wrapped(net, rounded(7)),
    "saturated softmax": lambda net: Wrapped(net, after=lambda z: (z * 1000).softmax(1)),
    "large logits": lambda net: Wrapped(net, after=lambda z: z * 1e4),
    "noise": lambda net: Wrapped(net, noisy(0.1)),
    "winners take all": Winners,
    "flipped gradient": lambda net: Wrapped(net, before=Flipped.apply),
    "detached": lambda net: Wrapped(net, before=lambda x: x.detach()),
}
SILENT = {"large logits", "winners take all"}  # broken by what the suite does anyway


@pytest.mark.parametrize("name", DEFENCES)
def test_a_known_defence_is_broken(name, net):
    bare = evaluated(net).union_accuracy
    assert bare <= 0.1
    result = evaluated(DEFENCES[name](net))
    assert result.union_accuracy <= bare + 0.1
    assert name in SILENT or result.summary["warnings"]


def test_what_cannot_be_seen_through_is_warned_of(net):
    result = evaluated(Wrapped(net, before=scripted_levels))
    told = result.summary
    assert told["escalated"]
    assert {"gradient-free beats gradients", "zero gradients"} & {
        e["code"] for e in told["evidence"]
    }
    assert result.union_accuracy < 0.5


def test_an_ordinary_model_raises_no_alarm(net):
    told = evaluated(net).summary
    assert not told["escalated"]
    assert not [e for e in told["evidence"] if e["masked"]]
