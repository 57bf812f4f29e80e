"""``--strict`` in every command, and models that depend on the batch, as a user meets them."""

import json
from importlib import import_module

import numpy as np
import pytest

from hauberk.cli.main import COMMANDS, main
from hauberk.evaluation.accuracy import summary as adding
from hauberk.evaluation.core import run as core

pytestmark = pytest.mark.filterwarnings("default::hauberk.errors.HauberkWarning")

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DATA = ["--data", "digits:test", "--limit", "20"]
RUNS = {
    "evaluate": ["--threat", "linf:0.1", "--suite", "fast"],
    "radius": ["--metric", "linf", "--budget", "60"],
    "minmax": ["--threat", "linf:0.1", "--steps", "2", "--transform", "ori"],
    "transfer": ["--threat", "linf:0.1", "--set", "steps=2"],
    "corruptions": ["--kind", "gaussian_noise", "--severity", "1"],
    "curves": ["--threat", "linf:0.2", "--budget", "60"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_it(name):
    kind = getattr(import_module(f"hauberk.cli.{name}"), f"{name.title()}Command")
    assert [each.name for each in kind.declared()].count("strict") == 1


@pytest.fixture
def shifted(place):
    """The digits with labels one higher, but for the nines."""
    from hauberk.data import load_data

    data = load_data("digits:test")
    some = data.labels < 9
    np.savez("shifted.npz", images=data.images[some].numpy(), labels=data.labels[some].numpy() + 1)
    return ["--data", "npz:shifted.npz", "--limit", "40"]


@pytest.mark.parametrize("name", RUNS)
def test_a_warning_stops_a_run_before_any_attack(name, shifted, capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("attacked")

    monkeypatch.setattr(core, "do", refuse)
    assert main([name, *MODEL, *shifted, *RUNS[name], "--out", "runs/x", "--strict"]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert "on 0 of 40 clean inputs, and on" in shown[-1]
    assert shown[-1].endswith("--strict: nothing was attacked")
    assert sum("warning" in line for line in shown) == 1


def test_without_it_the_warning_is_said_once_and_recorded(shifted, place, capsys):
    assert main(["evaluate", *MODEL, *shifted, *RUNS["evaluate"], "--out", "runs/y"]) == 0
    assert capsys.readouterr().err.count("off by one") == 1
    manifest = json.loads((place / "runs/y/manifest.json").read_text())
    assert [found["code"] for found in manifest["findings"]] == ["labels off by one"]
    assert (
        manifest["warnings"] == json.loads((place / "runs/y/summary.json").read_text())["warnings"]
    )


@pytest.mark.parametrize("name", ["evaluate", "radius"])
def test_an_honest_run_passes(name, place, capsys):
    assert main([name, *MODEL, *DATA, *RUNS[name], "--strict"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_warnings_that_come_with_the_result_keep_it(place, capsys, monkeypatch):
    made = adding.head
    late = {"warnings": ["one", "two"]}
    monkeypatch.setattr(adding, "head", lambda *args: made(*args) | late)
    words = ["evaluate", *MODEL, *DATA, *RUNS["evaluate"]]
    assert main([*words, "--out", "runs/z", "--strict"]) == 2
    shown = capsys.readouterr()
    assert "union" in shown.out
    assert shown.err.strip().endswith(
        "warning: one (2 warnings in all); --strict: the result is kept in runs/z"
    )
    assert (place / "runs/z/summary.json").is_file()
    assert main([*words, "--strict"]) == 2
    assert capsys.readouterr().err.strip().endswith("the result is shown above")
    assert main(words) == 0


def test_it_stands_in_a_file_as_well(shifted, place, capsys):
    (place / "run.yaml").write_text("strict: true\n")
    assert main(["evaluate", "--config", "run.yaml", *MODEL, *shifted, *RUNS["evaluate"]]) == 2
    assert "nothing was attacked" in capsys.readouterr().err


CENTRED = """
from torch import nn

class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net[1](self.net[0](x) - 0.1 * x.mean(0).flatten())

def make():
    return Centred()
"""


@pytest.fixture
def centred(place):
    from safetensors.torch import load_file, save_file

    (place / "centred.py").write_text(CENTRED)
    weights = load_file(place / "net.safetensors")
    save_file({f"net.{name}": value for name, value in weights.items()}, "centred.safetensors")
    return ["--model", "centred.py:make", "--weights", "centred.safetensors"]


@pytest.mark.parametrize("name", RUNS)
def test_a_model_that_depends_on_the_batch_is_refused(name, centred, place, capsys):
    assert main([name, *centred, *DATA, *RUNS[name], "--out", "runs/x"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "depends on the rest of the batch" in said
    assert "the forward of Centred itself" in said
    assert "or give --batch-dependent alone" in said
    assert not (place / "runs/x/manifest.json").exists()


@pytest.mark.parametrize("name", ["evaluate", "radius", "transfer"])
def test_or_each_example_is_judged_alone_and_verify_agrees(name, centred, place, capsys):
    words = [name, *centred, *DATA, *RUNS[name], "--out", "runs/x", "--batch-dependent", "alone"]
    assert main(words) == 0
    assert "each example is shown to it alone" in " ".join(capsys.readouterr().err.split())
    manifest = json.loads((place / "runs/x/manifest.json").read_text())
    assert len(manifest["alone"]) == 1
    for size in ([], ["--batch-size", "3"]):
        assert main(["verify", "runs/x", *centred, "--data", "digits:test", *size]) == 0
    assert "0 refuted" in capsys.readouterr().out
    # The clean accuracy is that of a loop over single examples.
    import torch

    from hauberk.data import load_data
    from hauberk.models.loading import load_model

    model, data = load_model(*centred[1::2]).eval(), load_data("digits:test", limit=20)
    with torch.no_grad():
        right = [
            model(x[None]).argmax(1) == y for x, y in zip(data.images, data.labels, strict=True)
        ]
    if name == "evaluate":
        summary = json.loads((place / "runs/x/summary.json").read_text())
        assert summary["clean_accuracy"] == pytest.approx(torch.cat(right).float().mean().item())


def test_another_rule_is_refused(place, capsys):
    words = ["evaluate", *MODEL, *DATA, *RUNS["evaluate"], "--batch-dependent", "maybe"]
    assert main(words) == 2
    assert "--batch-dependent is 'maybe': give refuse or alone" in capsys.readouterr().err
