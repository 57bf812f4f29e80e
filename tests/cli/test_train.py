"""``hauberk train`` as a user meets it: words, files, exit codes."""

import csv
import json
import shlex

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import hauberk as hb
from hauberk import train as strategies
from hauberk.cli.main import ABOUT, main
from hauberk.cli.strategy import NAMES, strategy_of
from hauberk.cli.train import schedule_of
from hauberk.data import load_data
from hauberk.errors import InputError, TrainingError
from hauberk.models import MLP
from hauberk.models.loading import load_model

NET = """
import torch
from hauberk.attacks import PGD
from hauberk.models import MLP
from hauberk.train import MAX, Standard
import hauberk as hb

def make():
    return MLP((64, 16, 10))

def slow(parameters):
    return torch.optim.SGD(parameters, lr=1e-3)

def ours(steps=2, threat=None):
    return MAX(threat or hb.Linf(0.1), steps=steps)

def broken(steps=2):
    raise RuntimeError("no luck")

class Mine(MAX):
    pass

plain = Standard()
number = 3
"""

MODEL = ["--model", "net.py:make"]
DATA = ["--data", "digits:train", "--limit", "64"]
TRAIN = ["train", *MODEL, *DATA, "--minibatch", "32", "--epochs", "1"]
BALLS = ["--threat", "linf:0.1", "--threat", "l1:2"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty directory with a model of the user's own, and its weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(0)
    save_file(MLP((64, 16, 10)).state_dict(), tmp_path / "net.safetensors")
    return tmp_path


def refused(capsys, words):
    """The one line of a command that ends with exit code 2."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


WORDS = {
    "standard": [],
    "single": ["--threat", "linf:0.1"],
    "pgdls": ["--threat", "l2:0.5", "--set", "attack={attack: PGD, steps: 2}"],
    "trades": ["--threat", "linf:0.1", "--set", "beta=1"],
    "avg": [*BALLS, "--set", "steps=2"],
    "max": [*BALLS, "--set", "steps=2"],
    "msd": [*BALLS, "--set", "steps=2", "--set", "ranking=first_order"],
    "ampgd": [*BALLS, "--set", "steps=2", "--set", "step_shares=[0.2, 1/3]"],
    "mma": ["--d-max", "l2:1", "--set", "steps=2", "--set", "bisections=2"],
    "ddn": ["--threat", "l2:0.5", "--set", "solver={solver: ddn, steps: 3}"],
    "omma": ["--threat", "linf", "--set", "d_max=0.2", "--set", "steps=2"],
    "random-norm": [*BALLS, "--set", "steps=2", "--set", "per=example"],
    "eat": [*BALLS, "--set", "steps=2"],
    "ramp": [*BALLS, "--set", "steps=2", "--set", "pairing=1/2"],
}


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_trains(place, capsys, name):
    words = ["--strategy", name, *WORDS[name], "--out", "runs/a", "--validation", "8"]
    assert main([*TRAIN, *words, "--validate-steps", "2"]) == 0
    shown = capsys.readouterr().out
    for word in ("epoch 1/1", "selected", "accuracy clean", "passes", "seconds"):
        assert word in shown
    assert ("accuracy union" in shown) == (name != "standard")
    told = json.loads((place / "runs/a/config.json").read_text())
    assert told["strategy"]["strategy"] == NAMES[name]
    assert told["minibatch"] == 32
    before = load_file("net.safetensors")
    after = load_file("runs/a/best.safetensors")
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    with (place / "runs/a/history.csv").open(newline="", encoding="utf-8") as stream:
        (record,) = csv.DictReader(stream)
    weighed = [f"weight {t} median" for t in ("linf:0.1", "l1:2")]
    assert all((column in record) == (name == "ampgd") for column in weighed)
    assert (place / "runs/a/weights.png").exists() == (name == "ampgd")
    assert ("weights.png" in shown) == (name == "ampgd")


def test_every_name_is_a_strategy():
    assert set(NAMES) == set(WORDS)
    for name in NAMES.values():
        assert issubclass(getattr(strategies, name), strategies.Strategy)


def test_the_command_is_a_call_of_fit(place):
    """The weights written are those that the function gives."""
    words = ["--strategy", "max", *BALLS, "--set", "steps=2", "--seed", "3", "--out", "a"]
    words += ["--optimiser", "sgd", "--nesterov", "--momentum", "0.8", "--weight-decay", "1e-3"]
    words += ["--schedule", "0:0,1:1e-2", "--clip", "1", "--ema", "0.9", "--attack-mode", "train"]
    assert main([*TRAIN, *words, "--weights", "net.safetensors"]) == 0
    threat = hb.Union(hb.Linf(0.1), hb.L1(2))
    found = strategies.fit(
        load_model("net.py:make", "net.safetensors"), load_data("digits:train", limit=64),
        strategies.MAX(threat, steps=2), epochs=1, minibatch=32, optimiser="sgd", nesterov=True,
        momentum=0.8, weight_decay=1e-3, schedule=[(0, 0.0), (1, 1e-2)], clip=1.0, ema=0.9,
        attack_mode="train", seed=3,
    )  # fmt: skip
    written = load_file("a/best.safetensors")
    assert all(torch.equal(written[k], v) for k, v in found.model.state_dict().items())


def test_new_weights_hang_on_the_seed_alone(place):
    words = [*TRAIN, "--strategy", "standard", "--learning-rate", "0"]
    for seed, out in (("1", "a"), ("1", "b"), ("2", "c")):
        torch.rand(3)
        assert main([*words, "--seed", seed, "--out", out]) == 0
    one, same, other = (load_file(f"{out}/last.safetensors") for out in "abc")
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["layers.0.weight"], other["layers.0.weight"])


def test_yaml_says_what_the_command_line_says(place):
    told = {
        "model": "net.py:make", "data": "digits:train", "limit": 64, "minibatch": 32, "epochs": 2,
        "strategy": {
            "name": "max", "steps": 3, "grow": 0.3,
            "attacks": {"l2": {"attack": "PGD", "steps": 4, "step_share": 0.1}},
        },
        "threat": ["linf:0.1", "l2:1/2"], "schedule": [[0, 0], [1, 0.01], [2, 0]],
        "validation": 16, "validate_steps": 2, "select": "clean", "box": [0, 1], "out": "y",
        "nesterov": True, "optimiser": "sgd",
    }  # fmt: skip
    (place / "run.yaml").write_text(yaml.safe_dump(told))
    assert main(["train", "--config", "run.yaml", "--seed", "4"]) == 0
    config = json.loads((place / "y/config.json").read_text())
    strategy = config["strategy"]
    assert (strategy["grow"], strategy["steps"]) == (0.3, 3)
    assert strategy["threat"] == "linf:0.1 | l2:0.5"
    used = strategy["attacks"]
    assert {k: v["steps"] for k, v in used.items()} == {"linf:0.1": 3, "l2:0.5": 4}
    assert used["l2:0.5"]["step_share"] == 0.1
    assert (config["epochs"], config["seed"], config["select"]) == (2, 4, "clean")
    assert config["schedule"] == ["linear", [[0, 0], [1, 0.01], [2, 0]]]
    assert config["nesterov"] is True
    summary = json.loads((place / "y/summary.json").read_text())
    assert summary["select"] == "clean"
    words = ["--model", "net.py:make", *DATA, "--minibatch", "32", "--epochs", "2", "--seed", "4"]
    words += ["--strategy", "{name: max, steps: 3, attacks: {l2: {attack: PGD, steps: 4, "]
    words[-1] += "step_share: 1/10}}}"
    words += ["--set", "grow=0.3", "--threat", "linf:0.1", "--threat", "l2:0.5", "--out", "z"]
    words += ["--schedule", "0:0,1:1e-2,2:0", "--validation", "16", "--validate-steps", "2"]
    words += ["--select", "clean", "--nesterov", "--optimiser", "sgd"]
    assert main(["train", *words]) == 0
    assert json.loads((place / "z/config.json").read_text()) == config
    one, two = (load_file(f"{out}/best.safetensors") for out in "yz")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_resumed_after_an_interruption(place, capsys, monkeypatch):
    words = [
        "--strategy",
        "single",
        "--threat",
        "linf:0.1",
        "--set",
        "attack={attack: PGD, steps: 2}",
    ]
    words += ["--weights", "net.safetensors", "--epochs", "3"]
    assert main([*TRAIN, *words, "--out", "whole"]) == 0
    assert main([*TRAIN, *words, "--out", "whole"]) == 2
    assert "--resume" in capsys.readouterr().err
    own, calls = strategies.Single.loss, []

    def loss(self, batch, memory):
        calls.append(batch.step)
        if batch.step == 3:
            raise KeyboardInterrupt
        return own(self, batch, memory)

    with monkeypatch.context() as patch:
        patch.setattr(strategies.Single, "loss", loss)
        assert main([*TRAIN, *words, "--out", "part"]) == 1
    assert "--resume" in capsys.readouterr().err
    assert not (place / "part/summary.json").exists()
    assert main([*TRAIN, *words, "--out", "part", "--resume"]) == 0
    shown = capsys.readouterr().out
    assert "epoch 1/3" not in shown
    assert "epoch 2/3" in shown
    one, two = (load_file(f"{out}/last.safetensors") for out in ("whole", "part"))
    assert all(torch.equal(one[k], two[k]) for k in one)
    # A finished run only tells again what it found; other settings are another run.
    assert main([*TRAIN, *words, "--out", "part", "--resume"]) == 0
    assert "weights" in capsys.readouterr().out
    assert "seed" in refused(capsys, [*TRAIN, *words, "--out", "part", "--resume", "--seed", "1"])


def test_the_command_told_evaluates_the_weights(place, capsys):
    words = ["--strategy", "avg", "--threat", "linf:0.05", "--threat", "l2:0.2", "--set", "steps=2"]
    assert main([*TRAIN, *words, "--out", "runs/my net"]) == 0
    told = capsys.readouterr().out.splitlines()[-1].strip()
    argv = shlex.split(told)
    assert argv[:2] == ["hauberk", "evaluate"]
    assert argv[argv.index("--data") + 1] == "digits:test"
    assert main([*argv[1:], "--suite", "fast", "--limit", "5"]) == 0
    shown = capsys.readouterr().out
    for word in ("linf:0.05", "l2:0.2", "union"):
        assert word in shown
    command = json.loads((place / "runs/my net/command.json").read_text())
    assert (command["model"], command["data"]) == ("net.py:make", "digits:train")


def test_validation_data_and_a_box_of_its_own(place, capsys):
    data = load_data("digits:train", limit=40)
    np.savez("own.npz", images=4 * data.images.flatten(1).numpy() - 2, labels=data.labels.numpy())
    words = ["train", *MODEL, "--data", "npz:own.npz", "--epochs", "1", "--box", "-2", "2"]
    words += ["--validation-data", "npz:own.npz", "--validation", "7", "--validate-steps", "2"]
    words += ["--strategy", "max", "--threat", "linf:0.2", "--set", "steps=1", "--out", "a"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "--box -2.0 2.0" in shown
    assert "--data npz:own.npz" in shown
    config = json.loads((place / "a/config.json").read_text())
    assert config["validation"]["shape"] == [7, 64]
    assert config["data"]["shape"] == [40, 64]


def test_strategies_and_optimisers_of_the_users_own(place):
    words = [*TRAIN, "--optimiser", "net.py:slow"]
    assert main([*words, "--strategy", "net.py:ours", "--set", "steps=1", "--out", "a"]) == 0
    config = json.loads((place / "a/config.json").read_text())
    assert config["strategy"]["steps"] == 1
    assert config["optimiser"].endswith(":slow")
    made = strategy_of("net.py:Mine", ["linf:0.2"], ["steps=4"])
    assert type(made).__name__ == "Mine"
    assert (made.steps, str(made.threat)) == (4, "linf:0.2")
    assert isinstance(strategy_of("net.py:plain"), strategies.Standard)
    assert str(strategy_of("net.py:ours", ["l2:1"]).threat) == "l2:1"
    assert strategy_of({"name": "net.py:ours", "steps": 7}, (), ["steps=5"]).steps == 5


def test_schedules():
    assert schedule_of("0:0,6:1e-3,15:0") == [[0, 0], [6, 1e-3], [15, 0]]
    assert schedule_of("steps 20000:0.3,30000:1/10") == ("steps", [[20000, 0.3], [30000, 0.1]])
    assert schedule_of(["epochs", [[5, 0.1]]]) == ("epochs", [[5, 0.1]])
    assert schedule_of([[0, "1e-3"], [2, 0]]) == [[0, 1e-3], [2, 0]]
    assert schedule_of(None) is None


def test_dry_run_tells_the_cost_and_writes_nothing(place, capsys):
    words = [
        "--strategy",
        "pgdls",
        "--threat",
        "linf:0.1",
        "--set",
        "attack={attack: PGD, steps: 5}",
    ]
    words += ["--epochs", "4", "--validation", "14", "--dry-run", "--out", "runs/x"]
    assert main([*TRAIN, *words]) == 0
    shown = capsys.readouterr().out
    assert "50 examples in 2 minibatches, 14 to validate on" in shown
    # Five steps, at the threat's full size: 6 forwards, 5 backwards, and one each way.
    assert "13 passes per example" in shown
    assert "4 epochs: about" in shown
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no strategy"),
        (["--strategy", "magic"], "unknown strategy 'magic'"),
        (["--strategy", "{steps: 3}"], "has no name"),
        (["--strategy", "max"], "needs a threat: give --threat"),
        (["--strategy", "standard", "--threat", "linf:0.1"], "leave --threat out"),
        (["--strategy", "max", "--threat", "euclid"], "unknown threat"),
        (["--strategy", "single", *BALLS], "one threat"),
        (["--strategy", "ramp", "--threat", "l2:1"], "one linf and one l1"),
        (["--strategy", "mma", "--threat", "rt:3,1"], "lp norm"),
        (["--strategy", "max", "--d-max", "l2:1"], "--d-max"),
        (["--strategy", "mma", "--d-max", "l2:1", "--threat", "l2:1"], "--d-max"),
        (["--strategy", "{name: max, threat: 'l2:1'}", *BALLS], "has a threat already"),
        (["--strategy", "max", *BALLS, "--set", "steps"], "NAME=VALUE"),
        (["--strategy", "max", *BALLS, "--set", "step=3"], "no field 'step'"),
        (["--strategy", "max", *BALLS, "--set", "steps=many"], "a whole number"),
        (["--strategy", "max", *BALLS, "--set", "steps=2.5"], "a whole number"),
        (["--strategy", "max", *BALLS, "--set", "steps=0"], "1 or more"),
        (["--strategy", "max", *BALLS, "--set", "grow=2"], "grow is 2"),
        (["--strategy", "max", *BALLS, "--set", "clean=yes"], "a number"),
        (["--strategy", "max", *BALLS, "--set", "steps=[1"], "cannot be read"),
        (["--strategy", "ampgd", *BALLS, "--set", "random_start=1"], "true or false"),
        (["--strategy", "random-norm", *BALLS, "--set", "per=day"], "batch or example"),
        (["--strategy", "msd", *BALLS, "--set", "k=[1, 2, 3]"], "a list"),
        (["--strategy", "max", *BALLS, "--set", "attacks={l2: {attack: PGD}}"], "the threats are"),
        (["--strategy", "max", *BALLS, "--set", "attacks={attack: Hammer}"], "unknown attack"),
        (["--strategy", "max", *BALLS, "--set", "attacks={attack: PGD, pace: 1}"], "no setting"),
        (["--strategy", "max", *BALLS, "--set", "attacks={attack: PGD, portion: 0.5}"], "alone"),
        (["--strategy", "max", *BALLS, "--set", "attacks=3"], "attacks by kind"),
        (["--strategy", "gone.py:name"], "does not exist"),
        (["--strategy", "net.py:number"], "gave a int"),
        (["--strategy", "net.py:number", "--set", "steps=1"], "made already"),
        (["--strategy", "net.py:broken"], "no luck"),
        (["--strategy", "net.py:ours", "--set", "pace=1"], "cannot be called"),
    ],
)
def test_bad_strategies_are_one_line_and_exit_code_2(place, capsys, words, message):
    # There is no such model: the strategy is refused before it is looked for.
    assert message in refused(capsys, [*TRAIN, "--model", "gone:make", *words, "--out", "a"])
    assert not (place / "a").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", ""], "--out"),
        (["--out", "net.py"], "is a file"),
        (["--epochs", "0"], "epochs"),
        (["--epochs", "few"], "epochs"),
        (["--minibatch", "0"], "minibatch"),
        (["--batch-size", "4"], "batch-size"),
        (["--optimiser", "magic"], "unknown optimiser"),
        (["--optimiser", "net.py:number"], "is no function"),
        (["--optimiser", "net.py:slow", "--learning-rate", "1"], "rate of its own"),
        (["--optimiser", "net.py:slow", "--weight-decay", "1"], "weight decay of its own"),
        (["--momentum", "0.5"], "--optimiser sgd"),
        (["--nesterov"], "--optimiser sgd"),
        (["--learning-rate", "-1"], "--learning-rate is -1"),
        (["--schedule", "soon"], "schedule"),
        (["--schedule", "5:1,2:0"], "increasing"),
        (["--schedule", "days 1:0"], "unknown schedule"),
        (["--schedule", "0:1:2"], "schedule"),
        (["--clip", "0"], "--clip is 0"),
        (["--ema", "1"], "ema"),
        (["--augment", "blur"], "augmentation"),
        (["--select", "luck", "--validation", "5"], "unknown select"),
        (["--select", "union"], "--validation"),
        (["--patience", "2"], "--validation"),
        (["--validation", "-1"], "--validation"),
        (["--attack-mode", "sleep"], "unknown --attack-mode"),
        (["--precision", "8"], "precision"),
        (["--every-minutes", "0"], "--every-minutes is 0"),
        (["--devices", "0"], "--devices is 0"),
        (["--devices", "2", "--nodes", "2"], "torchrun"),
        (["--device", "banana"], "unknown device 'banana'"),
        (["--seed", "99999999999999999999"], "--seed"),
        (["--box", "1", "0"], "box"),
    ],
)
def test_bad_words_are_refused_before_model_and_data(place, capsys, words, message):
    known = ["train", "--model", "gone:make", "--data", "gone:train", "--strategy", "standard"]
    known += ["--epochs", "1", "--out", "a"]
    assert message in refused(capsys, [*known, *words])
    assert not (place / "a").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "net.py:gone"], "net.py"),
        (["--weights", "gone.pt"], "gone.pt"),
        (["--data", "gone:train"], "gone"),
        (["--validation", "64"], "validation is 64"),
        (["--validation", "64", "--dry-run"], "--validation 64"),
        (["--validation-data", "gone:test"], "gone"),
        (["--augment", "flip", "--data", "npz:flat.npz"], "images"),
        (["--box", "0", "inf"], "box"),
    ],
)
def test_bad_models_and_data(place, capsys, words, message):
    np.savez("flat.npz", images=np.zeros((4, 64), np.float32), labels=np.arange(4))
    error = refused(capsys, [*TRAIN, "--strategy", "standard", "--out", "a", *words])
    assert message in error
    assert not (place / "a").exists()


def test_words_that_are_needed(place, capsys):
    words = ["--strategy", "standard", "--out", "a"]
    assert "--model" in refused(capsys, ["train", *DATA, "--epochs", "1", *words])
    assert "--data" in refused(capsys, ["train", *MODEL, "--epochs", "1", *words])
    assert "--epochs" in refused(capsys, ["train", *MODEL, *DATA, *words])
    assert "--out" in refused(capsys, [*TRAIN, "--strategy", "standard"])


def test_a_training_that_breaks_is_one_line_and_exit_code_1(place, capsys):
    words = ["--strategy", "standard", "--optimiser", "sgd", "--learning-rate", "1e30"]
    assert main([*TRAIN, *words, "--epochs", "5", "--out", "a"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "learning rate" in error
    assert "--clip 1" in error


def test_help_names_the_command(capsys):
    for word in ("train ", "--strategy", "hauberk train --model"):
        assert word in ABOUT


class Launched:
    """What starts processes, and one of them that ends badly."""

    def __init__(self, error):
        self.error = error

    def __call__(self, arguments, devices, nodes):
        self.arguments, self.processes = arguments, devices * nodes
        if self.error is not None:
            raise self.error
        return 0


def test_devices_start_processes_that_run_the_same_words(place, monkeypatch, capsys):
    words = [*TRAIN, "--strategy", "standard", "--out", "a", "--devices", "2"]
    for error, code in (
        (None, 0),
        (InputError("give\nless"), 2),
        (TrainingError("loss is nan"), 1),
    ):
        launched = Launched(error)
        monkeypatch.setattr("hauberk.machines.launch.launch", launched)
        assert main(words) == code
        assert launched.arguments == ["-m", "hauberk", *words]
        assert launched.processes == 2
        told = capsys.readouterr().err
        assert told.count("\n") == bool(error)
        assert " ".join(str(error or "").split()) in told
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr("hauberk.machines.launch.launch", None)
    # This process must outlive what it was begun by.
    monkeypatch.setattr("hauberk.machines.launch.end_together", lambda: None)
    told = place / "told"
    told.mkdir()
    monkeypatch.setenv("HAUBERK_ERRORS", str(told))
    assert main(words) == 1
    assert [file.read_text()[:6] for file in told.iterdir()] == ["input:"]
    assert capsys.readouterr().err == ""


def test_the_folder_of_a_training_is_a_model_for_every_command(place, capsys, monkeypatch):
    assert main([*TRAIN, "--strategy", "standard", "--out", "run"]) == 0
    told = capsys.readouterr().out
    assert "hauberk evaluate --model run/model.yaml --data digits:test" in told
    (place / "below").mkdir()
    monkeypatch.chdir(place / "below")
    few = ["--data", "digits:test", "--limit", "8"]
    judged = ["evaluate", "--model", "../run", *few, "--threat", "linf:0.05", "--suite", "fast"]
    assert main([*judged, "--out", "judged"]) == 0
    recorded = json.loads((place / "below/judged/manifest.json").read_text())
    assert recorded["weights"] == "../run/best.safetensors"
    assert recorded["weights_sha256"]
    assert main(["radius", "--model", "../run/model.yaml", *few, "--metric", "l2"]) == 0
    words = ["--strategy", "standard", "--minibatch", "32", "--epochs", "1", "--out", "more"]
    assert main(["train", "--model", "../run", *DATA, *words]) == 0
    again = yaml.safe_load((place / "below/more/model.yaml").read_text())
    assert again["model"] == "../../net.py:make"
    pair = ["minmax", "--model", "../run", "--model", "more", *few, "--threat", "linf:0.05"]
    assert main([*pair, "--name", "a", "--name", "b"]) == 0
