"""``hauberk radius`` as a user meets it: words, files, exit codes."""

import csv
import json
from math import inf

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import hauberk as hb
from hauberk.cli.main import ABOUT, main
from hauberk.data import load_data

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DATA = ["--data", "digits:test", "--limit", "12"]
RADIUS = ["radius", *MODEL, *DATA, "--solver", "fab", "--budget", "120"]


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_metric_end_to_end(place, capsys, trained):
    words = ["--metric", "l2", "--eps", "0.25", "--eps", "1/2", "--seed", "5", "--out", "runs/r"]
    assert main([*RADIUS, *words]) == 0
    shown = capsys.readouterr().out
    for word in ("median", "l2", "AvgAcc", "AvgRobAcc", "0.25", "0.5", "FAB", "ledger: runs/r"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    run = place / "runs/r"
    for name in ("summary.json", "radii.csv", "curve.png", "histogram.png", "manifest.json"):
        assert (run / name).stat().st_size > 0
    data = load_data("digits:test", limit=12)
    same = hb.radius(
        trained, data.images, data.labels, "l2", ids=data.ids, solver="fab", budget=120, seed=5
    )
    rows = rows_of(run / "radii.csv")
    assert [row["metric"] for row in rows] == ["l2"] * 12
    assert [int(row["id"]) for row in rows] == data.ids.tolist()
    assert [bool(int(row["correct"])) for row in rows] == same.correct.tolist()
    assert np.allclose([float(row["distance"]) for row in rows], same.distance.numpy(), rtol=1e-6)
    assert [row["solver"] for row in rows] == same.solver
    summary = json.loads((run / "summary.json").read_text())
    told = summary["metrics"]["l2"]
    assert told["accuracies"] == {str(e): pytest.approx(same.accuracy(e)) for e in (0.25, 0.5)}
    assert (summary["n"], summary["seed"], summary["budget"], summary["solver"]) == (
        12, 5, 120, "fab",
    )  # fmt: skip
    assert told["median"] == pytest.approx(same.median)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["data"]) == ("radius", "digits:test")
    assert len(manifest["weights_sha256"]) == 64


def test_several_metrics_with_a_union_then_resumed_and_verified(place, capsys):
    words = ["--metric", "l1", "--threat", "linf:0.1", "--threat", "l2:0.5", "--out", "runs/u"]
    words += ["--eps", "union:1", "--eps", "linf:8/255"]
    assert main([*RADIUS, *words]) == 0
    shown = capsys.readouterr().out
    assert "nearest ball" in shown
    rows = rows_of(place / "runs/u/radii.csv")
    by = {
        name: np.array([float(row["distance"]) for row in rows if row["metric"] == name])
        for name in ("l1", "linf", "l2", "union")
    }
    assert np.allclose(by["union"], np.minimum(by["linf"] / 0.1, by["l2"] / 0.5))
    for name in by:
        assert (place / f"runs/u/curve-{name}.png").exists()
    told = json.loads((place / "runs/u/summary.json").read_text())["metrics"]
    assert list(told["union"]["accuracies"]) == ["1.0"]
    assert "accuracies" not in told["l1"]

    assert main([*RADIUS, *words]) == 2
    assert "--resume" in capsys.readouterr().err
    before = (place / "runs/u/radii.csv").read_bytes()
    assert main([*RADIUS, *words, "--resume"]) == 0
    assert (place / "runs/u/radii.csv").read_bytes() == before

    assert main(["verify", "runs/u", *MODEL, *DATA]) == 0
    assert " 0 refuted" in capsys.readouterr().out
    file = place / "runs/u/parts/radius-l2-00000.safetensors"
    points = load_file(file)["points"]
    save_file({"points": torch.zeros_like(points)}, file)
    assert main(["verify", "runs/u", *MODEL]) == 1


