"""The page of Tramèr & Boneh 2019: every row asks for commands that there are, at both scales."""

import json

import pytest
from helpers.papers import Parsed, loader, made, printed, values

from hauberk.cli.evaluate import EvaluateCommand
from hauberk.cli.filters import FiltersCommand
from hauberk.cli.gallery import GalleryCommand
from hauberk.cli.landscape import LandscapeCommand
from hauberk.cli.trace import TraceCommand
from hauberk.cli.train import TrainCommand

COMMANDS = (
    EvaluateCommand, TrainCommand, TraceCommand, LandscapeCommand, GalleryCommand, FiltersCommand,
)  # fmt: skip
BROKE = {"broke_alone": 30}
STAGES = ("pgd", "sparse-l1", "ead", "pointwise", "cw", "boundary")
PICTURES = {
    "trace": {"models": {"net": [{"name": "q=0.8", "best": {"mean": [0.1, 0.9]}}]}},
    "landscape": {
        "panels": [{"threat": "l1:10", "jump": {"ce": {"gradient": 0.1, "free": 0.9}}}],
    },
    "gallery": {},
    "filters": {"models": {"net": {"thresholds": [{"a": 0.6, "t": 0.3}]}}},
}


def summary(words):
    """What an evaluation would leave, under the threats that the words name."""
    own = {"accuracy": 0.5, "attacks": dict.fromkeys(STAGES, BROKE), "upper_bound": False}
    return {
        "n": 100, "clean_accuracy": 0.9, "union_accuracy": 0.4, "average_accuracy": 0.5,
        "union_interval": [0.3, 0.5], "suite": "s",
        "threats": dict.fromkeys(values(words, "threat"), own),
    }  # fmt: skip


class Planted(Parsed):
    """Commands leave a summary or a picture."""

    def computed(self, *arguments):
        return 0.42  # a theorem

    def leave(self, words, out):
        if words[0] in PICTURES:
            out.write_text('<svg d="1.23456"/>')
            out.with_suffix(".json").write_text(json.dumps(PICTURES[words[0]]))
        else:
            out.mkdir(parents=True, exist_ok=True)
            (out / "summary.json").write_text(json.dumps(summary(words)))
            gap = {"union": {"train": 0.9, "test": 0.6, "gap": 0.3, "interval": [0.2, 0.4]}}
            (out / "gap.json").write_text(json.dumps(gap))


@pytest.fixture
def script(monkeypatch, tmp_path):
    yield from loader("tramer2019", COMMANDS, monkeypatch, tmp_path)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_row_and_picture_can_be_asked_for(script, scale, tmp_path):
    page, parsed = script(scale), Planted()
    assert {s.name for s in page.paper.sections} == {
        *page.paper.printed["tables"], *page.paper.printed["figures"],
    }  # fmt: skip
    for section, part, _, found in made(page, parsed, tmp_path / "a.svg"):
        if not section.rows:
            assert isinstance(found, str)
            assert (tmp_path / "a.svg").stat().st_size < 100_000
            continue
        assert set(found) <= set(section.columns), part
        assert printed(section, part) <= set(found) | {"clean"}, (section.name, part)
    kinds = {words[0] for words in parsed.asked}
    assert kinds == {"train", "evaluate", "trace", "landscape", "gallery", "filters"}
    trained = {w for words in parsed.asked if words[0] == "train" for w in words if "config" in w}
    folder = "recipes/papers/small" if scale == "small" else "recipes/train/tramer2019"
    assert all(word.startswith(f"--config={folder}/") for word in trained)
    assert len(trained) == 17  # 9 of MNIST, 8 of CIFAR-10
    asked = {w for words in parsed.asked if words[0] == "evaluate" for w in words}
    suites = {w for w in asked if w.startswith("--suite=")}
    if scale == "paper":
        assert suites == {"--suite=tramer2019", "--suite=tramer2019-cifar10"}
        assert "--limit=1000" in asked


def test_the_numbers_of_a_row(script):
    """By hand, of a summary: 90 right, 30 broken by each attack alone, 50 under each threat."""
    page = script("small")
    run = page.Run(page.paper, Planted())
    row = page.breakdown("mnist")(run, "Adv_max")
    assert row["l1 EAD"].value == pytest.approx(60)
    assert row["all l2"].value == pytest.approx(50)
    found = page.accuracies("mnist", "lp")(run, "Adv_max")
    assert (found["union"].value, found["average"].value) == (40, 50)
    priced = page.priced(run, "mnist", "lp")
    assert priced["optimum_union"] == 0.5
    assert sorted(priced["single"]) == ["mnist-lp-adv-1", "mnist-lp-adv-2", "mnist-lp-adv-inf"]
    assert [c.split()[:2] for c in run.commands] == [["hauberk", "price"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Remark 10, risk of sign(x_0) in linf (at most)", 0.0757),
        ("Remark 10, risk of sign(sum x_i) under RT (at most)", 0.0406),
        ("Remark 10, least average risk of any classifier", 0.425),
        ("Theorem 1, accuracies of a network in linf and in l1 add up to", 1.0),
        ("Theorem 11, union risk of the non-linear classifier (at most)", 0.374),
        ("Theorem 11, its accuracy under the mixture (at most)", 0.5),
    ],
)
def test_the_numbers_of_the_theorems(script, name, value):
    assert script("small").toy_number(name) == pytest.approx(value, abs=0.01)
