"""One small run of every kind, with its models."""

import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, MultiSteepestDescent
from hauberk.evaluation import at_sizes, transfer
from hauberk.solvers.fmn import FMN
from hauberk.transforms import FlipH, RandomRotate
from helpers.questions import under_noise

UNION = hb.Union(hb.Linf(0.1), hb.L2(0.4))


def net(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)
    model = nn.Sequential(nn.Flatten(), *layers).double()
    with torch.no_grad():  # all classes occur, and small changes matter
        model[3].bias -= model(torch.full((1, 16), 0.5).double())[0]
    return model


MODELS = {"a": net(0), "b": net(1)}


def data(n=12):
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    y = net()(x).argmax(1)
    y[0] = (y[0] + 1) % 3
    return x, y


QUICK = PGD(loss="cw", steps=3)


RUNS = {
    "evaluate": (lambda m, x, y, **o: hb.evaluate(m, x, y, UNION, suite="fast", **o), net()),
    "evaluate with a floor": (
        lambda m, x, y, **o: hb.evaluate(m, x, y, UNION, suite=FGSM(), floor=4, **o), net(),
    ),
    "sizes": (
        lambda m, x, y, **o: at_sizes(m, x, y, hb.Linf(0.2), [0.5, 1], suite="fast", **o), net(),
    ),
    "radius": (lambda m, x, y, **o: hb.radius(m, x, y, ["l2", UNION], budget=60, **o), net()),
    "radius of one": (
        lambda m, x, y, **o: hb.radius(m, x, y, "l1", solver=FMN(steps=9), **o), net(),
    ),
    "minmax": (lambda m, x, y, **o: hb.minmax(m, x, y, "linf:0.2", attack=QUICK, **o), MODELS),
    "minmax groups": (
        lambda m, x, y, **o: hb.minmax(m, x, y, "linf:0.9", group=2, attack=QUICK, **o), net(),
    ),
    "minmax each": (lambda m, x, y, **o: hb.minmax(m, x, y, UNION, attack=QUICK, **o), MODELS),
    "minmax transforms": (
        lambda m, x, y, **o: hb.minmax(
            m, x, y, "linf:0.3", transforms=[FlipH(), RandomRotate(20)], judge_draws=2,
            attack=QUICK, **o,
        ),
        net(),
    ),
    "minmax msd": (
        lambda m, x, y, **o: hb.minmax(
            m, x, y, UNION, attack=MultiSteepestDescent(loss="cw", steps=3), **o
        ),
        MODELS,
    ),
    "universal": (
        lambda m, x, y, **o: hb.universal(m, x, y, "linf:0.3", epochs=2, minibatch=5, **o), net(),
    ),
    "transfer": (
        lambda m, x, y, **o: transfer(m, x, y, UNION, [FGSM(), APGD(steps=3)], **o), MODELS,
    ),
    "noise": (lambda m, x, y, **o: under_noise(m, x, y, (0.95,), **o), net()),
}  # fmt: skip
