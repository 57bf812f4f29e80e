"""Perceptual threats by name in runs and trainings: bound before anything is written."""

import pytest
import torch
from helpers.perceptual import convolutional, images

import hauberk as hb
from hauberk import InputError
from hauberk.attacks import LPA, FastLPA
from hauberk.evaluation.core.bound import of_models, with_model
from hauberk.threats import Perceptual, layers
from hauberk.victims.victim import Victim


def case():
    model, x = convolutional().eval(), images(shape=(1, 4, 4))
    return model, x, model(x).argmax(1)


def test_an_evaluation_by_name_is_that_of_the_object(tmp_path):
    model, x, y = case()
    suite = {"lpa": LPA(steps=8, outer=2)}
    named = hb.threat("perceptual(0):0.5")
    found = hb.evaluate(model, x, y, named, suite=suite, out=tmp_path)
    same = Perceptual(layers(model, ["0"]), 0.5, name="perceptual(0)")
    other = hb.evaluate(model, x, y, same, suite=suite)
    assert found.union_accuracy == other.union_accuracy < 1
    assert found.summary["threats"].keys() == {"perceptual(0):0.5"}
    # The ledger's text is enough to judge its points, and to go on from it.
    checked = hb.verify(tmp_path, model)
    assert checked.ok
    assert checked.points == checked.confirmed > 0
    again = hb.evaluate(model, x, y, named, suite=suite, out=tmp_path, resume=True)
    assert again.union_accuracy == found.union_accuracy
    assert not hb.verify(tmp_path, convolutional(classes=4)).ok


def test_radii_by_name_are_those_of_the_object(tmp_path):
    model, x, y = case()
    asked = {"solver": "general", "budget": 60}
    found = hb.radius(model, x, y, "perceptual(0)", out=tmp_path, **asked)
    same = hb.radius(model, x, y, Perceptual(layers(model, ["0"])), **asked)
    assert torch.equal(found.distance, same.distance)
    assert found.distance.isfinite().all()
    assert hb.verify(tmp_path, model).ok


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, x, y, out: hb.evaluate(m, x, y, hb.threat("perceptual(conv):1"), out=out),
        lambda m, x, y, out: hb.radius(m, x, y, "perceptual(conv)", out=out),
        lambda m, x, y, out: hb.minmax(
            m, x, y, "perceptual(conv):1", transforms=[hb.transforms.FlipH()], attack=LPA(), out=out
        ),
        lambda m, x, y, out: hb.train.fit(
            m, (x, y), hb.train.Single(hb.threat("perceptual(conv):1"), attack=FastLPA()),
            epochs=1, out=out,
        ),
    ],
    ids=["evaluate", "radius", "minmax", "fit"],
)  # fmt: skip
def test_a_wrong_layer_is_refused_before_anything_is_written(ask, tmp_path):
    model, x, y = case()
    with pytest.raises(InputError, match=r"no layer 'conv': choose some of 0, 1, 2, 3"):
        ask(model, x, y, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_follows_the_layers_of_the_model_in_training():
    """Self-bounded: the distance is that of the weights as they are now."""
    torch.manual_seed(1)
    model, x, y = convolutional(), images(12, (1, 4, 4)), torch.arange(12) % 3
    strategy = hb.train.Single(hb.threat("perceptual(0):0.3"), attack=FastLPA(steps=3, loss="ce"))
    before = model[0].weight.detach().clone()
    trained = hb.train.fit(model, (x, y), strategy, epochs=2, minibatch=6, validation=4,
                           validate_steps=2)  # fmt: skip
    assert not torch.equal(model[0].weight, before)
    assert "valid_perceptual(0):0.3" in trained.history[-1]
    bound = with_model(strategy, model)
    assert bound.threat.features.model is model
    assert bound.attack == strategy.attack
    plain = hb.train.Single(hb.Linf(0.1), steps=2)
    assert with_model(plain, model) is plain
    mine = object()
    assert with_model(mine, model) is mine


def test_several_models_need_a_network_by_name():
    victims = {"a": Victim(convolutional()), "b": Victim(convolutional())}
    with pytest.raises(InputError, match="name the network"):
        of_models(hb.threat("perceptual(0):1"), victims)
