"""The page of Wang et al. 2021: every row asks for commands that there are, at both scales."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from hauberk.cli.evaluate import EvaluateCommand
from hauberk.cli.main import main as cli
from hauberk.cli.minmax import MinmaxCommand
from hauberk.cli.train import TrainCommand

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "recipes" / "papers"))

NORMS = ("linf:0.3", "l2:2", "l1:10", "linf:0.2")
SIDE = {
    "asr_all": 0.5, "asr_avg": 0.75, "asr_group": 0.25,
    "accuracy": dict.fromkeys((*"ABCDEFGH", *map(str, range(7))), 0.1),
}  # fmt: skip
SUMMARY = {
    "n": 100, "clean_accuracy": 0.9, "union_accuracy": 0.4,
    "threats": {t: {"accuracy": 0.5} for t in NORMS},
    "sides": {"average": SIDE, "minmax": {**SIDE, "asr_all": 0.6}},
    "lift": {"asr_all": 0.2, "asr_group": "inf"},
}  # fmt: skip
HISTORY = "epoch,loss" + "".join(
    f",weight {t}" + "".join(f",weight {t} {end}" for end in ("low", "q1", "median", "q3", "high"))
    for t in NORMS[:3]
)


class Parsed:
    """In place of the processes: commands are read as hauberk reads them, and leave a summary."""

    def __init__(self):
        self.asked = []

    def submit(self, work, words, *more):
        if isinstance(words, str):  # a function of the script: the weights of images
            found = {norm: [(0.5, 3, 10), (0.4, 2, 10)] for norm in ("linf", "l2", "l1", "l0")}
            Path(more[-1]).parent.mkdir(parents=True, exist_ok=True)
            Path(more[-1]).write_text(json.dumps(found))
            return Namespace(result=lambda: None)
        self.asked.append(words)
        assert cli(list(words)) == 0, words
        out = Path(next(w for w in words if w.startswith("--out=")).removeprefix("--out="))
        out.mkdir(parents=True, exist_ok=True)
        (out / "summary.json").write_text(json.dumps(SUMMARY))
        (out / "history.csv").write_text(f"{HISTORY}\n1" + ",0.3" * HISTORY.count(",") + "\n")
        return Namespace(result=lambda: None)


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, as if called with a scale, in an empty folder beside the recipes."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    for kind in (EvaluateCommand, MinmaxCommand, TrainCommand):
        monkeypatch.setattr(kind, "run", lambda self: 0)

    def load(scale):
        monkeypatch.setattr(sys, "argv", ["wang2021.py", "--data-dir=D", f"--scale={scale}"])
        sys.modules.pop("wang2021", None)
        return importlib.import_module("wang2021")

    yield load
    sys.modules.pop("wang2021", None)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_row_and_picture_can_be_asked_for(script, scale, tmp_path):
    page = script(scale)
    parsed = Parsed()
    for section in page.paper.sections:
        for part in section.parts():
            run = page.Run(page.paper, parsed)
            if not section.rows:
                assert section.make(run, tmp_path / "a.svg")
                assert (tmp_path / "a.svg").stat().st_size < 60_000
                continue
            found = section.make(run, part)
            assert set(found) <= set(section.columns), part
            printed = section.printed.get(part) or ()
            there = {c for c, v in zip(section.columns, printed, strict=False) if v is not None}
            few = scale == "small" and section.name == "Table A2"  # E to H are for a GPU
            assert few or there <= set(found), (section.name, part)
    assert {words[0] for words in parsed.asked} == {"train", "minmax", "evaluate"}
    limits = {w for words in parsed.asked for w in words if w.startswith("--limit=")}
    assert ("--limit=1000" in limits) or scale == "small"
    trained = {w for words in parsed.asked if words[0] == "train" for w in words if "config" in w}
    folder = "recipes/papers/small" if scale == "small" else "recipes/train"
    assert all(word.startswith(f"--config={folder}/") for word in trained)
    letters = "abcd" if scale == "small" else "ABCDEFGH"
    assert all(any(f"cifar10-{k}" in word for word in trained) for k in letters)
