"""``hauberk trace`` as a user meets it: words, files, exit codes."""

import json

import pytest
import torch
from torch.nn import functional as F

from hauberk.cli.main import main
from hauberk.data import load_data

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
TRACE = ["trace", *MODEL, "--data", "digits:test", "--limit", "12"]
SET = ["--set", "steps=8", "--set", "random_start=false"]


def test_a_curve_for_each_value(place, capsys, trained):
    words = ["--threat", "l1:3", *SET, "--vary", "q=0.8,none", "--out", "runs/a/trace.svg"]
    assert main([*TRACE, *words]) == 0
    shown = capsys.readouterr().out
    for word in ("q=0.8", "q=one", "step 8", "ce under l1:3", "runs/a/trace.svg"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    found = json.loads((place / "runs/a/trace.json").read_text())
    (curves,) = found["models"].values()
    assert [c["name"] for c in curves] == ["q=0.8", "q=one"]
    data = load_data("digits:test", limit=12)
    clean = F.cross_entropy(trained(data.images), data.labels)
    for curve in curves:
        assert len(curve["current"]["mean"]) == 9
        assert curve["current"]["mean"][0] == pytest.approx(float(clean), rel=1e-4)
        assert curve["best"]["mean"][-1] > curve["best"]["mean"][0]
    assert curves[0]["current"]["mean"] != curves[1]["current"]["mean"]
    assert found["limit"] == 12
    assert (place / "runs/a/trace.svg").stat().st_size < 60_000


def test_several_models_and_another_loss(place, capsys):
    words = ["--threat", "linf:0.1", *SET, "--loss", "margin", "--log", "--out", "runs"]
    torch.save({}, place / "unused.pt")
    assert main([*TRACE, *MODEL, "--name", "a", "--name", "b", *words]) == 0
    shown = capsys.readouterr().out
    assert "a: PGD" in shown
    assert "b: PGD" in shown
    found = json.loads((place / "runs/trace.json").read_text())["models"]
    assert found["a"] == found["b"]
    assert found["a"][0]["loss"] == "margin"
    assert found["a"][0]["current"]["mean"][0] < 0  # a margin, not a cross-entropy
    assert (place / "runs/trace.png").exists()


def test_without_out_nothing_is_written(place, capsys):
    before = sorted(place.rglob("*"))
    assert main([*TRACE, "--threat", "l2:1", "--set", "steps=2"]) == 0
    assert "step 2" in capsys.readouterr().out
    assert [p for p in sorted(place.rglob("*")) if "__pycache__" not in str(p)] == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no threat"),
        (["--threat", "l1:1", "--threat", "l2:1"], "several threats"),
        (["--threat", "l1:1", "--attack", "magic"], "unknown attack 'magic'"),
        (["--threat", "l1:1", "--vary", "steps"], "write NAME=ONE,TWO"),
        (["--threat", "l1:1", "--vary", "eps=1,2"], "no setting 'eps'"),
        (["--threat", "l1:1", "--vary", "share=0.1,7"], "(0, 1]"),
        (["--threat", "l1:1", "--loss", "huge"], "unknown loss 'huge'"),
        (["--threat", "l1:1", "--out", "a.pdf"], "FILE.png"),
        (["--threat", "l1:1", "--attack", "lpa"], "LPA"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main([*TRACE, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
