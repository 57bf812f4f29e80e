"""``hauberk evaluate`` and ``hauberk verify`` as a user meets them: words, files, exit codes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hauberk.cli.main import ABOUT, main

NET = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

def pair():
    class Pair(nn.Module):
        def forward(self, x):
            return None, x
    return Pair()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty directory with a model of the user's own and data of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    rng = np.random.default_rng(0)
    images = rng.random((20, 1, 8, 8), dtype=np.float32)
    labels = model(torch.from_numpy(images)).argmax(1).numpy()
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    return tmp_path


MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
RUN = ["evaluate", *MODEL, "--data", "npz:test.npz", "--suite", "fast"]
THREATS = ["--threat", "linf:8/255", "--threat", "l2:0.3", "--threat", "l1:1"]


def test_evaluate_then_verify(place, capsys):
    assert main([*RUN, *THREATS, "--out", "runs/x"]) == 0
    shown = capsys.readouterr().out
    for word in ("clean", "linf:8/255", "l2:0.3", "l1:1", "union", "average", "passes"):
        assert word in shown
    summary = json.loads((place / "runs/x/summary.json").read_text())
    assert summary["n"] == 20
    assert set(summary["threats"]) == {"linf:8/255", "l2:0.3", "l1:1"}
    assert main(["verify", "runs/x", *MODEL, "--data", "npz:test.npz"]) == 0
    assert "0 refuted" in capsys.readouterr().out


def test_verify_refutes_another_model(place, capsys):
    assert main([*RUN, *THREATS, "--out", "runs/x"]) == 0
    assert main(["verify", "runs/x", "--model", "net.py:make"]) == 1


def test_yaml_says_what_the_command_line_says(place, capsys):
    (place / "run.yaml").write_text(
        "model: net.py:make\nweights: net.safetensors\ndata: npz:test.npz\nsuite: fast\n"
        "threat: [linf:8/255, l2:0.3]\nlimit: 5\nbox: [-1, 2]\nout: runs/y\n"
    )
    assert main(["evaluate", "--config", "run.yaml", "--seed", "4"]) == 0
    summary = json.loads((place / "runs/y/summary.json").read_text())
    assert (summary["n"], summary["seed"]) == (5, 4)
    assert set(summary["threats"]) == {"linf:8/255", "l2:0.3"}


def test_out_is_not_overwritten_but_resumed(place, capsys):
    assert main([*RUN, *THREATS, "--out", "runs/x"]) == 0
    assert main([*RUN, *THREATS, "--out", "runs/x"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*RUN, *THREATS, "--out", "runs/x", "--resume"]) == 0
    assert main([*RUN, *THREATS, "--out", "runs/x", "--resume", "--seed", "9"]) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["frobnicate"], "frobnicate"),
        (["evaluate", "--nonsense"], "--nonsense"),
        (["evaluate", "--limit", "many"], "limit"),
        (["evaluate", *MODEL, "--data", "npz:test.npz"], "--threat"),
        (["evaluate", "--data", "npz:test.npz", *THREATS], "--model"),
        (["evaluate", *MODEL, *THREATS], "--data"),
        ([*RUN, "--threat", "linf:x"], "lP:EPS"),
        ([*RUN, "--threat", "l2:-1"], "eps"),
        ([*RUN, *THREATS, "--suite", "huge"], "fast"),
        ([*RUN, *THREATS, "--batch-size", "0"], "--batch-size"),
        ([*RUN, *THREATS, "--limit", "0"], "limit"),
        ([*RUN, *THREATS, "--device", "cuda:99"], "device"),
        ([*RUN, *THREATS, "--box", "1", "0"], "box"),
        ([*RUN, *THREATS, "--box", "0", "0.5"], "box"),
        ([*RUN, *THREATS, "--threat", "l1:1"], "twice"),
        (["evaluate", "--model", "net.py:pair", "--data", "npz:test.npz", *THREATS], "tuple"),
        (["evaluate", "--model", "net.py:none", "--data", "npz:test.npz", *THREATS], "none"),
        (["evaluate", *MODEL, "--data", "npz:no.npz", *THREATS], "no.npz"),
        (["evaluate", *MODEL, "--data", "mnist:test", *THREATS], "data"),
        (["verify", "runs/none", *MODEL], "runs/none"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(place, capsys, argv, message):
    assert main([*argv, "--out", "runs/z"] if argv[0] == "evaluate" else argv) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert message in told.err
    assert "Traceback" not in told.err
    assert not (place / "runs/z").exists()


def test_weights_that_do_not_fit_name_the_keys(place, capsys):
    save_file({"wrong.weight": torch.zeros(3)}, place / "bad.safetensors")
    argv = ["evaluate", "--model", "net.py:make", "--weights", "bad.safetensors"]
    assert main([*argv, "--data", "npz:test.npz", *THREATS]) == 2
    assert "wrong.weight" in capsys.readouterr().err


def test_help_and_suites_and_cost(place, capsys):
    assert main([]) == 0
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == ABOUT * 2
    assert main(["evaluate", "--list-suites"]) == 0
    assert "standard" in capsys.readouterr().out
    assert main([*RUN, *THREATS, "--dry-run", "--out", "runs/x"]) == 0
    assert "passes per example" in capsys.readouterr().out
    assert not (place / "runs/x").exists()


def test_options_that_would_be_ignored(place, capsys):
    for more in ([], ["--dry-run"]):
        assert main([*RUN, *THREATS, "--resume", *more]) == 2
        assert "--resume continues a run on disk: give --out, its folder" in capsys.readouterr().err
        assert main([*RUN, *THREATS, "--union-only", "--all-attacks", *more]) == 2
        assert "--union-only and --all-attacks exclude each other" in capsys.readouterr().err


def test_a_device_that_is_none(place, capsys):
    for argv in ([*RUN, *THREATS], ["radius", *RUN[1:7], "--metric", "l2"]):
        assert main([*argv, "--device", "banana"]) == 2
        told = capsys.readouterr().err
        assert told == "hauberk: unknown device 'banana': give auto, cpu, cuda, cuda:0 or mps\n"


ODD = """
import torch
from torch import nn

