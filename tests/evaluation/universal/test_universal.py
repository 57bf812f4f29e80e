"""One perturbation for all images: what it reaches, and that it is a run like others."""

import torch
from helpers.universal import data, summing

import hauberk as hb


def test_a_linear_model_falls_to_the_corner_of_the_ball():
    x, y = data()
    found = hb.universal(summing(), x, y, "linf:0.2", epochs=3, minibatch=10)
    torch.testing.assert_close(found.delta, torch.full((1, 2, 2), 0.2).double(), atol=1e-7, rtol=0)
    assert float(found.delta.abs().max()) <= 0.2
    assert found.summary["accuracy"] == 0.0
    assert found.summary["changed"] == 1.0
    assert len(found.losses) == 9
    assert (found.forwards, found.backwards) == (90, 90)
    tested = found.test(summing(), *data(7))
    assert (tested.clean, tested.accuracy, tested.changed) == (1.0, 0.0, 1.0)
    assert tested.wrong.all()


def test_several_models_at_once():
    x, y = data()
    turned = summing(0.9)
    found = hb.universal(
        summing(),
        x,
        y,
        "linf:0.3",
        epochs=3,
        minibatch=10,
        objective=hb.MinMax([summing(), turned]),
    )
    assert found.test(turned, x, y).accuracy == 0.0
