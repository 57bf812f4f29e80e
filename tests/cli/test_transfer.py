"""``hauberk transfer`` as a user meets it: words, files, exit codes."""

import csv
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.cli.load import NamedModel, names_of
from hauberk.cli.main import main
from hauberk.cli.parsing import parse
from hauberk.cli.transfer import TransferCommand, with_votes
from hauberk.data import load_data
from hauberk.errors import InputError
from hauberk.evaluation.transfers.presets import halves

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="module")
def trained():
    """Three linear models of the embedded digits, some of which had little time to learn."""
    data = load_data("digits:train")
    models = []
    for steps in (60, 15, 25):
        torch.manual_seed(steps)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(steps):
            loss = nn.functional.cross_entropy(model(data.images), data.labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        models.append(model.requires_grad_(False))
    return models


@pytest.fixture
def place(tmp_path, monkeypatch, trained):
    """An empty directory with three models of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    for name, model in zip("abc", trained, strict=True):
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    return tmp_path


MODELS = [
    word
    for name in "abc"
    for word in ("--model", "net.py:make", "--weights", f"{name}.safetensors")
]
DATA = ["--data", "digits:test", "--limit", "12"]
RUN = ["transfer", *MODELS, *DATA, "--threat", "linf:0.05", "--threat", "linf:0.1"]
QUICK = ["--set", "steps=3"]


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_end_to_end(place, capsys, trained):
    assert main([*RUN, *QUICK, "--seed", "3", "--out", "runs/t"]) == 0
    shown = capsys.readouterr().out
    for word in ("a ", "AvgAcc", "linf:0.05", "white-box", "gap", "ledger: runs/t"):
        assert word in shown
    data = load_data("digits:test", limit=12)
    same = hb.transfer(
        dict(zip("abc", trained, strict=True)), data.images, data.labels,
        [hb.Linf(0.05), hb.Linf(0.1)], halves(PGD(steps=3), 2), seed=3, ids=data.ids,
    )  # fmt: skip
    summary = json.loads((place / "runs/t/summary.json").read_text())
    assert summary["threats"]["linf:0.1"]["combined"] == same["linf:0.1"].combined
    assert summary["avg_acc"] == same.average_accuracy
    rows = rows_of(place / "runs/t/transfer.csv")
    assert [(row["threat"], row["model"]) for row in rows] == [
        (threat, name) for threat in ("linf:0.05", "linf:0.1") for name in "abc"
    ]
    for row in rows:
        report = same[row["threat"]]
        for name in ("clean", "whitebox", "combined", "gap"):
            assert float(row[name]) == getattr(report, name)[row["model"]]
    for row in rows_of(place / "runs/t/broke.csv"):
        broke = same[row["threat"]].broke[row["source"]][row["target"]]
        assert float(row["broke"]) == broke
    assert (place / "runs/t/accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert main(["verify", "runs/t", *MODELS]) == 0


def test_votes_and_spsa(place, capsys):
    words = [*RUN, *QUICK, "--vote", "a+b+c", "--vote", "b + a", "--format", "svg", "--out", "t"]
    spsa = ["--spsa", "2", "--spsa-set", "steps=1", "--spsa-set", "samples=8"]
    assert main([*words, *spsa]) == 0
    manifest = json.loads((place / "t/manifest.json").read_text())
    assert manifest["votes"] == ["a+b+c", "b+a"]
    assert list(manifest["models"]) == ["a", "b", "c", "a+b+c", "b+a"]
    losses = [one["loss"] for one in manifest["vote_attacks"]]
    assert losses == [
        "VoteSum(loss='ce', targeted=False, soften=0.0)",
        "VoteSum(loss='cw', targeted=False, soften=0.0)",
        *["VoteState(loss='cw', targeted=False, soften=0.0, sign='unite')"] * 2,
    ]
    assert (manifest["check"]["attack"], manifest["checked"]) == ("SPSA", 2)
    assert manifest["check"]["samples"] == 8
    assert "<svg" in (place / "t/accuracy.svg").read_text()
    capsys.readouterr()
    assert main(["verify", "t", *MODELS]) == 0
    assert "0 refuted" in capsys.readouterr().out
    assert main([*words, *spsa, "--resume"]) == 0
    named = [word for name in "abc" for word in ("--name", name)]
    assert main(["verify", "t", *MODELS, *named]) == 0


def question(*words):
    return parse(TransferCommand, "transfer", "craft", ["--model", "x", *words]).question()


PAPER = ["--threat", "linf:0.3", "--preset", "ding2020", "--vote", "a+b"]


def test_the_preset_follows_the_data():
    mnist = question(*PAPER, "--data", "mnist:test")
    cifar = question(*PAPER, "--data", "cifar10:test")
    assert [len(one.attacks) for one in (mnist, cifar)] == [50, 10]
    assert [len(one.vote_attacks) for one in (mnist, cifar)] == [100, 20]
    assert mnist.attacks[0].step_share == pytest.approx(0.025)
    assert cifar.attacks[0].step_share == 0.25
    named = question(*PAPER[:3], "ding2020-cifar10", "--data", "npz:mine.npz")
    assert named.attacks == cifar.attacks
    assert named.vote_attacks == ()
    few = question(*PAPER, "--data", "mnist:test", "--runs", "4", "--set", "steps=20")
    assert [(one.loss, one.steps) for one in few.attacks] == [("ce", 20)] * 2 + [("cw", 20)] * 2
    assert few.several
    spsa = question(*PAPER, "--data", "mnist:test", "--spsa", "100").check
    assert (spsa.steps, spsa.samples, spsa.delta, spsa.lr) == (100, 2048, 0.01, 0.01)
    assert spsa.threshold == 5.0  # -5.0 where the loss is minimised


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--threat", "linf:0.1", "--preset", "ding2020", "--data", "fashion:test"],
         "not for fashion: say whose to take, --preset ding2020-mnist or ding2020-cifar10"),
        ([*PAPER, "--data", "mnist:test", "--attack", "apgd"], "only --runs and --set steps=N"),
        ([*PAPER, "--data", "mnist:test", "--set", "momentum=1"], "only --runs and --set steps=N"),
        ([*PAPER, "--data", "mnist:test", "--loss", "ce"], "only --runs and --set steps=N"),
        (["--threat", "linf:0.1", "--preset", "carlini"], "unknown preset 'carlini'"),
        ([], "no threat"),
        (["--threat", "linf:0.1", "--threat", "linf:0.1"], "named twice"),
        (["--threat", "linf:0.1", "--runs", "1"], "one for each loss (ce, cw)"),
        (["--threat", "linf:0.1", "--format", "pdf"], "--format is pdf"),
        (["--threat", "linf:0.1", "--spsa", "0"], "--spsa is 0"),
        (["--threat", "linf:0.1", "--spsa-set", "steps=1"], "--spsa-set is for the check"),
        (["--threat", "linf:0.1", "--attack", "pdg"], "unknown attack 'pdg'"),
        (["--threat", "linf:0.1", "--loss", "huh"], "unknown loss 'huh'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_loaded(words, says):
    with pytest.raises(InputError) as error:
        question(*words)
    assert says in str(error.value)


def test_losses_and_attacks_of_ones_own():
    made = question(
        "--threat", "l2:1", "--attack", "apgd", "--set", "steps=7", "--loss", "margin", "--loss",
        "dlr", "--runs", "3",
    )  # fmt: skip
    assert [(type(one).__name__, one.loss, one.steps) for one in made.attacks] == [
        ("APGD", "margin", 7), ("APGD", "margin", 7), ("APGD", "dlr", 7),
    ]  # fmt: skip


def test_votes_of_names_that_are_there():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    made = with_votes({"a": a, "b": b}, ["a+b"])
    assert list(made) == ["a", "b", "a+b"]
    assert made["a+b"].size == 2
    for text, says in (
        ("a+x", "no model is named 'x'"),
        ("a", "two models"),
        ("a+a", "two models"),
    ):
        with pytest.raises(InputError, match=says):
            with_votes({"a": a, "b": b}, [text])


def test_names_of_models():
    named = [
        NamedModel("net.py:make", "runs/pgd/best.safetensors"),
        NamedModel("net.py:make", "w/pgd.npz"),
        NamedModel("net.py:make", None),
        NamedModel("hauberk.demo:digits_net", "demo/max.safetensors"),
    ]
    assert names_of(named) == ["pgd", "pgd (2)", "make", "max"]


def test_the_dry_run_counts_all_runs(place, capsys):
    assert main([*RUN, *QUICK, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    # Two threats, two losses: 4 runs of 3 steps: 4 forwards and 3 backwards; 3 models judge each.
    passes = 4 * PGD(steps=3).passes
    assert f"points: at most {3 * (passes + 4 * 3)} passes per example" in shown
    assert not (place / "runs").exists()