class Detached(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)[:, :10]

class Noisy(nn.Module):
    def forward(self, x):
        return (x + torch.rand_like(x)).flatten(1)[:, :10]
"""


def passes(told):
    return int(told.split("at most ")[1].split()[0])


@pytest.mark.filterwarnings("always::hauberk.errors.HauberkWarning")
def test_a_dry_run_goes_as_far_as_a_run_before_its_first_attack(place, capsys):
    (place / "odd.py").write_text(ODD)
    odd = ["--data", "npz:test.npz", "--suite", "fast", *THREATS]
    assert main([*RUN, *THREATS, "--dry-run"]) == 0
    plain = passes(capsys.readouterr().out)
    assert main(["evaluate", "--model", "odd.py:Detached", *odd, "--dry-run"]) == 0
    assert passes(capsys.readouterr().out) == plain
    # Ten draws of each.
    assert main(["evaluate", "--model", "odd.py:Noisy", *odd, "--dry-run"]) == 0
    assert passes(capsys.readouterr().out) == 10 * plain
    (place / "grid.yaml").write_text("about: a grid\nattacks: {grid: {attack: Grid}}\n")
    (place / "l1.yaml").write_text(
        "about: of l1 alone\nattacks: {apgd: {attack: APGD, threats: [l1]}}\n"
    )
    for suite, message in (("grid.yaml", "can be enumerated"), ("l1.yaml", "holds no attack for")):
        for more in (["--dry-run"], ["--out", "runs/x"]):
            assert main([*RUN, *THREATS, "--suite", suite, *more]) == 2
            assert message in capsys.readouterr().err
    assert not (place / "runs").exists()


@pytest.mark.filterwarnings("always::hauberk.errors.HauberkWarning")
def test_probabilities_are_warned_of(place, capsys):
    (place / "soft.py").write_text(
        "from torch import nn\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))\n"
    )
    argv = ["evaluate", "--model", "soft.py:make", "--data", "npz:test.npz", "--suite", "fast"]
    assert main([*argv, *THREATS]) == 0
    assert "softmax" in capsys.readouterr().err


def test_the_generalisation_gap(place, capsys):
    """Training examples under the same attacks, in a ledger of their own."""
    data = dict(np.load(place / "test.npz"))
    labels = data["labels"].copy()
    labels[:5] = (labels[:5] + 1) % 10
    np.savez(place / "held.npz", images=data["images"], labels=labels)
    words = ["evaluate", *MODEL, "--data", "npz:held.npz", "--limit", "10", "--suite", "fast"]
    words += ["--threat", "linf:8/255", "--gap", "npz:test.npz"]
    assert main([*words, "--out", "g"]) == 0
    shown = capsys.readouterr().out
    assert "generalisation gap: 10 training and 10 test examples" in shown
    assert "g/gap.json" in shown
    told = json.loads((place / "g/gap.json").read_text())
    assert list(told) == ["clean", "linf:8/255", "union"]
    assert (told["clean"]["train"], told["clean"]["test"], told["clean"]["gap"]) == (1.0, 0.5, 0.5)
    train = json.loads((place / "g/train/summary.json").read_text())
    test = json.loads((place / "g/summary.json").read_text())
    assert train["n"] == 10
    under = [s["threats"]["linf:8/255"]["accuracy"] for s in (train, test)]
    assert told["linf:8/255"]["gap"] == under[0] - under[1]
    for run, source in (("g", "npz:held.npz"), ("g/train", "npz:test.npz")):
        assert main(["verify", run, *MODEL, "--data", source, "--limit", "10"]) == 0
        assert json.loads((place / run / "manifest.json").read_text())["data"] == source
    assert main([*words, "--out", "g", "--resume"]) == 0
    assert json.loads((place / "g/gap.json").read_text()) == told
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 0
    assert "training examples: at most" in capsys.readouterr().out
    assert main([*words[:-1], "npz:none.npz", "--out", "h"]) == 2
    assert not (place / "h").exists()
    assert main(words) == 0  # without a folder the table alone


def test_the_gap_of_fewer_training_examples(place, capsys):
    words = [*RUN, "--threat", "linf:8/255", "--offset", "5", "--gap", "npz:test.npz"]
    assert main([*words, "--limit", "15"]) == 0
    assert "15 training and 15 test examples" in capsys.readouterr().out


def test_a_floor_from_the_console(place, capsys):
    run = [*RUN, "--threat", "linf:2/255", "--floor", "3"]
    assert main([*run, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "floor: about 500 passes per example" in shown
    assert "on 3 of the points that stand" in shown
    assert main([*run, "--out", "runs/x"]) == 0
    assert "floor: 0 of 3 of " in capsys.readouterr().out
    assert json.loads((place / "runs/x/summary.json").read_text())["floor"]["drawn"] == 3
    assert main(["verify", "runs/x", *MODEL]) == 0
    assert main([*RUN, "--threat", "l2:1", "--floor", "-1"]) == 2
    assert "floor is -1" in capsys.readouterr().err
