"""``hauberk curves`` as a user meets it: words, files, exit codes."""

import csv
import json

import pytest
import torch
from safetensors.torch import save_file

import hauberk as hb
from hauberk.analysis import by_size
from hauberk.cli.curves import CurvesCommand
from hauberk.cli.main import main
from hauberk.cli.parsing import parse
from hauberk.data import load_data
from hauberk.errors import InputError
from hauberk.report.tables.curves import table

ONE = ["--model", "net.py:make", "--weights", "net.safetensors"]
TWO = [*ONE, "--model", "net.py:make", "--weights", "other.safetensors"]
DATA = ["--data", "digits:test", "--limit", "12"]
RUN = ["curves", *TWO, *DATA, "--budget", "100"]


@pytest.fixture
def two(place, trained):
    torch.manual_seed(0)
    state = {k: v + 0.02 * torch.randn(v.shape) for k, v in trained.state_dict().items()}
    save_file(state, place / "other.safetensors")
    return place


def test_radii_and_attacks_end_to_end(two, capsys, trained):
    words = ["--threat", "linf:0.2", "--threat", "affine(linf:0.1,l1:1)", "--suite", "fast"]
    more = ["--points", "2", "--eps", "linf:0.1", "--seed", "3", "--out", "c"]
    assert main([*RUN, *words, *more]) == 0
    shown = capsys.readouterr().out
    for word in ("linf", "net", "other", "by radius", "by attack", "ledger: c/net/radius"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    data = load_data("digits:test", limit=12)
    same = by_size(
        {"net": trained}, data.images, data.labels, [hb.Linf(0.2)], budget=100, seed=3,
        ids=data.ids,
    )["linf"]  # fmt: skip
    told = json.loads((two / "c/curves.json").read_text())
    assert [row for row in told["curves"]["linf"] if row["model"] == "net"] == list(same.rows())
    summary = json.loads((two / "c/summary.json").read_text())
    assert (summary["kind"], summary["n"]) == ("curves", 12)
    panel = summary["panels"]["linf"]
    assert [at["eps"] for at in panel["accuracy"]] == [0.1]
    assert panel["accuracy"][0]["accuracy"]["net"] == same.curves.at(0.1)["net"]
    mixed = summary["panels"]["x affine(linf:0.1,l1:1)"]
    assert [at["eps"] for at in mixed["accuracy"]] == [0.5, 1.0]
    with (two / "c/curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    mine = [r for r in rows if (r["panel"], r["model"]) == ("linf", "net")]
    assert [float(r["accuracy"]) for r in mine] == [row["accuracy"] for row in same.rows()]
    assert (two / "c/curves.png").read_bytes().startswith(b"\x89PNG")
    assert main(["verify", "c/net/radius", *ONE]) == 0
    assert main(["verify", "c/net/x-affine-linf-0.1-l1-1", *ONE]) == 0
    assert main([*RUN, *words, *more]) == 2  # without --resume
    assert main([*RUN, *words, *more, "--resume", "--format", "svg"]) == 0
    assert json.loads((two / "c/summary.json").read_text())["panels"] == summary["panels"]
    assert "<svg" in (two / "c/curves.svg").read_text()


def test_the_dry_run_writes_nothing(two, capsys):
    words = ["--threat", "l2:1", "--threat", "rt:20,1", "--suite", "fast", "--points", "3"]
    assert main([*RUN, *words, "--dry-run", "--out", "c"]) == 0
    shown = capsys.readouterr().out
    assert "l2 by radius: at most" in shown
    assert "x rt:20,1 by attack: at most" in shown
    assert not (two / "c").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no threat"),
        (["--threat", "l2:1", "--by", "luck"], "by is 'luck'"),
        (["--threat", "l2:1", "--threat", "l2:2"], "two threats in l2"),
        (["--threat", "l2:1", "--eps", "linf:0.1"], "unknown size 'linf:0.1'"),
        (["--threat", "l2:1", "--format", "pdf"], "--format is pdf"),
        (["--threat", "l2:1", "--least", "2"], "--least is 2"),
        (["--threat", "l2:1", "--suite", "quick"], "unknown suite 'quick'"),
        (["--threat", "rt:20,1", "--by", "radius"], "has no radius"),
    ],
)
def test_bad_input(two, capsys, words, says):
    assert main([*RUN, *words]) == 2
    assert says in capsys.readouterr().err


def test_metrics_and_unions_are_read():
    command = parse(
        CurvesCommand, "curves", "draw", ["--metric", "l1.5", "--threat", "linf:0.1|l2:1"]
    )  # fmt: skip
    assert list(map(str, command.threats())) == ["linf:0.1 | l2:1", "l1.5"]
    with pytest.raises(InputError, match="unknown metric"):
        parse(CurvesCommand, "curves", "draw", ["--metric", "rt"]).threats()


def test_crossings_are_listed():
    at = [{"eps": 1.0, "accuracy": {"a": 0.5, "b": 0.75}}]
    crossed = [{"eps": 0.5 + k, "before": "a", "after": "b"} for k in range(8)]
    panels = {
        "l2": {"by": "radius", "accuracy": at, "crossings": crossed},
        "l1": {"by": "attack", "accuracy": at, "crossings": []},
    }
    told = {"n": 8, "clean": {"a": 1.0, "b": 0.875}, "least": 0.02, "panels": panels}
    text = str(table(told))
    assert "l2: a leads below 0.5, b from there" in text
    assert text.count("leads below") == 6
    assert "l2: 2 more crossings" in text
    assert "l1: no two models change places by more than 2.0%" in text
    alone = {"n": 8, "clean": {"a": 1.0}, "least": 0.0, "panels": {"l2": panels["l1"]}}
    alone["panels"]["l2"]["accuracy"] = [{"eps": 1.0, "accuracy": {"a": 0.5}}]
    assert "change places" not in str(table(alone))
