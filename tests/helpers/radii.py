"""Linear models whose radii have a closed form."""

from math import inf

import torch
from torch import nn

WIDE = (-50.0, 50.0)


DUAL = {"linf": 1, "l2": 2, "l1": inf, "l3": 1.5}


def linear(classes=2, features=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    net = nn.Linear(features, classes, dtype=dtype)
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype)
    return net


def examples(net, n=12, shape=(6,), seed=1, wrong=()):
    generator = torch.Generator().manual_seed(seed)
    dtype = next(net.parameters()).dtype
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        y = net(x).argmax(1)
    y[list(wrong)] = (y[list(wrong)] + 1) % net(x).shape[1]
    return x, y


def closed(net, x, y, dual):
    """Distance to the nearest boundary of a linear model in an unbounded box."""
    with torch.no_grad():
        z, rows = net(x).double(), net.weight.double()
    gaps = z.gather(1, y[:, None]) - z
    slopes = torch.stack([(rows[y] - row).norm(p=dual, dim=1) for row in rows], 1)
    ratio = (gaps / slopes).scatter(1, y[:, None], inf)
    return ratio.amin(1).clamp_min(0)
