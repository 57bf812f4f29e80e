"""Networks of timm: the package itself where it is installed, and a stand-in for it."""

import json
import sys

import pytest
import torch
from helpers.oracles import same_state
from helpers.packages import Net, module, real_timm
from helpers.weights import refused
from safetensors.torch import save_file

from hauberk.models import load_model
from hauberk.models.loading import find_model


@pytest.fixture
def timm(monkeypatch):
    """A stand-in with the functions of timm that are used."""

    def create_model(name, pretrained=False, **settings):
        net = Net(**settings)
        net.name, net.pretrained = name, pretrained
        net.pretrained_cfg = {"mean": (0.5,) * 3, "input_size": (3, 8, 8)}
        return net

    made = module(
        "timm", create_model=create_model, list_models=lambda: ["smallnet", "bignet"],
        is_model=lambda name: name.partition(".")[0] in ("smallnet", "bignet"),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "timm", made)


@pytest.mark.usefixtures("timm")
def test_a_network_by_name(caplog):
    with caplog.at_level("INFO", "hauberk"):
        found = find_model("timm:smallnet.tag,num_classes=7,drop=0.5")
    assert (found.model.name, found.model.pretrained) == ("smallnet.tag", False)
    assert found.model.fc.out_features == 7
    assert found.model.settings == {"drop": 0.5}
    assert not found.model.training
    assert found.configuration["mean"] == (0.5,) * 3
    assert not found.trained
    assert "random weights" in caplog.text
    assert find_model("timm:smallnet", download=True).model.pretrained


@pytest.mark.usefixtures("timm")
def test_the_first_and_last_layer_take_the_sizes_of_the_weights(tmp_path, caplog):
    source = Net(num_classes=4, in_chans=1)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pth.tar")
    with caplog.at_level("INFO", "hauberk"):
        model = load_model("timm:smallnet", tmp_path / "w.pth.tar")
    assert same_state(model, source)
    assert "num_classes=4 and in_chans=1, as the weights have it" in caplog.text
    assert "random weights" not in caplog.text
    state["module.fc.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "odd.pt")
    assert "module.fc.bias has shape (5,)" in refused(
        "timm:smallnet", tmp_path / "odd.pt", call=load_model
    )


@pytest.mark.usefixtures("timm")
def test_a_folder_that_timm_saved(tmp_path):
    source = Net(num_classes=6)
    says = {"architecture": "bignet", "num_classes": 6, "pretrained_cfg": {"mean": [0.1] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(says))
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    found = find_model(f"timm:{tmp_path}")
    assert same_state(found.model, source)
    assert found.trained
    assert found.model.settings["pretrained_cfg"] == {"mean": [0.1] * 3}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert "write hf:" in refused(f"timm:{tmp_path}", call=load_model)


@pytest.mark.usefixtures("timm")
def test_unknown_names_and_failures():
    assert "did you mean smallnet" in refused("timm:smalnet", call=load_model)
    assert "names nothing" in refused("timm:", call=load_model)
    assert "failed: TypeError" in refused("timm:smallnet,num_classes=no", call=load_model)


def test_the_real_package(tmp_path):
    timm = real_timm()
    source = timm.create_model("test_resnet", num_classes=5).eval()
    torch.save({"state_dict_ema": source.state_dict()}, tmp_path / "w.pth.tar")
    found = find_model("timm:test_resnet", tmp_path / "w.pth.tar")
    x = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(source.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        # Of images in [0, 1]: behind the mean and std of its configuration.
        torch.testing.assert_close(found.model(x), source((x - mean) / std))
        assert torch.equal(found.model.model(x), source(x))
    assert tuple(found.configuration["input_size"]) == tuple(source.pretrained_cfg["input_size"])
    assert "did you mean resnet18" in refused("timm:resnet188", call=load_model)
