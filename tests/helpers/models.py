"""Small models: linear ones with closed forms, networks, flat ones, and wrappers that watch."""

from collections.abc import Callable
from itertools import pairwise
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.maths.hyperplane import to_hyperplane
from hauberk.maths.norms import norm

Function = Callable[[Tensor], Any]


class Linear(nn.Module):
    """Logits ``(x - centre) @ weight`` of Gaussian weights (features, classes), fixed by a seed.

    The weights are drawn in ``drawn`` (``dtype`` if left out), scaled, and kept in ``dtype``.
    """

    def __init__(
        self, features=20, classes=2, *, seed=0, dtype=torch.float32, drawn=None, scale=1.0,
        centre=0.0,
    ):  # fmt: skip
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        weight = torch.randn(features, classes, generator=rng, dtype=drawn or dtype)
        self.weight = nn.Parameter((weight if scale == 1 else scale * weight).to(dtype))
        self.centre = centre

    def forward(self, x):
        x = x.flatten(1)
        return (x - self.centre if self.centre else x) @ self.weight

    def margin(self, x, y):
        """By how much the other of two classes leads, ``(B,)`` float64."""
        z = self(x).double()
        return (z.gather(1, 1 - y[:, None]) - z.gather(1, y[:, None])).squeeze(1).detach()

    def slope(self, y):
        """Gradient of the margin of two classes in the inputs, ``(B, features)``."""
        sign = torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
        return sign * (self.weight[:, 1] - self.weight[:, 0]).detach()

    def gain(self, p):
        """How much the margin of two classes rises per unit of lp distance."""
        normal = (self.weight[:, 0] - self.weight[:, 1]).double()
        return float(norm(normal[None], dual(p)).detach())

    def radius(self, x, y, p, box=(-inf, inf), power=None):
        """lp distance to the nearest of the decision hyperplanes in the box, ``(B,)`` float64.

        ``power`` (features,) measures ``power * x`` instead of ``x``.
        """
        z, x = self(x).double(), x.flatten(1).double()
        weight = self.weight.double()
        found = []
        for j in range(z.shape[1]):
            normal = weight[:, j] - weight.T[y]
            gap = z.gather(1, y[:, None]).squeeze(1) - z[:, j]
            low, high = box[0] - x, box[1] - x
            if power is not None:
                normal, low, high = normal / power, low * power, high * power
            d = to_hyperplane(normal, gap, p, low, high)
            reached = ((d * normal).sum(1) - gap).abs() < 1e-9 * (1 + gap.abs())
            found.append(torch.where(reached & (y != j), norm(d, p), inf))
        return torch.stack(found, 1).amin(1).detach()


class Of(nn.Module):
    """A model out of a function of the inputs (B, ...), which it takes in ``dtype``."""

    def __init__(self, function: Function, dtype=torch.float32):
        super().__init__()
        self.function = function
        # A victim hands out inputs in the dtype of the parameters.
        self.none = nn.Parameter(torch.zeros(0, dtype=dtype)) if dtype != torch.float32 else None

    def forward(self, x):
        return self.function(x)


class Wrapped(nn.Module):
    """A model with something done to its inputs before, and to its logits after."""

    def __init__(self, model, before: Function = lambda x: x, after: Function = lambda z: z):
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x):
        return self.after(self.model(self.before(x)))


class Recorder(nn.Module):
    """Keeps the inputs that a model was asked for, and counts rows forward and back."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []
        self.forwards = self.backwards = 0

    def forward(self, x):
        self.asked.append(x.detach().clone())
        self.forwards += len(x)
        if x.requires_grad:
            x = x.view_as(x)
            x.register_hook(self._back)
        return self.model(x)

    def _back(self, grad):
        self.backwards += len(grad)


class Constant(nn.Module):
    """The same logits for every input, at a gradient of zero; NaN and inf are welcome.

    In the dtype of the inputs if none is given. With ``detached``, they have no graph at all.
    """

    def __init__(self, *logits, dtype=None, detached=False):
        super().__init__()
        self.logits, self.dtype, self.detached = logits, dtype, detached

    def forward(self, x):
        nothing = torch.zeros_like(x.flatten(1)[:, :1])
        if not self.detached:
            nothing = 0 * x.flatten(1).sum(1, keepdim=True)
        return torch.tensor(self.logits, dtype=self.dtype or x.dtype) + nothing


class Sphere(nn.Module):
    """Class 1 outside the unit sphere about 0; takes inputs in ``dtype`` if one is given."""

    def __init__(self, dtype=None):
        super().__init__()
        self.one = 1 if dtype is None else nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, x):
        size = x.flatten(1).square().sum(1)
        return torch.stack((self.one - size, size - self.one), 1)


class TwoLayers(nn.Module):
    """``activation((x - centre) @ first) @ last`` of Gaussian weights, fixed by a seed.

    ``gain`` scales the first layer by ``gain / sqrt(features)``; weights are drawn in ``drawn``
    (``dtype`` if left out).
    """

    def __init__(
        self, features=64, hidden=16, classes=3, *, activation: Function = torch.tanh, seed=1,
        gain=None, centre=0.0, dtype=torch.float32, drawn=None,
    ):  # fmt: skip
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        first = torch.randn(features, hidden, generator=rng, dtype=drawn or dtype)
        last = torch.randn(hidden, classes, generator=rng, dtype=drawn or dtype)
        if gain is not None:
            first = first / features**0.5 * gain
        self.first, self.last = nn.Parameter(first.to(dtype)), nn.Parameter(last.to(dtype))
        self.activation, self.centre = activation, centre

    def forward(self, x):
        x = x.flatten(1)
        return self.activation((x - self.centre if self.centre else x) @ self.first) @ self.last


def network(*sizes, seed=0, dtype=torch.float32, activation=nn.ReLU):
    """Fully connected layers of torch's usual random weights, between the sizes given."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (narrow, wide) in enumerate(pairwise(sizes)):
        layers += [activation()] if number else []
        layers.append(nn.Linear(narrow, wide))
    return nn.Sequential(*layers).to(dtype)


def halfspace(weight, bias=0.0, dtype=torch.float32):
    """Two classes, 1 where ``weight . x + bias`` is above 0; the logits differ by just that."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).to(dtype)
    with torch.no_grad():
        model[1].weight.copy_(torch.stack((-torch.tensor(weight), torch.tensor(weight))) / 2)
        model[1].bias.copy_(torch.tensor([-bias, bias]) / 2)
    return model


def above(level, score, dtype=torch.float32):
    """Two classes, 1 where ``score(x)`` (B,) is above a level: these two are the logits.

    It takes inputs in ``dtype``.
    """

    def logits(x):
        value = score(x)
        return torch.stack([torch.full_like(value, level), value], 1)

    return Of(logits, dtype)


def rounded(levels):
    """Inputs rounded to so many levels: no gradient, and no loss of accuracy."""
    return lambda x: (x * levels).round() / levels


def noisy(size):
    """Adds Gaussian noise of that standard deviation, from torch's global generator."""
    return lambda x: x + size * torch.randn_like(x)


def dual(p):
    """q of the norm that is dual to lp."""
    return {1: inf, inf: 1}.get(p) or p / (p - 1)


def layers(model):
    """Functions of the model's convolutions and full layers, by name."""
    state = model.state_dict()

    def apply(name, x, padding=0, stride=1):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        if weight.dim() == 2:
            return x.flatten(1) @ weight.T + bias
        return F.conv2d(x, weight, bias, padding=padding, stride=stride)

    return apply
