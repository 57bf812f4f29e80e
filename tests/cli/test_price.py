"""``hauberk price``: runs of ``hauberk evaluate`` in, a table, a picture and numbers out."""

import json

from hauberk.cli.main import main

RUN = ["evaluate", "--model", "net.py:make", "--data", "digits:test", "--limit", "20"]
BALLS = ["--threat", "linf:0.05", "--threat", "l2:0.3", "--suite", "fast"]


def test_price_of_runs(place, capsys):
    for name, weights in (("a", "net.safetensors"), ("b", "net.safetensors")):
        assert main([*RUN, "--weights", weights, *BALLS, "--out", f"runs/{name}"]) == 0
    one = ["--threat", "linf:0.05", "--suite", "fast", "--out", "runs/c"]
    assert main([*RUN, "--weights", "net.safetensors", *one]) == 0
    capsys.readouterr()
    words = ["price", "runs/a", "runs/b", "--single", "runs/c", "--single", "runs/b"]
    assert main([*words, "--out", "picture.svg"]) == 0
    shown = capsys.readouterr().out
    for word in ("OPT", "linf:0.05", "l2:0.3", "union", "average", "20 examples", "picture.json"):
        assert word in shown
    found = json.loads((place / "picture.json").read_text())
    summary = json.loads((place / "runs/a/summary.json").read_text())
    accuracy = {threat: own["accuracy"] for threat, own in summary["threats"].items()}
    assert found["best"] == accuracy
    assert found["optimum_union"] == min(accuracy.values())
    assert found["price"]["a"]["union"] == min(accuracy.values()) - summary["union_accuracy"]
    assert found["single"] == ["c", "b"]
    assert "<svg" in (place / "picture.svg").read_text()


def test_what_is_no_run_is_refused(place, capsys):
    assert main(["price", "runs/none"]) == 2
    assert "no finished run" in capsys.readouterr().err
    assert main(["price"]) == 2
    assert "no runs" in capsys.readouterr().err
