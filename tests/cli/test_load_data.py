"""Options of data on the command line: read, recorded, and rebuilt by verify and resume."""

import json

import numpy as np
import pytest

from hauberk.cli.main import main

pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")

NET = """
import torch
from torch import nn

class Net(nn.Module):
    '''Knows a class by how red images are: class k has 20 k.'''
    def forward(self, x):
        red = x[:, 0].mean((1, 2)) * 255
        return -((red[:, None] - 20.0 * torch.arange(12)) ** 2) / 100
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    for k in range(12):
        for j in range(3):
            path = tmp_path / "d" / str(k) / f"{j}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pillow.new("RGB", (8 + j, 9), (20 * k, 0, 0)).save(path)
    return tmp_path


WORDS = ["--model", "net.py:Net", "--suite", "fast", "--threat", "linf:2/255", "--out", "run"]
HOW = ["--data", "d", "--resize", "7", "--crop", "6", "--sample", "24", "--balanced"]


def manifest():
    with open("run/manifest.json") as file:
        return json.load(file)


def test_sampled_resized_and_verified(place, capsys):
    assert main(["evaluate", *WORDS, *HOW]) == 0
    with open("run/summary.json") as file:
        assert json.load(file)["clean_accuracy"] == 1  # 12 folders in the order of their numbers
    found = manifest()
    assert found["n"] == 24
    assert found["class_names"] == [*map(str, range(12))]
    assert found["reading"] == {
        "sample": 24, "sample_seed": 0, "balanced": True, "resize": "7", "crop": "6",
    }  # fmt: skip
    # Verifying with the data reads them as the run did.
    assert main(["verify", "run", "--model", "net.py:Net", "--data", "d"]) == 0
    capsys.readouterr()
    assert main(["verify", "run", "--model", "net.py:Net", "--data", "d", "--resize", "5x5"]) == 1
    assert "is this the same data set?" in capsys.readouterr().out
    assert main(["evaluate", *WORDS, *HOW, "--resume"]) == 0
    assert main(["evaluate", *WORDS, *HOW[:-1], "--resume"]) == 2
    assert "reading.balanced" in capsys.readouterr().err


def test_what_the_data_need_is_said_in_one_line(place, capsys):
    for argv, says in (
        (["--data", "d"], "--resize 256 --crop 224"),
        (["--data", "d", "--resize", "7", "--crop", "9"], "fewer than --crop 9x9"),
        (["--data", "d", "--resize", "big"], "resize is 'big'"),
        ([*HOW, "--classes", "a,b"], "the class '0' is not in --classes"),
        (["--data", "no.npz"], "data 'no.npz' is unknown"),
    ):
        assert main(["evaluate", *WORDS, *argv]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1


def test_the_gap_samples_the_training_examples(place):
    np.savez("train.npz", images=np.zeros((30, 5, 5, 3), np.uint8), labels=np.zeros(30, int))
    words = ["evaluate", *WORDS, *HOW, "--classes", "order", "--gap", "npz:train.npz"]
    assert main(words) == 0
    with open("run/train/manifest.json") as file:
        assert json.load(file)["n"] == 24
