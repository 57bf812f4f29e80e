"""The page of Maini et al. 2020: every row asks for commands that there are, at both scales."""

import json
from pathlib import Path

import pytest
from helpers.papers import Parsed, loader, made, printed, values

from hauberk.cli.corruptions import CorruptionsCommand
from hauberk.cli.curves import CurvesCommand
from hauberk.cli.evaluate import EvaluateCommand
from hauberk.cli.filters import FiltersCommand
from hauberk.cli.sweep import SweepCommand
from hauberk.cli.train import TrainCommand
from hauberk.evaluation.accuracy.reading import suite_of

COMMANDS = (
    TrainCommand, EvaluateCommand, CurvesCommand, CorruptionsCommand, SweepCommand, FiltersCommand,
)  # fmt: skip
MODELS = ("Standard", "P_inf", "P_2", "P_1", "MAX", "AVG", "MSD")
UNION = {"union": 0.5, "union, gradients alone": 0.75}


def answer(words):
    """A summary as the command would leave it; 7 of 10 are right, an attack breaks 2 of them."""
    if words[0] == "evaluate":
        attacks = suite_of(values(words, "suite")[0]).stages
        each = {"accuracy": 0.5, "attacks": {k: {"broke_alone": 2} for k in attacks}}
        threats = dict.fromkeys(values(words, "threat"), each)
        return {"n": 10, "clean_accuracy": 0.7, "union_accuracy": 0.4, "threats": threats}
    if words[0] == "sweep":
        accuracy = {"clean": 0.9, "linf:0.3": 0.4, "l2:2": 0.5, "l1:10": 0.6, **UNION}
        varied = [{"linf": s} for s in (0.1, 0.3)] + [
            {"without": t} for t in ("linf:0.3", "l2:2", "l1:10")
        ]
        alone = "without" in " ".join(words)
        settings = [{}, *varied[2:]] if alone else varied[:2]
        files = [Path(name).stem for name in values(words, "recipe")]
        groups = files or [
            "mnist-union-msd",
            *([] if alone else ["mnist-union-max", "mnist-union-avg"]),
        ]
        models = [
            {"group": group, "settings": one, "accuracy": accuracy, "n": 10}
            for group in groups for one in settings
        ]  # fmt: skip
        return {"models": models, "folders": [f"variant-{k}" for k in range(len(models))]}
    one = {"mean": 0.5, "interval": [0.4, 0.6]}
    return {"n": 10, "kinds": ["fog"], "severities": [1], "models": dict.fromkeys(MODELS, one)}


class Planted(Parsed):
    """Commands leave a summary."""

    def leave(self, words, out):
        if words[0] == "filters":
            out.write_text("<svg/>")
            panels = {name: {"count": 3, "filters": 16} for name in values(words, "name")}
            out.with_suffix(".json").write_text(json.dumps({"models": panels}))
        else:
            out.mkdir(parents=True, exist_ok=True)
            (out / "summary.json").write_text(json.dumps(answer(words)))
            (out / "curves.svg").write_text("<svg>1.23456</svg>")


@pytest.fixture
def script(monkeypatch, tmp_path):
    yield from loader("maini2020", COMMANDS, monkeypatch, tmp_path)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_row_and_picture_can_be_asked_for(script, scale, tmp_path):
    page, parsed, rows = script(scale), Planted(), {}
    for section, part, run, found in made(page, parsed, tmp_path / "a.svg"):
        if not section.rows:
            assert found
            assert (tmp_path / "a.svg").read_text().count("<svg") == 1
            continue
        rows[section.name, part] = found
        assert set(found) <= set(section.columns), part
        assert printed(section, part) - {"B-ABS", "ABS"} <= set(found), (section.name, part)
        assert run.commands, (section.name, part)
    # Attacks alone: 7 right of 10 less 2; under a threat and under all as the summary says.
    whole = {k: v.value for k, v in rows["Table 1", "MSD"].items()}
    assert whole == {"clean": 70, "linf": 50, "l2": 50, "l1": 50, "all": 40}
    assert {v.value for v in rows["Table 3", "MIM"].values()} == {50}
    assert {v.value for v in rows["Table 3", "all"].values()} == {40}
    assert rows["Figure 4, in numbers", "MSD"]["above 50"].value == 0
    assert rows["Figure 4, in numbers", "MSD"]["above 40"].value == 100
    assert rows["Appendix F", "without l1"]["l1"].value == 60
    kinds = {words[0] for words in parsed.asked}
    assert kinds == {"train", "evaluate", "curves", "corruptions", "sweep", "filters"}
    trained = [w for words in parsed.asked if words[0] == "train" for w in values(words, "config")]
    folder = "recipes/papers/small/" if scale == "small" else "recipes/train/"
    assert all(config.startswith(folder) for config in trained)


def test_the_paper_scale_takes_the_suites_and_recipes_of_the_paper(script):
    page, parsed = script("paper"), Planted()
    for section in page.paper.sections:
        if section.rows:
            for part in section.parts():
                section.make(page.Run(page.paper, parsed), part)
    judged = [words for words in parsed.asked if words[0] == "evaluate"]
    assert {s for w in judged for s in values(w, "suite")} == {
        "maini2020", "maini2020-cifar10", "maini2020-once",
    }  # fmt: skip
    assert {s for w in judged for s in values(w, "limit")} == {"1000"}
    trained = {c for w in parsed.asked if w[0] == "train" for c in values(w, "config")}
    wanted = [f"{d}-{k}" for d in ("mnist", "cifar10") for k in (
        "linf-single", "l2-single", "l1-single", "union-max", "union-avg", "union-msd",
    )]  # fmt: skip
    assert {f"recipes/train/maini2020/{name}.yaml" for name in wanted} <= trained
    sweeps = [w for w in parsed.asked if w[0] == "sweep"]
    assert {c.rpartition("-")[2] for w in sweeps for c in values(w, "config")} == {
        "search.yaml", "one.yaml",
    }  # fmt: skip


def test_pictures_of_staircases_lose_points_in_the_middle_of_a_step(script):
    steps = "M 0 0 \nL 1.04 0 \nL 2.04 0 \nL 2.04 3 \nL 4 3 \nL 5 5 \nz\n"
    found = script("small").thinned(f'<path id="a" d="{steps}"/><path d="M 1 1 Q 2 2 3 3"/>')
    assert found == (
        '<path id="a" d="M 0.0 0.0 L 2.0 0.0 L 2.0 3.0 L 4.0 3.0 L 5.0 5.0z"/>'
        '<path d="M 1 1 Q 2 2 3 3"/>'
    )
