"""Networks of torchvision, by a stand-in with the functions that its documentation names."""

import sys
from types import SimpleNamespace

import pytest
import torch
from helpers.oracles import same_state
from helpers.packages import Net, module
from helpers.weights import refused

from hauberk.models import load_model
from hauberk.models.loading import find_model

ASKS = SimpleNamespace(mean=[0.485, 0.456, 0.406], std=[0.2] * 3, crop_size=[8], resize_size=[9])
KNOWN = ["smallnet", "fcn_small"]


@pytest.fixture(autouse=True)
def torchvision(monkeypatch):
    def get_model(name, weights=None, num_classes=1000, **settings):
        net = Net(num_classes=num_classes)
        net.name, net.weights, net.settings = name, weights, settings
        return net

    models = module(
        "torchvision.models", get_model=get_model, list_models=lambda: KNOWN,
        get_model_weights=lambda name: SimpleNamespace(
            DEFAULT=SimpleNamespace(transforms=lambda: ASKS)
        ),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torchvision", module("torchvision", models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


def test_a_network_by_name():
    found = find_model("torchvision:smallnet,width=2")
    assert (found.model.name, found.model.weights) == ("smallnet", None)
    assert found.model.settings == {"width": 2}
    assert not found.trained
    assert find_model("torchvision:fcn_small").model.settings == {"weights_backbone": None}


def test_downloaded_weights_say_what_images_they_want():
    found = find_model("torchvision:smallnet", download=True)
    assert found.model.model.weights == "DEFAULT"  # behind their mean and std
    assert found.model.by.mean == tuple(ASKS.mean)
    assert found.trained
    assert found.configuration["mean"] == ASKS.mean
    assert found.configuration["crop_size"] == [8]


def test_the_last_layer_takes_the_size_of_the_weights(tmp_path):
    source = Net(num_classes=4)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    assert same_state(load_model("torchvision:smallnet", tmp_path / "w.pt"), source)
    torch.save(Net(in_chans=1).state_dict(), tmp_path / "grey.pt")
    message = refused("torchvision:smallnet", tmp_path / "grey.pt", call=load_model)
    assert "3 channels" in message


def test_an_unknown_name():
    assert "did you mean smallnet" in refused("torchvision:smallnett", call=load_model)
