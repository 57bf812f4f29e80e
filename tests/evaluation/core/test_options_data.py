"""What stands for images and labels in the functions that start a run."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import hauberk as hb

X = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
NET = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3, bias=False))
with torch.no_grad():
    NET[1].weight.copy_(torch.eye(3, 4))
Y = NET(X).argmax(1).detach()
ATTACK = {"suite": hb.attacks.FGSM()}
DATA = TensorDataset(X, Y)
DATA.classes = ["a", "b", "c"]


def test_all_ways_to_give_data_are_one():
    found = [
        hb.evaluate(NET, X, Y, "linf:0.1", **ATTACK),
        hb.evaluate(NET, X.numpy(), Y.numpy(), "linf:0.1", **ATTACK),
        hb.evaluate(NET, X, Y.tolist(), "linf:0.1", **ATTACK),
        hb.evaluate(NET, DATA, "linf:0.1", **ATTACK),
        hb.evaluate(NET, DATA, None, "linf:0.1", **ATTACK),
        hb.evaluate(NET, DataLoader(DATA, batch_size=3), hb.Linf(0.1), **ATTACK),
        hb.evaluate(NET, images=DataLoader(DATA, shuffle=True), threats="linf:0.1", **ATTACK),
        hb.evaluate(NET, {"x": X, "y": Y}, threats="linf:0.1", **ATTACK),
    ]
    accuracies = {result.union_accuracy for result in found}
    assert len(accuracies) == 1
    two = X.flatten(1)[:, :3].sort(1).values[:, 1:]
    assert accuracies.pop() == float((two[:, 1] - two[:, 0] > 0.2).float().mean())
    radii = hb.radius(NET, DATA, "l2", budget=60)
    assert torch.equal(radii.distance, hb.radius(NET, X, Y, "l2", budget=60).distance)


def test_positions_and_names_go_into_the_manifest(tmp_path):
    data = hb.data.load_data("digits:test", limit=5, offset=20)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    hb.evaluate(net, data, "linf:0.01", out=tmp_path / "run", **ATTACK)
    assert hb.verify(tmp_path / "run", net, data=data).ok
    hb.evaluate(NET, DATA, "linf:0.01", out=tmp_path / "other", **ATTACK)
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    assert manifest["class_names"] == ["a", "b", "c"]
    loader = DataLoader(DATA, batch_size=3)
    hb.evaluate(NET, loader, "linf:0.01", out=tmp_path / "other", resume=True, **ATTACK)
    assert hb.verify(tmp_path / "other", NET, data=loader).ok


def test_what_is_missing_is_named():
    with pytest.raises(hb.InputError, match="labels are missing"):
        hb.evaluate(NET, np.zeros((3, 4), np.float32), threats="linf:0.1")
    with pytest.raises(hb.InputError, match="leave out labels"):
        hb.evaluate(NET, DATA, Y, "linf:0.1")
    with pytest.raises(TypeError):
        hb.evaluate(NET, X, Y, "linf:0.1", "l2:1")


def test_rows_have_the_names_of_classes():
    found = hb.evaluate(NET, DATA, "linf:0.1", **ATTACK)
    rows = found.columns()
    assert rows["class"].tolist() == ["abc"[k] for k in rows["label"].tolist()]
    assert "class" not in hb.evaluate(NET, X, Y, "linf:0.1", **ATTACK).columns()


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((2, 8, 8, 3), "--layout nhwc"),
        ((2, 1, 8, 8), "--rgb"),
        ((2, 3, 9, 9), "--resize"),
        ((2, 192), "--layout 1x28x28"),
    ],
)
def test_images_of_another_shape_get_advice(shape, says):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), torch.nn.Flatten(), torch.nn.Linear(64, 2))
    with pytest.raises(hb.InputError, match=says):
        hb.evaluate(net, torch.rand(shape), torch.tensor([0, 1]), "linf:0.1")
