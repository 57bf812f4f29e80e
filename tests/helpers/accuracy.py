"""A small network on colour images, three threats and two attacks."""

import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM

UNION = hb.Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0))


SHORT = {"fgsm": FGSM(), "apgd": APGD(steps=10)}


def net(seed=0, classes=3, features=12):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, classes))
    with torch.no_grad():  # all classes occur
        model[3].bias -= model(data(200, shape=(features,))).mean(0)
    return model


def data(n=30, seed=1, shape=(3, 2, 2)):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *shape, generator=generator)