def test_nothing_found_is_said(place, capsys):
    (place / "far.py").write_text(
        "import torch\nfrom torch import nn\n\ndef make():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "    net[1].weight.data *= 1e-3\n    net[1].bias.data[3] = 50.0\n    return net\n"
    )
    data = load_data("digits:test", limit=4)
    np.savez("threes.npz", images=data.images.numpy(), labels=np.array([3, 3, 3, 0]))
    words = ["--data", "npz:threes.npz", "--metric", "linf", "--out", "runs/far"]
    assert (
        main(["radius", "--model", "far.py:make", "--solver", "fmn", "--budget", "20", *words]) == 0
    )
    shown = capsys.readouterr().out
    assert "proves no radius" in shown
    distances = [float(row["distance"]) for row in rows_of(place / "runs/far/radii.csv")]
    assert distances == [inf, inf, inf, 0]
    summary = json.loads((place / "runs/far/summary.json").read_text())
    assert summary["metrics"]["linf"]["median"] == "inf"


def test_dry_run_writes_nothing(place, capsys):
    words = ["--metric", "l2", "--metric", "linf", "--out", "runs/d", "--dry-run"]
    assert main([*RADIUS, *words]) == 0
    shown = capsys.readouterr().out
    assert "12 examples, l2, linf" in shown
    passes = int(shown.split("at most ")[1].split()[0])
    assert 0 < passes <= 2 * 120
    assert not (place / "runs").exists()


def test_yaml_says_what_the_command_line_says(place):
    (place / "run.yaml").write_text(
        "model: net.py:make\nweights: net.safetensors\ndata: digits:test\nlimit: 3\n"
        "metric: [linf]\nthreat: [l2:1]\nsolver: fmn\nbudget: 30\neps: ['0.1']\nout: runs/y\n"
    )
    assert main(["radius", "--config", "run.yaml", "--seed", "4"]) == 0
    summary = json.loads((place / "runs/y/summary.json").read_text())
    assert (summary["n"], summary["seed"], summary["budget"]) == (3, 4, 30)
    assert set(summary["metrics"]) == {"linf", "l2", "union"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no metric"),
        (["--metric", "l0.5"], "no norm"),
        (["--metric", "euclid"], "write linf, l2, l1"),
        (["--metric", "l2:0.5"], "write linf, l2, l1"),
        (["--metric", "l2", "--solver", "magic"], "choose one of best, fmn"),
        (["--metric", "l1", "--solver", "ddn"], "solvers for l1: "),
        (["--metric", "l2", "--budget", "1"], "too small"),
        (["--metric", "l2", "--budget", "0"], "1 or more"),
        (["--metric", "l2", "--budget", "many"], "budget"),
        (["--threat", "rt:30,3"], "balls"),
        (["--metric", "l2", "--eps", "big"], "METRIC:SIZE"),
        (["--metric", "l2", "--eps", "linf:0.1"], "METRIC:SIZE"),
        (["--metric", "l2", "--eps", "1/0"], "METRIC:SIZE"),
        (["--metric", "l2", "--resume"], "--out"),
        (["--metric", "l2", "--box", "0", "inf"], "box"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(place, capsys, words, message):
    assert main([*RADIUS, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_help_names_the_commands(capsys):
    for word in ("radius ", "patterns ", "--metric", "--solver", "hauberk radius --model"):
        assert word in ABOUT
    assert max(map(len, ABOUT.splitlines())) <= 100


def test_slm_margins_are_a_word_away(place, capsys, trained):
    words = ["--metric", "l2", "--boundary", "soft_margin", "--out", "runs/s"]
    assert main([*RADIUS, *words]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "SLM-margins" in shown
    data = load_data("digits:test", limit=12)
    same = hb.radius(
        trained, data.images, data.labels, "l2", ids=data.ids, solver="fab", budget=120,
        boundary="soft_margin",
    )  # fmt: skip
    rows = rows_of(place / "runs/s/radii.csv")
    assert np.allclose([float(row["distance"]) for row in rows], same.distance.numpy(), rtol=1e-6)
    assert main(["verify", "runs/s", *MODEL, *DATA]) == 0
    assert main([*RADIUS, "--metric", "l2", "--boundary", "ce", "--out", "runs/t"]) == 2
    assert "choose decision or soft_margin" in capsys.readouterr().err
