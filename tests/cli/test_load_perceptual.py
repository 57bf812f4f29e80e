"""Perceptual threats and metrics by name, as a user of the console meets them."""

import csv
import json

from hauberk.cli.main import main

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DATA = ["--data", "digits:test", "--limit", "12"]


def test_evaluated(place, capsys):
    suite = place / "mine.yaml"
    suite.write_text("attacks:\n  lpa: {attack: LPA, steps: 6, outer: 2, threats: [measured]}\n")
    words = ["evaluate", *MODEL, *DATA]
    mine = ["--suite", str(suite), "--threat", "perceptual(1):0.3", "--out", "runs/p"]
    assert main([*words, *mine]) == 0
    assert "perceptual(1):0.3" in capsys.readouterr().out
    summary = json.loads((place / "runs/p/summary.json").read_text())
    assert summary["threats"]["perceptual(1):0.3"]["attacks"]["lpa"]["attacked"] > 0
    assert main(["verify", "runs/p", *MODEL]) == 0
    for dry in ([], ["--dry-run"]):
        assert main([*words, "--threat", "perceptual(conv):0.3", *dry, "--out", "runs/q"]) == 2
        said = capsys.readouterr().err
        assert "perceptual(conv):0.3: the model has no layer 'conv': choose some of 0, 1" in said
    assert not (place / "runs/q").exists()


def test_measured(place, capsys):
    words = ["radius", *MODEL, *DATA, "--metric", "perceptual(1)", "--metric", "l2"]
    words += ["--solver", "general", "--budget", "60", "--eps", "perceptual(1):0.5"]
    assert main([*words, "--out", "runs/p"]) == 0
    assert "perceptual(1)" in capsys.readouterr().out
    with (place / "runs/p/radii.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["metric"] for row in rows} == {"perceptual(1)", "l2"}
    assert (place / "runs/p/curve-perceptual_1.png").exists()
    assert main(["radius", *MODEL, *DATA, "--metric", "perceptual(7)"]) == 2
    assert "no layer '7'" in capsys.readouterr().err


def test_in_the_features_of_another_network(place, capsys):
    named = "perceptual(1@net.py:make,net.safetensors)"
    words = [*MODEL, *DATA, "--out", "runs/o"]
    suite = place / "mine.yaml"
    suite.write_text("attacks:\n  lpa: {attack: LPA, steps: 6, outer: 2, threats: [measured]}\n")
    threat = ["--suite", str(suite), "--threat", f"{named}:0.3"]
    assert main(["evaluate", *words, *threat]) == 0
    # The same network, and so the same points.
    assert main(["evaluate", *words[:-1], "runs/p", *threat[:-1], "perceptual(1):0.3"]) == 0
    two = [json.loads((place / f"runs/{r}/summary.json").read_text()) for r in "op"]
    assert two[0]["union_accuracy"] == two[1]["union_accuracy"]
    assert main(["verify", "runs/o", *MODEL]) == 0
    radius = ["--metric", named, "--solver", "general", "--budget", "60", "--out", "runs/r"]
    assert main(["radius", *MODEL, *DATA, *radius]) == 0
    assert main(["verify", "runs/r", *MODEL]) == 0
    assert main(["evaluate", *words[:-1], "runs/q", "--threat", "perceptual(9@net.py:make):1"]) == 2
    assert "no layer '9'" in capsys.readouterr().err


def test_trained_on(place, capsys):
    (place / "mlp.py").write_text(
        "from hauberk.models import MLP\n\ndef make():\n    return MLP((64, 16, 10))\n"
    )
    words = ["train", "--model", "mlp.py:make", "--data", "digits:train", "--limit", "64"]
    words += ["--minibatch", "32", "--epochs", "1", "--strategy", "single"]
    words += ["--set", "attack={attack: FastLPA, loss: ce, steps: 2, relative: false}"]
    named = ["--threat", "perceptual(layers.0):0.2", "--out", "runs/pat", "--validation", "16"]
    assert main([*words, *named]) == 0
    assert "perceptual(layers.0):0.2" in capsys.readouterr().out
    config = json.loads((place / "runs/pat/config.json").read_text())
    assert config["strategy"]["threat"] == "perceptual(layers.0):0.2"
    assert main([*words, "--threat", "perceptual(layer):1", "--out", "runs/no"]) == 2
    assert "no layer 'layer'" in capsys.readouterr().err
