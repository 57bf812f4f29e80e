"""``hauberk gallery`` as a user meets it: words, files, exit codes."""

import json

import pytest

from hauberk.cli.main import main

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DATA = ["--data", "digits:test", "--limit", "8"]
DRAW = ["gallery", *MODEL, *DATA]
FAST = ["--attack", "pgd", "--set", "steps=8"]


def test_columns_of_threats_and_mixtures(place, capsys):
    words = ["--threat", "linf:0.3", "--threat", "affine(linf:0.2,l1:4)", *FAST]
    assert main([*DRAW, *words, "--show", "2", "--out", "runs/g.svg"]) == 0
    shown = capsys.readouterr().out
    for word in ("linf:0.3", "0.5 linf:0.2 + 0.5 l1:4", "8 examples", "broken", "runs/g.svg"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    found = json.loads((place / "runs/g.json").read_text())
    assert len(found["columns"]) == 6
    assert len(found["ids"]) == 2
    assert found["columns"][0]["norms"]["linf"][0] <= 0.3
    assert found["seed"] == 0


def test_the_example_that_is_asked_for(place):
    words = ["--threat", "l2:1", *FAST, "--offset", "2", "--index", "3", "--out", "one.png"]
    assert main([*DRAW, *words]) == 0
    assert json.loads((place / "one.json").read_text())["ids"] == [5]


def test_the_points_of_a_run(place, capsys):
    suite = ["--suite", "fast", "--threat", "l2:1.5", "--threat", "linf:0.2"]
    assert main(["evaluate", *MODEL, *DATA, *suite, "--out", "runs/e"]) == 0
    capsys.readouterr()
    assert main(["gallery", "--run", "runs/e", *MODEL, "--out", "g.png"]) == 0
    shown = capsys.readouterr().out
    assert "l2:1.5" in shown
    found = json.loads((place / "g.json").read_text())
    assert found["run"] == "runs/e"
    column = found["columns"][0]
    for fooled, seen, own in zip(
        column["fooled"], column["predicted"], found["labels"], strict=True
    ):
        assert not fooled or seen not in (own, -1)
    (place / "file.yaml").write_text("run: runs/e\nshow: 1\nout: one.png\n")
    assert main(["gallery", "--config", "file.yaml"]) == 0
    found = json.loads((place / "one.json").read_text())
    assert len(found["ids"]) == 1
    assert main(["gallery", "--run", "runs/e", "--index", str(found["ids"][0])]) == 0
    assert "1 examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*DRAW], "no threat"),
        ([*DRAW, "--threat", "l2:1", "--show", "0"], "--show is 0"),
        ([*DRAW, "--threat", "l2:1", "--set", "steps=2"], "name the attack"),
        ([*DRAW, "--threat", "l2:1", "--attack", "magic"], "unknown attack"),
        ([*DRAW, "--threat", "l2:1", "--index", "8"], "give 0 to 7"),
        ([*DRAW, "--threat", "l2:1", "--out", "a.gif"], "FILE.png"),
        ([*DRAW, *MODEL, "--threat", "l2:1"], "give one"),
        (["gallery", "--run", "none"], "does not exist"),
        (["gallery", "--run", "none", "--threat", "l2:1"], "exclude each other"),
        (["gallery", "--run", "none", *MODEL, *MODEL], "the one of the run"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
