"""``hauberk landscape`` as a user meets it: words, files, exit codes."""

import json

import pytest

from hauberk.cli.main import main
from hauberk.data import load_data

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DRAW = ["landscape", *MODEL, "--data", "digits:test", "--limit", "10"]
FAST = ["--attack", "pgd", "--set", "steps=5", "--free", "randomsearch", "--set-free", "steps=5"]


def test_a_plane_for_each_threat(place, capsys):
    words = ["--threat", "linf:0.3", "--threat", "l2:2", "--points", "9", "--out", "runs/p.svg"]
    assert main([*DRAW, *FAST, *words, "--loss", "margin"]) == 0
    shown = capsys.readouterr().out
    for word in ("linf:0.3", "l2:2", "cosine", "margin loss", "runs/p.svg", "runs/p.json"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    panels = json.loads((place / "runs/p.json").read_text())["panels"]
    assert [panel["threat"] for panel in panels] == ["linf:0.3", "l2:2"]
    assert len(panels[0]["loss"]["ce"]) == 9
    assert panels[0]["clipped"] is True
    assert (place / "runs/p.svg").stat().st_size < 120_000


def test_the_example_that_is_asked_for(place, trained):
    words = ["--threat", "l2:2", "--points", "3", "--span", "-1", "1", "--unclipped"]
    assert main([*DRAW, *FAST, *words, "--offset", "3", "--index", "4", "--out", "one.png"]) == 0
    (panel,) = json.loads((place / "one.json").read_text())["panels"]
    assert panel["example"] == 7
    data = load_data("digits:test", limit=1, offset=7)
    assert panel["label"] == int(data.labels[0])
    assert panel["a"] == [-1, 0, 1]
    assert panel["clipped"] is False
    z = trained(data.images)[0]
    wanted = float(z.logsumexp(0) - z[data.labels[0]])
    assert panel["loss"]["ce"][1][1] == pytest.approx(wanted, rel=1e-4)


def test_segments_to_failed_points(place, capsys):
    words = ["--along", "segment", "--threat", "linf:0.02", "--threat", "l2:0.1", "--out", "s.png"]
    assert main([*DRAW, *words, *MODEL, "--name", "a", "--name", "b"]) == 0
    shown = capsys.readouterr().out
    for word in ("a, linf:0.02", "b, l2:0.1", "rise", "share", "bend", "s.json"):
        assert word in shown
    panels = json.loads((place / "s.json").read_text())["panels"]
    assert [(p["model"], p["threat"]) for p in panels] == [
        ("a", "linf:0.02"), ("a", "l2:0.1"), ("b", "linf:0.02"), ("b", "l2:0.1"),
    ]  # fmt: skip
    assert len(panels[0]["position"]) == 11
    assert len(panels[0]["margin"]) == len(panels[0]["rows"]) > 0
    assert panels[0]["margin"][0][0] < panels[0]["margin"][0][-1] < 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no threat"),
        (["--threat", "l2:1", "--along", "line"], "give plane or segment"),
        (["--threat", "l2:1", "--loss", "dlr"], "give ce or margin"),
        (["--threat", "l2:1", "--along", "segment", "--free", "square"], "for planes"),
        (["--threat", "l2:1", "--along", "segment", "--index", "0"], "for planes"),
        (["--threat", "l2:1", "--set", "steps=3"], "name the attack"),
        (["--threat", "l2:1", "--set-free", "steps=3"], "name the attack"),
        (["--threat", "l2:1", "--index", "10"], "give 0 to 9"),
        (["--threat", "l2:1", "--index", "-1"], "give 0 to 9"),
        (["--threat", "l2:1", "--points", "0"], "--points is 0: give 2 or more"),
        (["--threat", "l2:1", "--points", "1"], "--points is 1: give 2 or more"),
        (["--threat", "l2:1", "--along", "segment", "--points", "1"], "--points is 1: give"),
        (["--threat", "l2:1", "--span", "1", "0"], "--span is 1.0 0.0: give a span that rises"),
        (["--threat", "l2:1", "--out", "a.gif"], "FILE.png"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main([*DRAW, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
