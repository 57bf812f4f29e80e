"""The same images in several units: what ``--box`` and 8-bit files make of them."""

import json

import numpy as np
import pytest
import torch

from hauberk.cli.main import main

NET = """
import torch
from torch import nn

class Net(nn.Module):
    '''Two classes told apart by one linear function of images in [0, 1].'''
    def __init__(self, shift=0.0, width=1.0):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = torch.randn(108, generator=draw)
        self.shift = torch.tensor(shift).view(-1, 1, 1)
        self.width = torch.tensor(width).view(-1, 1, 1)
    def forward(self, x):
        z = ((x - self.shift) / self.width - 0.5).flatten(1) @ self.weight
        return torch.stack((z, -z), 1)

def unit(): return Net()
def bytes255(): return Net(0.0, 255.0)
def signed(): return Net(-1.0, 2.0)
def channels(): return Net([0.0, -1.0, -2.0], [1.0, 3.0, 5.0])
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
    weight = torch.randn(108, generator=torch.Generator().manual_seed(0)).numpy()
    z = (np.moveaxis(images, -1, 1) / 255 - 0.5).reshape(60, -1) @ weight
    np.savez(tmp_path / "test.npz", images=images, labels=(z < 0).astype(np.int64))
    return tmp_path


def robust(*argv, net="unit"):
    words = ["evaluate", "--model", f"net.py:{net}", "--data", "npz:test.npz", "--suite", "fast"]
    words += ["--layout", "nhwc"]  # 4 x 4 pixels read both ways
    assert main([*words, *argv, "--out", "run"]) == 0
    with open("run/summary.json") as file:
        return json.load(file)


@pytest.mark.filterwarnings("ignore:the images look normalised")
@pytest.mark.parametrize(
    ("net", "argv"),
    [
        ("unit", ["--threat", "linf:8/255"]),
        ("bytes255", ["--threat", "linf:8", "--box", "0", "255"]),
        ("signed", ["--threat", "linf:16/255", "--box", "-1", "1"]),
    ],
)
def test_bytes_follow_the_box(place, capsys, net, argv):
    """Once they were divided by 255 whatever the box, and the model saw other images."""
    images = np.moveaxis(np.load("test.npz")["images"], -1, 1) / 255
    weight = torch.randn(108, generator=torch.Generator().manual_seed(0)).numpy().reshape(3, 6, 6)
    side = np.where(np.load("test.npz")["labels"] == 0, 1.0, -1.0)
    margin = side * ((images - 0.5) * weight).sum((1, 2, 3))
    # The least margin in the ball, cut with the box: every pixel goes as far as it may.
    room = np.where((side[:, None, None, None] * weight) > 0, images, 1 - images)
    least = margin - (np.minimum(room, 8 / 255) * np.abs(weight)).sum((1, 2, 3))
    found = robust(*argv, net=net)
    assert found["clean_accuracy"] == 1
    assert found["union_accuracy"] == pytest.approx((least > 0).mean())
    assert 0.1 < found["union_accuracy"] < 0.9
    assert main(["verify", "run", "--model", f"net.py:{net}", "--data", "npz:test.npz"]) == 0
    assert "0 refuted" in capsys.readouterr().out


@pytest.mark.filterwarnings("default")
def test_a_box_of_channels_is_two_words(place, capsys):
    argv = ["--threat", "l2:0.3", "--box", "0,-1,-2", "1,2,3"]
    assert robust(*argv, net="channels")["clean_accuracy"] == 1
    with open("run/manifest.json") as file:
        assert json.load(file)["box"] == [[0, -1, -2], [1, 2, 3]]
    verify = ["verify", "run", "--model", "net.py:channels", "--data", "npz:test.npz"]
    assert main(verify) == 0
    out = capsys.readouterr()
    assert "linf:8/255 is" in out.err  # images of negative numbers: a figure


def test_bad_boxes_are_refused_in_one_line(place, capsys):
    words = ["evaluate", "--model", "net.py:unit", "--data", "npz:test.npz", "--threat", "l2:1"]
    words += ["--layout", "nhwc"]
    for argv, says in (
        (["0,0", "1,1"], "bounds of shape (2,) for inputs of shape (3, 6, 6): give one number"),
        (["-inf", "inf"], "8-bit values have no place in it"),
        (["0", "one"], "the box's bound 'one' is no number"),
        (["0", "gone.npy"], "the box's bound gone.npy cannot be read"),
    ):
        assert main([*words, "--box", *argv]) == 2
        assert says in capsys.readouterr().err
