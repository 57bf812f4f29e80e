"""The page of Wang et al. 2021: every row asks for commands that there are, at both scales."""

import json
from pathlib import Path

import pytest
from helpers.papers import Parsed, loader, made, printed

from hauberk.cli.evaluate import EvaluateCommand
from hauberk.cli.minmax import MinmaxCommand
from hauberk.cli.train import TrainCommand

COMMANDS = EvaluateCommand, MinmaxCommand, TrainCommand
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


class Planted(Parsed):
    """Commands leave a summary, trainings a history."""

    def computed(self, *arguments):
        found = {norm: [(0.5, 3, 10), (0.4, 2, 10)] for norm in ("linf", "l2", "l1", "l0")}
        weights = Path(arguments[-1])  # of images
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_text(json.dumps(found))

    def leave(self, words, out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "summary.json").write_text(json.dumps(SUMMARY))
        (out / "history.csv").write_text(f"{HISTORY}\n1" + ",0.3" * HISTORY.count(",") + "\n")


@pytest.fixture
def script(monkeypatch, tmp_path):
    yield from loader("wang2021", COMMANDS, monkeypatch, tmp_path)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_row_and_picture_can_be_asked_for(script, scale, tmp_path):
    page = script(scale)
    parsed = Planted()
    for section, part, _, found in made(page, parsed, tmp_path / "a.svg"):
        if not section.rows:
            assert found
            assert (tmp_path / "a.svg").stat().st_size < 60_000
            continue
        assert set(found) <= set(section.columns), part
        few = scale == "small" and section.name == "Table A2"  # E to H are for a GPU
        assert few or printed(section, part) <= set(found), (section.name, part)
    assert {words[0] for words in parsed.asked} == {"train", "minmax", "evaluate"}
    limits = {w for words in parsed.asked for w in words if w.startswith("--limit=")}
    assert ("--limit=1000" in limits) or scale == "small"
    trained = {w for words in parsed.asked if words[0] == "train" for w in words if "config" in w}
    folder = "recipes/papers/small" if scale == "small" else "recipes/train"
    assert all(word.startswith(f"--config={folder}/") for word in trained)
    letters = "abcd" if scale == "small" else "ABCDEFGH"
    assert all(any(f"cifar10-{k}" in word for word in trained) for k in letters)
