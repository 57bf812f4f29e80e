"""The generalisation gap at the end of a training."""

import json

import pytest
import torch
from helpers.training import blobs, net

import hauberk as hb
from hauberk.cli.main import main
from hauberk.errors import InputError
from hauberk.train import Single, Standard, fit
from hauberk.train.loop.validation import gaps


def test_training_less_validation_accuracy():
    found = gaps(
        {"valid_clean": 0.5, "valid_union": 0.75, "loss": 1.0},
        {"valid_clean": 0.75, "valid_union": 0.25},
    )
    assert found == {
        "train_clean": 0.75, "gap_clean": 0.25, "train_union": 0.25, "gap_union": -0.5,
    }  # fmt: skip


def test_the_summary_has_the_accuracies_of_as_many_training_examples():
    x, y = blobs(60)
    wrong = y.clone()
    wrong[:20] = (y[:20] + 1) % 3  # all that is held out is labelled wrongly
    model = net(3, 3)
    settings = {
        "epochs": 12,
        "learning_rate": 0.05,
        "minibatch": 8,
        "validation": 20,
        "select": "last",
    }
    found = fit(model, (x, wrong), Single(hb.Linf(0.01), steps=2), gap=True, **settings)
    s = found.summary
    with torch.no_grad():
        # The first of the examples that were not held out: as many as were.
        exact = float((model(x[20:40]).argmax(1) == y[20:40]).double().mean())
    assert s["train_clean"] == exact > 0.8
    assert s["gap_clean"] == pytest.approx(exact - s["valid_clean"])
    assert s["valid_clean"] < 0.2
    assert s["train_union"] <= s["train_clean"]
    assert s["gap_union"] == pytest.approx(s["train_union"] - s["valid_union"])
    assert set(s) >= {"train_linf:0.01", "gap_linf:0.01"}
    again = net(3, 3)
    plain = fit(again, (x, wrong), Single(hb.Linf(0.01), steps=2), **settings)
    assert not any(name.startswith(("gap_", "train_")) for name in plain.summary)
    assert plain.summary["valid_clean"] == s["valid_clean"]
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_needs_examples_to_compare_with():
    with pytest.raises(InputError, match="gap needs validation examples"):
        fit(net(3, 3), blobs(20), Standard(), epochs=1, gap=True)


def test_the_command_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--model", "hauberk.demo:digits_net", "--data", "digits:train", "--limit",
             "200", "--strategy", "standard", "--epochs", "1", "--gap"]  # fmt: skip
    assert main([*words, "--out", "a"]) == 2
    assert "--gap needs examples to compare with" in capsys.readouterr().err
    assert main([*words, "--validation", "50", "--out", "a"]) == 0
    shown = capsys.readouterr().out
    s = json.loads((tmp_path / "a/summary.json").read_text())
    known, gap = f"{s['train_clean']:.1%}", f"{s['gap_clean']:.1%}"
    assert f"{s['valid_clean']:.1%} (on training examples {known}, gap {gap})" in shown
