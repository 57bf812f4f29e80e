"""``hauberk corruptions`` as a user meets it: words, files, exit codes."""

import csv
import json

import numpy as np
import pytest

from hauberk.cli.main import main

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
START = ["corruptions", *MODEL, "--data", "digits:test", "--limit", "30"]
FEW = ["--kind", "fog", "--kind", "shot_noise", "--severity", "1", "--severity", "4"]


def test_one_model_by_kind_and_severity(place, capsys):
    assert main([*START, *FEW, "--out", "runs/c"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("severity", "fog", "shot_noise", "mean", "clean", "runs/c/corruptions.png"):
        assert word in shown
    assert "frost" not in shown
    summary = json.loads((place / "runs/c/summary.json").read_text())
    (model,) = summary["models"].values()
    with (place / "runs/c/corruptions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["kind"], r["severity"]) for r in rows] == [
        ("fog", "1"), ("fog", "4"), ("shot_noise", "1"), ("shot_noise", "4"),
    ]  # fmt: skip
    for row in rows:
        accuracy = model["kinds"][row["kind"]]["severities"][row["severity"]]
        assert float(row["accuracy"]) == accuracy
    manifest = json.loads((place / "runs/c/manifest.json").read_text())
    assert manifest["data"] == "digits:test"
    assert manifest["weights"] == ["net.safetensors"]


def test_several_models_side_by_side(place, capsys):
    words = [*MODEL, "--name", "one", "--name", "two", "--baseline", "two", "--format", "svg"]
    assert main([*START, *words, *FEW, "--kind", "frost", "--out", "runs/c"]) == 0
    shown = capsys.readouterr().out
    assert "one" in shown
    assert "mCE" in shown
    assert "not the published photographs" in shown
    assert shown.count("100.0") == 2
    assert (place / "runs/c/corruptions.svg").stat().st_size < 60_000


def test_the_images_are_those_of_the_notation(place, capsys):
    assert main([*START, "--offset", "7", "--kind", "snow", "--severity", "5", "--out", "a"]) == 0
    words = ["evaluate", *MODEL, "--data", "digits:test+snow:5", "--limit", "30", "--offset", "7"]
    words += ["--threat", "linf:0.001", "--suite", "fast", "--out", "b"]
    assert main(words) == 0
    one, other = (json.loads((place / n / "summary.json").read_text()) for n in "ab")
    (model,) = one["models"].values()
    assert model["mean"] == other["clean_accuracy"]


def test_dry_run_tells_the_cost_and_writes_nothing(place, capsys):
    assert main([*START, "--out", "runs/c", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "30 examples, net, 75 corruptions" in shown
    assert "at most 76 passes per example" in shown
    assert not (place / "runs").exists()


def test_a_run_is_resumed(place, capsys):
    assert main([*START, *FEW, "--out", "runs/c"]) == 0
    (place / "runs/c/parts/fog-4.parquet").unlink()
    before = (place / "runs/c/summary.json").read_text()
    assert main([*START, *FEW, "--out", "runs/c", "--resume"]) == 0
    after = (place / "runs/c/summary.json").read_text()
    assert json.loads(after)["models"] == json.loads(before)["models"]
    assert (place / "runs/c/parts/fog-4.parquet").exists()


def test_published_files(place, capsys):
    images = np.zeros((50, 32, 32, 3), np.uint8)
    np.save(place / "fog.npy", images)
    np.save(place / "labels.npy", np.tile(np.arange(10), 5))
    np.savez(place / "clean.npz", images=images[:10], labels=np.arange(10))
    (place / "wide.py").write_text(
        "from torch import nn\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))\n"
    )
    words = ["corruptions", "--model", "wide.py:make", "--data", "npz:clean.npz", "--files", "."]
    assert main([*words, "--kind", "fog"]) == 0
    assert "corruptions: the files of CIFAR-10-C" in capsys.readouterr().out
    assert main(words) == 2
    assert "no gaussian_noise.npy in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "fogg"], "did you mean fog"),
        (["--severity", "6"], "--severity is 6: give 1, 2, 3, 4 or 5"),
        (["--severity", "1.5"], "--severity is 1.5"),
        (["--baseline", "other"], "--baseline is 'other'"),
        (["--format", "pdf"], "--format is pdf: give png or svg"),
        (["--resume"], "--out"),
        (["--files", "nowhere"], "'nowhere' is not a folder"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main([*START, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
