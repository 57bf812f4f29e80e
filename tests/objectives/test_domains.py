"""Domains: one's own, and what is refused."""

from math import inf

import pytest
import torch
from helpers.domains import Linear, data
from helpers.models import Wrapped

from hauberk import InputError
from hauberk.attacks import PGD
from hauberk.objectives.minmax import Domain, Fixed, MinMax
from hauberk.threats import Linf

# Domains of one's own


class Marked(Domain):
    """A domain whose model sees the input with a pattern on it."""

    def inputs(self, x, draws, number):
        return super().inputs(x, draws, number) + torch.linspace(-0.3, 0.3, x.shape[1]).to(x)


def test_a_domain_of_another_kind():
    model = Linear(2, classes=3)

    shifted = Wrapped(model, lambda x: x + torch.linspace(-0.3, 0.3, 6).to(x))
    x, y = data(8, classes=3)
    attack = PGD(loss=MinMax([Marked(), Domain()], loss="ce"), steps=6)
    found = attack(model, x, y, Linf(0.2), stop=False)
    by_models = PGD(loss=MinMax([shifted, model], loss="ce"), steps=6)
    wanted = by_models(model, x, y, Linf(0.2), stop=False)
    torch.testing.assert_close(found.points, wanted.points, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.path, wanted.path, rtol=0, atol=1e-6)
    assert bool((found.forwards == 2 * 7).all())


# What is refused


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MinMax([]), "at least one"),
        (lambda: MinMax([3]), "no domain"),
        (lambda: MinMax(gamma=-1.0), "gamma is -1.0"),
        (lambda: MinMax(gamma=torch.nan), "gamma is nan"),
        (lambda: MinMax(beta=-0.1), "beta is -0.1"),
        (lambda: MinMax(beta=torch.nan), "beta is nan"),
        (lambda: MinMax(toward="weak"), "choose hard or strong"),
        (lambda: MinMax(loss="hinge"), "unknown loss"),
        (lambda: Fixed([Linear()], weights=()), "weights"),
        (lambda: Fixed([Linear()], weights=(-1.0,)), "weights"),
        (lambda: Fixed([Linear()], weights=(0.0,)), "weights"),
        (lambda: Fixed([Linear()], weights=(inf,)), "weights"),
        (lambda: Domain(draws=0), "draws is 0"),
        (lambda: Domain(model=3), "must be a torch.nn.Module"),
        (lambda: Domain(transform=3), "must be a function"),
    ],
)
def test_bad_settings(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_domains_that_do_not_fit():
    x, y = data(4)
    model = Linear()
    run = {"model": model, "images": x, "labels": y, "threat": Linf(0.1)}
    with pytest.raises(InputError, match="2 and 3 classes"):
        PGD(loss=MinMax([model, Linear(1, classes=3)]), steps=2)(**run)
    with pytest.raises(InputError, match="2 weights for 3 domains"):
        PGD(loss=Fixed([model] * 3, weights=(1, 1)), steps=2)(**run)
    with pytest.raises(InputError, match="keep the shape"):
        PGD(loss=MinMax([lambda x: x[:1]]), steps=2)(**run)
    with pytest.raises(InputError, match="labels reach 2"):
        PGD(loss=MinMax([model]), steps=2)(model, x, y + 1, Linf(0.1))
