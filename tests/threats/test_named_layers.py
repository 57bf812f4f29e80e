"""Perceptual threats as text: what they read, what they bind to, and what they refuse."""

from math import inf

import pytest
import torch
from helpers.perceptual import convolutional, images
from torch import nn

import hauberk as hb
from hauberk import InputError
from hauberk.threats import Metric, NamedLayers, Perceptual, Trait, layers
from hauberk.threats.notation import distance, is_kind, traits_of


@pytest.mark.parametrize(
    ("text", "names", "eps", "p", "network"),
    [
        ("perceptual(conv1+conv2):0.5", ["conv1", "conv2"], 0.5, 2, None),
        ("perceptual-l1(layers.0 + layers.1) : 30", ["layers.0", "layers.1"], 30, 1, None),
        ("perceptual(Conv):1/2", ["Conv"], 0.5, 2, None),
        ("perceptual(0@hauberk.models:SmallCNN,My/w.npz):0.1", ["0"], 0.1, 2,
         "hauberk.models:SmallCNN,My/w.npz"),
        ("Perceptual(0@runs/A/model.yaml):2", ["0"], 2, 2, "runs/A/model.yaml"),
    ],
)  # fmt: skip
def test_notations_are_read_and_written_back(text, names, eps, p, network):
    found = hb.threat(text)
    assert isinstance(found, NamedLayers)
    assert (list(found.names), found.eps, found.p, found.network) == (names, eps, p, network)
    assert hb.threat(str(found)) == found
    assert str(hb.threat(str(found))) == str(found)
    assert found.kind == "measured"
    assert traits_of(str(found)) == {Trait.EVALUATED}
    assert is_kind("perceptual")
    assert is_kind("perceptual-l1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("perceptual(conv1)", "has no size: write e.g. perceptual(conv1):0.5"),
        ("perceptual(conv1):", "has no size"),
        ("perceptual(conv1):wide", "has no size"),
        ("perceptual():0.5", "no layer is named"),
        ("perceptual(a++b):0.5", "no layer is named"),
        ("perceptual(conv1):-1", "eps is -1"),
        ("perceptual:0.5", "unknown threat"),
    ],
)
def test_what_is_none_is_refused(text, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(").replace(")", r"\)")):
        hb.threat(text)


def test_distances_have_no_size():
    assert distance("l2") == Metric(2)
    found = distance("perceptual-l1(conv1 + conv2)")
    assert (str(found), found.eps, found.p) == ("perceptual-l1(conv1+conv2)", inf, 1)
    for bad in ("linf:0.3", "perceptual(conv1):0.5", "affine(linf:0.3,l1:10)", "l7x"):
        with pytest.raises(InputError):
            distance(bad)


@pytest.mark.parametrize(("word", "p"), [("perceptual", 2), ("perceptual-l1", 1)])
def test_bound_to_a_model_it_is_the_perceptual_threat_of_those_layers(word, p):
    model, x, other = convolutional(), images(shape=(1, 4, 4)), images(shape=(1, 4, 4), seed=1)
    bound = hb.threat(f"{word}(0+2):0.4").of_model(model)
    same = Perceptual(layers(model, ["0", "2"]), 0.4, p=p)
    assert type(bound) is Perceptual
    assert torch.equal(bound.distance(x, other), same.distance(x, other))
    assert torch.equal(bound.contains(x, other), same.contains(x, other))
    assert str(bound) == f"{word}(0+2):0.4"
    assert str(bound.scaled(0.5)) == f"{word}(0+2):0.2"


def test_another_network_is_loaded_and_a_union_bound_part_by_part():
    own, other = convolutional(), convolutional(classes=5)
    asked = []

    def load(text):
        asked.append(text)
        return other

    union = hb.threat("linf:0.1 | perceptual(0@That:Net,w.npz):0.4 | perceptual(1):0.2")
    with pytest.raises(InputError, match="of_network"):
        union.of_model(own)
    bound = union.of_network(load).of_model(own)
    assert str(bound) == str(union)
    assert asked == ["That:Net,w.npz"]
    assert bound.parts[1].features.model is other
    assert bound.parts[2].features.model is own
    plain = hb.threat("linf:0.1 | l2:1")
    assert plain.of_network(load).of_model(own) is plain


def test_layers_that_the_model_has_not_are_refused_by_name():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    with pytest.raises(InputError, match=r"perceptual\(conv\):0.4: the model has no layer 'conv'"):
        hb.threat("perceptual(conv):0.4").of_model(model)
    with pytest.raises(InputError, match="there are several"):
        hb.threat("perceptual(0):0.4").of_model(None)
    with pytest.raises(InputError, match="not bound to a network yet"):
        hb.threat("perceptual(0):0.4").at(images(shape=(1, 4, 4)))
