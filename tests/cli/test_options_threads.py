"""``--threads``: what every command that runs models does with it, and says of it."""

import json

import pytest
import torch

from hauberk.cli.main import main
from hauberk.victims import threads
from hauberk.victims.threads import Threads

NOTING = """
import torch
from torch import nn

class Noting(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)  # some of the few examples must be right and break
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        with open("seen.txt", "a") as file:
            print(torch.get_num_threads(), file=file)
        return self.net(x)
"""

DATA = ["--data", "digits:test", "--limit", "6"]
ONE = ["--model", "net.py:Noting", *DATA]
COMMANDS = {
    "evaluate": [*ONE, "--threat", "linf:0.1", "--suite", "fast"],
    "radius": [*ONE, "--metric", "l2", "--budget", "60"],
    "minmax": [*ONE, "--model", "net.py:Noting", "--threat", "linf:0.1", "--steps", "2"],
    "transfer": [*ONE, "--model", "net.py:Noting", "--threat", "linf:0.1", "--set", "steps=2"],
    "curves": [*ONE, "--threat", "linf:0.1", "--budget", "60"],
    "corruptions": [*ONE, "--kind", "fog", "--severity", "1"],
    "patterns": [*ONE, "--budget", "20", "--eps", "linf:0.1", "--out", "drawn"],
    "trace": [*ONE, "--threat", "linf:0.1", "--set", "steps=2"],
    "landscape": [*ONE, "--threat", "linf:0.1", "--points", "3"],
    "gallery": [*ONE, "--threat", "linf:0.1"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty directory with a model that notes threads; four threads that nothing has set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NOTING)
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    number = [4]  # noted only: the tests would wait for busy cores
    monkeypatch.setattr(torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: number.__setitem__(0, n))
    return tmp_path


def seen(place):
    return {int(line) for line in (place / "seen.txt").read_text().split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_models_with_the_number_asked_for(name, place, capsys):
    assert main([name, *COMMANDS[name], "--threads", "2"]) == 0
    assert seen(place) == {2}
    assert capsys.readouterr().err.count("hauberk: 2 threads (as asked)\n") == 1
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("name", ["evaluate", "trace"])
def test_a_command_times_a_pass_and_says_so(name, place, capsys, monkeypatch):
    found = Threads(3, "timed", {1: 0.02, 2: 0.01, 3: 0.005})
    monkeypatch.setattr(threads, "timed", lambda work, most: found)
    assert main([name, *COMMANDS[name]]) == 0
    assert seen(place) == {3}
    line = "hauberk: 3 threads (a pass takes 20 ms with 1, 10 ms with 2, 5 ms with 3)\n"
    assert line in capsys.readouterr().err
    assert torch.get_num_threads() == 4


def test_a_resumed_evaluation_keeps_the_number_of_the_manifest(place, capsys, monkeypatch):
    command = ["evaluate", *COMMANDS["evaluate"], "--out", "x"]
    torch.manual_seed(0)
    assert main([*command, "--threads", "3"]) == 0
    assert json.loads((place / "x" / "manifest.json").read_text())["threads"] == 3
    capsys.readouterr()
    monkeypatch.setattr(threads, "timed", lambda work, most: pytest.fail("timed"))
    torch.manual_seed(0)
    assert main([*command, "--resume"]) == 0
    assert "hauberk: 3 threads (as the run was begun)\n" in capsys.readouterr().err
    torch.manual_seed(0)
    assert main(["verify", "x", "--model", "net.py:Noting"]) == 0
    assert "hauberk: 3 threads (as the run was begun)\n" in capsys.readouterr().err


def test_training_and_sweeps_take_it(place, capsys):
    training = ["--strategy", "standard", "--epochs", "1", "--threads", "2"]
    assert main(["train", *ONE[:2], *DATA, *training, "--out", "t"]) == 0
    assert seen(place) <= {2, 4}  # before it begins, it looks at the model
    assert (place / "seen.txt").read_text().endswith("2\n")
    assert json.loads((place / "t" / "summary.json").read_text())["threads"] == 2
    (place / "r.yaml").write_text(
        "model: net.py:Noting\ndata: digits:test\nlimit: 6\nstrategy: single\nepochs: 1\n"
        "set: [steps=1]\nthreat: ['linf:0.1']\n"
    )
    (place / "seen.txt").unlink()
    words = ["--recipe", "r.yaml", *DATA, "--suite", "fast", "--threads", "3", "--out", "s"]
    assert main(["sweep", *words]) == 0
    assert seen(place) <= {3, 4}
    assert (place / "seen.txt").read_text().endswith("3\n")
    assert json.loads((place / "s" / "r" / "run" / "summary.json").read_text())["threads"] == 3


def test_no_number_is_refused_in_one_line(place, capsys):
    for name in ("evaluate", "trace"):
        assert main([name, *COMMANDS[name], "--threads", "0"]) == 2
        assert "threads is 0: give 1 or more, or leave it out" in capsys.readouterr().err
