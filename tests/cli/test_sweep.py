"""``hauberk sweep`` as a user meets it: trainings, files, exit codes."""

import json

import pytest
import yaml

from hauberk.cli.main import main

COMMON = {
    "model": "hauberk.demo:digits_net", "data": "digits:train", "limit": 60, "epochs": 2,
    "threat": ["linf:0.1", "l1:2"], "out": "elsewhere",
}  # fmt: skip
RECIPES = {
    "msd": {"name": "msd", "steps": 2, "step_linf": 0.5, "k": [1, 5]},
    "max": {"name": "max", "steps": 2, "attacks": {"linf": {"attack": "PGD", "steps": 2}}},
}
SUITE = {
    "attacks": {
        "pgd": {"attack": "PGD", "steps": 3},
        "pointwise": {"attack": "Pointwise", "steps": 3, "threats": ["l1"]},
    }
}
JUDGED = ["--data", "digits:test", "--limit", "20", "--suite", "suite.yaml"]


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, strategy in RECIPES.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**COMMON, "strategy": strategy}))
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(SUITE))
    return ["sweep", "--recipe", "msd.yaml", "--recipe", "max.yaml", "--set", "epochs=1"]


def test_variants_are_trained_evaluated_and_compared(words, tmp_path, capsys):
    vary = ["--vary", "strategy.step_linf=0.25,0.5", "--vary", "strategy.attacks.linf.steps=1"]
    whole = [*words, *vary, *JUDGED, "--out", "out", "--threshold", "0.05", "--format", "svg"]
    assert main(whole) == 0
    shown = capsys.readouterr().out
    for word in ("[1/3] msd step_linf=0.25: union", "max linf.steps=1", "above", "out/sweep.svg"):
        assert word in shown
    found = json.loads((tmp_path / "out/summary.json").read_text())
    assert [m["group"] for m in found["models"]] == ["msd", "msd", "max"]
    assert [m["settings"] for m in found["models"]] == [
        {"strategy.step_linf": 0.25}, {"strategy.step_linf": 0.5},
        {"strategy.attacks.linf.steps": 1},
    ]  # fmt: skip
    assert found["folders"] == [
        "msd-step_linf=0.25", "msd-step_linf=0.5", "max-linf.steps=1",
    ]  # fmt: skip
    folder = tmp_path / "out/msd-step_linf=0.25"
    config = json.loads((folder / "run/config.json").read_text())
    assert config["strategy"]["step_linf"] == 0.25
    assert config["epochs"] == 1
    assert not (tmp_path / "elsewhere").exists()
    # What it says of a model is what hauberk evaluate says.
    judged = json.loads((folder / "evaluation/summary.json").read_text())
    accuracy = found["models"][0]["accuracy"]
    assert accuracy["union"] == judged["union_accuracy"]
    assert accuracy["l1:2"] == judged["threats"]["l1:2"]["accuracy"]
    after = judged["threats"]["l1:2"]["attacks"]["pgd"]["accuracy_after"]
    assert accuracy["union"] <= accuracy["union, gradients alone"] <= after
    lines = (tmp_path / "out/sweep.csv").read_text().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("recipe,strategy.step_linf,strategy.attacks.linf.steps,clean,")
    # Again: refused, but for --resume, which finds all done.
    assert main(whole) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*whole, "--resume"]) == 0
    assert json.loads((tmp_path / "out/summary.json").read_text()) == found
    assert (
        main([*words[:3], "--set", "epochs=3", *vary[:2], *JUDGED, "--out", "out", "--resume"]) == 2
    )
    assert "holds another training" in capsys.readouterr().err


def test_without_one_threat_and_judged_under_all(words, tmp_path, capsys):
    words = [*words[:3], "--without-one", *JUDGED, "--threat", "l2:0.5", "--out", "out"]
    assert main([*words, "--list-trainings"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "msd ", "msd without=linf:0.1", "msd without=l1:2"
    ]  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert main(words) == 0
    threats = []
    for folder in ("msd", "msd-without=linf-0.1", "msd-without=l1-2"):
        recipe = yaml.safe_load((tmp_path / "out" / folder / "recipe.yaml").read_text())
        threats.append(recipe["threat"])
    assert threats == [["linf:0.1", "l1:2"], ["l1:2"], ["linf:0.1"]]
    found = json.loads((tmp_path / "out/summary.json").read_text())
    assert all(set(m["accuracy"]) == {"clean", "l2:0.5", "union", "union, gradients alone"}
               for m in found["models"])  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--out"),
        (["--out", "o", "--recipe", "absent.yaml"], "absent.yaml cannot be read"),
        (["--out", "o", "--recipe", "suite.yaml"], "names no strategy"),
        (["--out", "o", "--recipe", "sub/msd.yaml", "--recipe", "msd.yaml"], "same name"),
        (["--out", "o", "--vary", "steps"], "write path=value"),
        (["--out", "o", "--set", "seed=1,2"], "give them to --vary"),
        (["--out", "o", "--vary", "strategy.stepz=1", *JUDGED], "stepz"),
        (["--out", "o", "--suite", "magic"], "unknown suite"),
        (["--out", "o", "--format", "pdf"], "png or svg"),
        (["--out", "o", "--threshold", "half"], "half"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_trained(words, tmp_path, capsys, more, message):
    assert main([*words[:3], *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("o/*/run"))
