"""Networks that mostly agree, and who is wrong of them, counted one by one."""

import torch
from torch import nn

from hauberk.attacks import PGD


class Net(nn.Module):
    """A small network; seeds that are near each other make models that mostly agree."""

    def __init__(self, seed=0, classes=3, features=16, dtype=torch.float64):
        super().__init__()
        shared, own = torch.Generator().manual_seed(9), torch.Generator().manual_seed(seed)
        one, two = (
            torch.randn(features, classes, generator=g, dtype=torch.float64) for g in (shared, own)
        )
        self.w = nn.Parameter((one + 0.5 * two).to(dtype))

    def forward(self, x):
        return (x.flatten(1) - 0.5) @ self.w


def data(n=12, shape=(16,), classes=3):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(n, *shape, generator=rng, dtype=torch.float64)
    y = Net(classes=classes, features=x[0].numel())(x).argmax(1)
    return x, y


QUICK = PGD(loss="cw", steps=5)


def wrong_by_hand(models, points, y, transforms=(lambda x: x,)):
    """Who is wrong, ``(B, K)``, one example at a time."""
    rows = []
    with torch.no_grad():
        for point, label in zip(points, y, strict=True):
            row = []
            for model in models:
                for change in transforms:
                    z = model(change(point.unsqueeze(0)))[0]
                    row.append(not all(z[label] > z[c] for c in range(len(z)) if c != label))
            rows.append(row)
    return torch.tensor(rows)


def share(flags):
    return sum(map(bool, flags)) / len(flags)
