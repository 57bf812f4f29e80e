"""Warnings point at the line of the user that called."""

import warnings

import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import FGSM, PGD
from hauberk.errors import warn


def test_a_warning_points_at_the_call_of_the_user():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Softmax(1))
    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
    calls = (
        lambda: hb.evaluate(model, x, y, hb.Linf(0.1), suite=FGSM()),
        lambda: hb.radius(model, x, y, "l2", budget=60),
        lambda: hb.minmax(model, x, y, "linf:0.1", attack=PGD(loss="cw", steps=1)),
        lambda: hb.universal(model, x, y, "linf:0.1", epochs=1),
        lambda: hb.evaluation.transfer({"a": model}, x, y, hb.Linf(0.1), FGSM()),
    )
    for call in calls:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call()
        found = [w for w in seen if "probabilities" in str(w.message)]
        assert [w.category for w in found] == [hb.HauberkWarning]
        assert (found[0].filename, found[0].lineno) == (__file__, call.__code__.co_firstlineno)


def test_a_warning_outside_the_package_points_at_itself():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warn("look here")
    assert seen[0].filename == __file__
