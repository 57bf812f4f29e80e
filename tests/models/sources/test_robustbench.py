"""Networks of RobustBench, by a stand-in with the dictionaries of its model zoo."""

import sys
from enum import Enum

import pytest
import torch
from helpers.oracles import same_state
from helpers.packages import Net, module
from helpers.weights import refused
from torch import nn

from hauberk.models import load_model
from hauberk.models.loading import find_model


class BenchmarkDataset(Enum):
    cifar_10 = "cifar10"
    imagenet = "imagenet"


class ThreatModel(Enum):
    Linf = "Linf"
    L2 = "L2"


class Normalising(Net):
    """Has a mean and std that the published weights lack."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mu", torch.tensor([0.4]))
        self.register_buffer("sigma", torch.tensor([0.2]))


@pytest.fixture(autouse=True)
def robustbench(monkeypatch):
    row = {"model": Normalising, "gdrive_id": "x"}
    zoo = module(
        "robustbench.model_zoo",
        model_dicts={
            BenchmarkDataset.cifar_10: {
                ThreatModel.Linf: {"Own2020Net": row, "Both2021": row}, ThreatModel.L2: {},
            },
            BenchmarkDataset.imagenet: {
                ThreatModel.Linf: {"Both2021": {"model": lambda: nn.Sequential(Net(100))}},
            },
        },
    )  # fmt: skip

    def load(model_name, dataset, threat_model):
        net = Net()
        net.asked = (model_name, dataset, threat_model)
        return net

    utils = module("robustbench.utils", load_model=load)
    monkeypatch.setitem(sys.modules, "robustbench", module("robustbench"))
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo", zoo)
    monkeypatch.setitem(sys.modules, "robustbench.utils", utils)


def test_the_architecture_with_weights_of_a_file(tmp_path):
    source = Net()
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    model = load_model("robustbench:Own2020Net", tmp_path / "w.pt")
    assert same_state(model.fc, source.fc)
    assert model.mu.item() == pytest.approx(0.4)


def test_a_name_of_several_data_sets():
    message = refused("robustbench:Both2021", call=load_model)
    assert "cifar10/Linf, imagenet/Linf" in message
    big = load_model("robustbench:Both2021,dataset=ImageNet")
    assert big[0].fc.out_features == 100
    assert isinstance(load_model("robustbench:Both2021,dataset=cifar_10"), Normalising)


def test_downloading_is_left_to_the_package():
    found = find_model("robustbench:Both2021,dataset=cifar10,threat_model=linf", download=True)
    assert found.model.asked == ("Both2021", "cifar10", "Linf")
    assert found.trained


def test_unknown_names():
    assert "did you mean Own2020Net" in refused("robustbench:Own2020Ne", call=load_model)
    message = refused("robustbench:Own2020Net,threat_model=L2", call=load_model)
    assert "for this data set and threat model" in message
    assert "no setting 'norm'" in refused("robustbench:Own2020Net,norm=L2", call=load_model)
