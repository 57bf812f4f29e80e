"""``hauberk patterns`` with attacks of one's own, other distances, and recorded runs."""

import json

import pytest

from hauberk.cli.main import main

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DATA = ["--data", "digits:test", "--limit", "8"]
PATTERNS = ["patterns", *MODEL, *DATA]
LOSSES = ("ce", "margin")


def test_attacks_losses_and_perceptual_distances(place, capsys):
    words = ["--attack", "apgd,steps=10", "--attack", "pwcf,steps=40", "--attack", "LPA,steps=10"]
    words += ["--eps", "l2:4", "--eps", "perceptual(1):1.5", "--eps", "perceptual-l1(1):4"]
    words += ["--solver", "pwcf", "--budget", "120", "--format", "svg", "--each"]
    assert main([*PATTERNS, *words, "--out", "p"]) == 0
    shown = capsys.readouterr().out
    assert "diversity: mean cosine" in shown
    assert "most alike" in shown
    told = json.loads((place / "p/patterns.json").read_text())
    both = [f"{name} {loss}" for name in ("apgd", "pwcf") for loss in LOSSES]
    runs = [f"{one} l2" for one in both]
    for distance in ("perceptual(1)", "perceptual-l1(1)"):
        runs += [f"{one} {distance}" for one in [*both, "lpa ce", "lpa margin"]]
    runs += [f"pwcf {distance}" for distance in ("l2", "perceptual(1)", "perceptual-l1(1)")]
    assert set(told["successes"]) == set(runs)
    assert len(told["successes"]) == len(runs) == 19
    assert told["eps"] == {"l2": 4, "perceptual(1)": 1.5, "perceptual-l1(1)": 4}
    assert set(told["times"]) >= {"pwcf l2"}
    assert told["diversity"]["pairs"]
    for name in ("sparsity_loss", "sparsity_radius", "sparsity_distances", "radii"):
        assert (place / f"p/{name}.svg").exists(), name


def test_one_loss_and_a_dry_run(place, capsys):
    words = ["--attack", "PGD,steps=5", "--loss", "dlr", "--eps", "linf:0.6", "--solver", "fab"]
    assert main([*PATTERNS, *words, "--budget", "60", "--out", "p", "--dry-run"]) == 0
    assert f"at most {11 + 60} passes" in capsys.readouterr().out
    assert main([*PATTERNS, *words, "--budget", "60", "--out", "p"]) == 0
    told = json.loads((place / "p/patterns.json").read_text())
    assert list(told["successes"]) == ["pgd dlr linf", "fab linf"]


def test_settings_tell_two_of_a_kind_apart(place):
    words = ["--attack", "pgd,steps=5", "--attack", "pgd,steps=9", "--loss", "ce", "--eps", "l2:4"]
    assert main([*PATTERNS, *words, "--solver", "fab", "--budget", "60", "--out", "p"]) == 0
    told = json.loads((place / "p/patterns.json").read_text())
    assert list(told["successes"]) == ["pgd,steps=5 ce l2", "pgd,steps=9 ce l2", "fab l2"]


def test_a_distance_alone(place):
    words = ["--eps", "perceptual(1):1.5", "--attack", "lpa,steps=10", "--out", "p"]
    assert main([*PATTERNS, *words]) == 0
    told = json.loads((place / "p/patterns.json").read_text())
    assert list(told["successes"]) == [f"lpa {loss} perceptual(1)" for loss in LOSSES]


def test_the_patterns_of_a_suite(place, capsys):
    suite = place / "two.yaml"
    suite.write_text("attacks:\n  pgd: {attack: PGD, steps: 5}\n  apgd: {attack: APGD, steps: 5}\n")
    run = ["evaluate", *MODEL, *DATA, "--suite", str(suite), "--all-attacks", "--out", "runs/x"]
    assert main([*run, "--threat", "linf:0.5", "--threat", "l2:3"]) == 0
    capsys.readouterr()
    assert main(["patterns", "--ledger", "runs/x", "--out", "q"]) == 0
    shown = capsys.readouterr().out
    assert "linf:0.5:" in shown
    assert shown.count("diversity: mean cosine") == 2
    told = json.loads((place / "q/0/patterns.json").read_text())
    assert told["threat"] == "linf:0.5"
    assert list(told["successes"]) == ["pgd linf:0.5", "apgd linf:0.5"]
    assert (place / "q/1/sparsity_attacks.png").exists()
    assert main(["patterns", "--ledger", "runs/none", "--out", "q"]) == 2


@pytest.mark.parametrize(
    "words",
    [["--data", "digits:test"], ["--solver", "fab"], ["--attack", "pgd"], ["--loss", "ce"],
     ["--eps", "l2:1"], ["--each"], ["--dry-run"]],
)  # fmt: skip
def test_a_recorded_run_takes_no_other_search(place, capsys, words):
    assert main(["patterns", "--ledger", "runs/x", "--out", "q", *words]) == 2
    assert f"{words[0]} and --ledger exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attack", "magic"], "magic"),
        (["--attack", "pgd,steps"], "write NAME=VALUE"),
        (["--attack", "pgd", "--attack", "PGD"], "given twice"),
        (["--attack", "lpa", "--eps", "l2:1"], "none of lpa attacks l2:1"),
        (["--eps", "perceptual(9):1"], "no layer '9'"),
        (["--eps", "perceptual(1)"], "has no size"),
        (["--loss", "magic"], "magic"),
        (["--format", "gif"], "png or svg"),
        (["--ledger", "runs/x"], "--model and --ledger exclude each other"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main([*PATTERNS, *words, "--out", "p"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
