"""``--mean`` and ``--std``: the same model and images in every way of saying it."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from hauberk.cli.load import named_model, named_models
from hauberk.cli.main import main
from hauberk.cli.normalisation import ends, recalled
from hauberk.cli.options import BoxOption, ModelOptions, ModelsOptions
from hauberk.cli.parsing import parse
from hauberk.errors import InputError

NET = """
import torch
from torch import nn

def bare():
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 3))

class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = bare()
    def forward(self, x):
        mean = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
        return self.net((x - mean) / std)
"""
HF = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True, kw_only=True)
class One(ModelOptions, BoxOption):
    def run(self):
        return 0


@dataclass(frozen=True, kw_only=True)
class Several(ModelsOptions, BoxOption):
    def run(self):
        return 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    scope = {}
    exec(NET, scope)
    torch.manual_seed(0)
    whole = scope["Whole"]()
    torch.save(whole.net.state_dict(), "bare.pt")
    torch.save({f"model.{k}": v for k, v in whole.net.state_dict().items()}, "prefixed.pt")
    torch.save(whole.state_dict(), "whole.pt")
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    np.savez("test.npz", images=images, labels=whole(x).argmax(1).numpy())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(HF))
    return tmp_path


RUN = ["--data", "npz:test.npz", "--suite", "fast"]
BARE = ["evaluate", "--model", "net.py:bare", *RUN]


def accuracies(*argv, out="run"):
    assert main([*argv, "--out", out]) == 0
    with open(f"{out}/summary.json") as file:
        found = json.load(file)
    return found["clean_accuracy"], found["union_accuracy"]


def test_the_same_numbers_in_every_way_of_saying_it(place):
    threat = ["--threat", "linf:4/255"]
    whole = ["evaluate", "--model", "net.py:Whole", "--weights", "whole.pt", *RUN, *threat]
    wanted = accuracies(*whole, out="whole")
    assert wanted[0] == 1
    assert 0.1 < wanted[1] < 0.9
    by = ["--mean", "0.485", "0.456", "0.406", "--std", "0.229,0.224,0.225"]
    for k, (weights, argv) in enumerate(
        [
            ("bare.pt", [*by, *threat]),
            ("prefixed.pt", ["--mean", "imagenet", *threat]),
            ("bare.pt", ["--mean", ".", *threat]),
            ("bare.pt", ["--mean", "imagenet", "--threat", "linf:4", "--box", "0", "255"]),
        ]
    ):
        assert accuracies(*BARE, "--weights", weights, *argv, out=str(k)) == wanted
    # In other words: what the number is once sizes count in units of std.
    assert accuracies(*BARE, "--weights", "bare.pt", *threat, "--mean", "none", out="no") != wanted


def test_verify_and_resume_take_it_from_the_manifest(place, capsys):
    weights = ["--weights", "bare.pt", "--threat", "linf:4/255"]
    found = accuracies(*BARE, *weights, "--mean", "imagenet")
    with open("run/manifest.json") as file:
        manifest = json.load(file)
    assert (manifest["mean"], manifest["std"]) == (HF["image_mean"], HF["image_std"])
    verify = ["verify", "run", "--model", "net.py:bare", "--weights", "bare.pt"]
    assert main([*verify, "--data", "npz:test.npz"]) == 0
    assert main([*verify, "--mean", "cifar10"]) == 1
    capsys.readouterr()
    assert accuracies(*BARE, *weights, "--resume") == found
    assert main([*BARE, *weights, "--resume", "--mean", "none", "--out", "run"]) == 2
    assert "mean is null here but [0.485, 0.456, 0.406] there" in capsys.readouterr().err


def test_a_box_of_bytes_is_taken_from_the_manifest_too(place):
    argv = [*BARE, "--weights", "bare.pt", "--box", "0", "255", "--threat", "linf:4"]
    accuracies(*argv, "--mean", "imagenet")
    assert main(["verify", "run", "--model", "net.py:bare", "--weights", "bare.pt"]) == 0


def test_a_training_leaves_its_normalisation_beside_the_weights(place, capsys):
    words = ["train", "--model", "net.py:bare", "--mean", "imagenet", "--data", "npz:test.npz"]
    more = ["--strategy", "standard", "--epochs", "1", "--minibatch", "20"]
    assert main([*words, *more, "--out", "t"]) == 0
    evaluate = ["evaluate", *RUN, "--threat", "linf:4/255"]
    found = accuracies(*evaluate, "--model", "t")
    by_hand = ["--model", "net.py:bare", "--weights", "t/best.safetensors", "--mean", "imagenet"]
    assert accuracies(*evaluate, *by_hand, out="other") == found
    assert main(["verify", "run", "--model", "t"]) == 0
    from hauberk.models import load_model

    assert load_model("t").by.mean == tuple(HF["image_mean"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--mean", "imagnet"], "mean is 'imagnet': give numbers (0.485,0.456,0.406), one of imag"),
        (["--mean", "0.5"], "--mean without std: give both"),
        (["--std", "0.5"], "--std without mean: give both"),
        (["--mean", "auto"], "model 'net.py:bare' has no configuration with a mean and std"),
        (["--mean", "123.7,116.3,103.5", "--std", "58,57,57"], "divide both by 255"),
        (["--mean", "0.5,0.5", "--std", "0.2"], "have 2 values but inputs have shape (3, 6, 6)"),
        (["--mean", "gone.json"], "gone.json does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(place, capsys, argv, says):
    assert main([*BARE, "--weights", "bare.pt", "--threat", "linf:0.1", *argv]) == 2
    err = capsys.readouterr().err
    assert says.replace("--mean without", "mean without").replace("--std w", "std w") in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "mean"),
    [
        (["--mean", "0.1", "0.2", "-0.3", "--std", "1"], "0.1,0.2,-0.3"),
        (["--mean", "-0.1,0.2"], "-0.1,0.2"),
        (["--mean=0.1,0.2"], "0.1,0.2"),
        (["--mean", "imagenet"], "imagenet"),
        ([], None),
    ],
)
def test_numbers_are_one_word_or_several(argv, mean):
    assert parse(One, "one", "one", argv).mean == mean


@pytest.mark.parametrize("text", ["[0.1, 0.2]", "0.1,0.2", "'0.1,0.2'"])
def test_a_list_in_a_file_is_of_one_model(tmp_path, text):
    file = tmp_path / "a.yaml"
    file.write_text(f"mean: {text}\n")
    assert parse(One, "one", "one", ["--config", str(file)]).mean == "0.1,0.2"
    assert parse(Several, "several", "several", ["--config", str(file)]).mean == ["0.1,0.2"]
    file.write_text("mean: [[0.1, 0.2], none]\n")
    assert parse(Several, "s", "s", ["--config", str(file)]).mean == ["0.1,0.2", "none"]


def test_one_for_all_models_or_one_for_each():
    models = {"model": ["a.py:f", "b.py:f"]}
    for given, means in (
        ([], [None, None]),
        (["imagenet"], ["imagenet", "imagenet"]),
        (["none", "0.5"], ["none", "0.5"]),
    ):
        found = named_models(Several(**models, mean=given, std=["1"] if given else []))
        assert [one.mean for one in found] == means
    with pytest.raises(InputError, match="2 models but 3 of --std: give it once, or once for"):
        named_models(Several(**models, std=["1", "2", "3"]))
    assert named_model("a.py:f", None, One(mean="mnist", box=(0.0, 255.0))).box == (0.0, 255.0)


def test_a_manifest_gives_back_what_it_recorded():
    one = {"mean": [0.1, 0.2], "std": [1.0, 2.0]}
    found = recalled(One(), one)
    assert (found.mean, found.std) == ("0.1,0.2", "1.0,2.0")
    assert recalled(One(mean="imagenet"), one).mean == "imagenet"
    assert recalled(One(), {}) == One()
    assert recalled(Several(), one).mean == ["0.1,0.2"]
    several = recalled(Several(), {"mean": [None, [0.1]], "std": [None, [1.0]]})
    assert (several.mean, several.std) == (["none", "0.1"], ["none", "1.0"])
    assert ends(One(box=("0,1", 2.0)), None) == ([0.0, 1.0], 2.0)
    assert ends(One(), (3, 4)) == (3.0, 4.0)
