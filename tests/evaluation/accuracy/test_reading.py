"""Suites by name, from what a caller gives, and from YAML files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, Noise, Square
from hauberk.cli.main import main
from hauberk.evaluation import SUITES
from hauberk.evaluation.accuracy.reading import read_suite, suite_of
from hauberk.evaluation.accuracy.suites import Stage
from hauberk.solvers import CW, EAD
from hauberk.solvers.as_attack import AsAttack

BALLS = hb.Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0)).parts


def test_what_counts_as_a_suite(tmp_path):
    assert suite_of("fast") is SUITES["fast"]
    assert suite_of(SUITES["fast"]) is SUITES["fast"]
    assert list(suite_of(APGD()).attacks) == ["apgd"]
    assert suite_of(Stage(attack=FGSM(), carry=True)).stages["fgsm"].carry
    file = tmp_path / "own.yaml"
    file.write_text("attacks: {a: {attack: FGSM}}")
    assert suite_of(file).name == suite_of(str(file)).name == "own"
    for bad in ({}, {"a": "APGD"}, 3, [APGD()], None):
        with pytest.raises(hb.InputError, match="a suite is"):
            suite_of(bad)
    with pytest.raises(hb.InputError, match=r"fast.*\.yaml"):
        suite_of("quick")


def write(folder, text):
    file = folder / "own.yaml"
    file.write_text(text)
    return file


def test_a_suite_file(tmp_path):
    text = """
name: mine
version: 3
about: four rows
attacks:
  first: {attack: APGD, steps: 5, loss: ce, soften: 1, enlarge: [2, 1], threats: [l1, l2]}
  2: {attack: Square, steps: 7, share: 0.5, portion: 0.1}
  third: {attack: APGD, steps: 9, portion: 0.25, when: unmasked, threats: -l1}
  last: {attack: PGD, step_size: 0.1, share: [0.1, 0.2], random_start: false, carry: true}
"""
    suite = read_suite(write(tmp_path, text))
    assert (suite.name, suite.version, suite.about) == ("mine", 3, "four rows")
    assert dict(suite.attacks) == {
        "first": Stage(
            attack=APGD(steps=5, loss="ce", soften=1, enlarge=(2, 1)), threats=("l1", "l2")
        ),
        "2": Stage(attack=Square(steps=7, share=0.5), portion=0.1),
        "third": Stage(attack=APGD(steps=9), portion=0.25, when="unmasked", threats=("-l1",)),
        "last": Stage(attack=PGD(step_size=0.1, share=(0.1, 0.2), random_start=False), carry=True),
    }


def test_a_suite_file_needs_nothing_but_attacks(tmp_path):
    suite = read_suite(write(tmp_path, "attacks: {a: {attack: Noise}}"))
    assert (suite.name, suite.version) == ("own", 0)
    assert suite.stages["a"] == Stage(attack=Noise())


def test_a_suite_file_may_ask_radius_solvers(tmp_path):
    text = "attacks: {a: {solver: cw, steps: 60, searches: 3, threats: [l2]}, b: {solver: ead}}"
    suite = read_suite(write(tmp_path, text))
    cw = AsAttack(solver=CW(steps=60, searches=3))
    assert suite.stages["a"] == Stage(attack=cw, threats=("l2",))
    assert suite.stages["b"] == Stage(attack=AsAttack(solver=EAD()))


ROW = "attacks: {first: {attack: APGD, %s}}"


def test_numbers_may_be_written_as_in_threats(tmp_path):
    suite = read_suite(write(tmp_path, ROW % "soften: 1e-1, rho: 3/4"))
    assert suite.stages["first"].attack == APGD(soften=0.1, rho=0.75)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attacks: [", "cannot be read"),
        ("\x00", "cannot be read"),
        ("", "no 'attacks:'"),
        ("- attacks", "no 'attacks:'"),
        ("attacks:", "no 'attacks:'"),
        ("attacks: [APGD]", "no 'attacks:'"),
        ("attacks: {}", "names no attack"),
        ("stages: {}\nattacks: {a: {attack: FGSM}}", "unknown word 'stages'"),
        ("3: x\nzeta: y\nattacks: {a: {attack: FGSM}}", "unknown word '3'"),
        ("version: new\nattacks: {a: {attack: FGSM}}", "version is 'new': give a whole number"),
        ("version: null\nattacks: {a: {attack: FGSM}}", "version"),
        ("name: [a]\nattacks: {a: {attack: FGSM}}", "name"),
        ("attacks: {first: APGD}", "first: write {attack"),
        ("attacks: {first: {steps: 3}}", "first: write {attack"),
        ("attacks: {first: null}", "first: write {attack"),
        ("attacks: {first: {attack: APGD, solver: cw}}", "first: write {attack"),
        ("attacks: {first: {solver: cww}}", "unknown solver 'cww'"),
        ("attacks: {first: {solver: cw, step: 3}}", "first: CW has no setting 'step'"),
        ("attacks: {first: {attack: Agpd}}", "unknown attack 'Agpd': choose one of APGD"),
        ("attacks: {first: {attack: Attack}}", "unknown attack"),
        ("attacks: {first: {attack: [APGD]}}", "unknown attack"),
        ("attacks: {first: {attack: null}}", "unknown attack"),
        (ROW % "step: 3", "first: APGD has no setting 'step': it has"),
        (ROW % "3: 4", "no setting '3'"),
        (ROW % "steps: many", "first: steps is 'many': give a whole number"),
        (ROW % "steps: null", "first: steps is None: give a whole number"),
        (ROW % "steps: 2.5", "first: steps is 2.5: give a whole number"),
        (ROW % "steps: true", "first: steps is True: give a whole number"),
        (ROW % "steps: [3]", "first: steps"),
        (ROW % "steps: 0", "first: steps is 0: give 1 or more"),
        (ROW % "soften: 1e-", "soften is '1e-': give a number, such as 0.5 or 8/255"),
        (ROW % "soften: .nan", "soften is nan: give a number"),
        (ROW % "rho: .inf", "rho is inf: give a number"),
        (ROW % "portion: x", "first: portion is 'x': give a number"),
        (ROW % "portion: 2", "first: portion is 2"),
        (ROW % "portion: null", "first: portion is None: give a number"),
        (ROW % "share: 0.1", "has no setting 'share'"),
        (ROW % "when: 3", "first: when is 3: give always or masked or unmasked"),
        (ROW % "when: never", "first: when is 'never': give always or masked"),
        (ROW % "carry: maybe", "first: carry is 'maybe': give true or false"),
        (ROW % "carry: 1", "first: carry is 1: give true or false"),
        (ROW % "threats: 3", "first: threats has '3'"),
        (ROW % "threats: {l1: 1}", "first: threats is .*: give a list"),
        (ROW % "threats: [linff]", "first: threats has 'linff'"),
        (ROW % "threats: linf:0.1", "first: threats has 'linf:0.1'"),
        (ROW % "threats: [1]", "first: threats has '1'"),
        (ROW % "loss: nll", "first: .*nll"),
        (ROW % "loss: null", "first: loss is None: give text"),
        (ROW % "enlarge: wide", "first: enlarge is 'wide': give a list"),
        (ROW % "enlarge: [a, b]", "first: "),
        ("attacks: {first: {attack: PGD, step_size: big}}", "first: step_size is 'big': give a"),
        ("attacks: {first: {attack: PGD, rule: any}}", "first: rule is 'any': give steepest or"),
        ("attacks: {first: {attack: Square, share: 3}}", "first: share is 3"),
    ],
)
def test_bad_suite_files_are_one_clear_line(tmp_path, text, message):
    file = write(tmp_path, text)
    with pytest.raises(hb.InputError, match=message) as caught:
        read_suite(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_suite_file_that_is_not_there(tmp_path):
    for file in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(hb.InputError, match="cannot be read"):
            read_suite(file)
    (tmp_path / "latin.yaml").write_bytes(b"about: \xe9\nattacks: {a: {attack: FGSM}}")
    with pytest.raises(hb.InputError, match="cannot be read"):
        read_suite(tmp_path / "latin.yaml")


def case():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


FILE = """
about: for a test
attacks:
  quick: {attack: APGD, steps: 4}
  nearest: {attack: APGD, steps: 8, targets: 2, portion: 0.25, threats: -l1}
  carried: {attack: APGD, steps: 4, carry: true}
"""


def test_evaluate_runs_a_suite_file(tmp_path):
    model, x, y = case()
    file = write(tmp_path, FILE)
    result = hb.evaluate(model, x, y, list(BALLS), suite=str(file), out=tmp_path / "r")
    assert result.summary["suite"] == "own"
    assert result.summary["finished"]
    assert list(result.summary["threats"]["l1:1"]["attacks"]) == ["quick", "carried"]
    told = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert told["attacks"]["nearest"]["portion"] == 0.25
    optional = [row["attack"] for row in told["schedule"] if row.get("optional")]
    assert optional == ["nearest", "nearest", "carried", "carried", "carried"]
    assert hb.verify(tmp_path / "r", model).ok
    same = {"quick": APGD(steps=4), "nearest": Stage(attack=APGD(steps=8, targets=2), portion=0.25,
            threats=("-l1",)), "carried": Stage(attack=APGD(steps=4), carry=True)}  # fmt: skip
    assert torch.equal(result.robust(), hb.evaluate(model, x, y, BALLS, suite=same).robust())


def test_the_command_runs_a_suite_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, x, y = case()
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential("
        "nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))\n"
    )
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    np.savez(tmp_path / "d.npz", images=x.numpy(), labels=y.numpy())
    write(tmp_path, FILE)
    argv = ["evaluate", "--model", "net.py:make", "--weights", "net.safetensors",
            "--data", "npz:d.npz", "--threat", "linf:0.1", "--threat", "l1:1"]  # fmt: skip
    assert main([*argv, "--suite", "own.yaml", "--out", "r"]) == 0
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["suite"] == "own"
    assert main([*argv, "--suite", "own.yaml", "--dry-run"]) == 0
    assert "suite own" in capsys.readouterr().out
    write(tmp_path, ROW % "steps: many")
    assert main([*argv, "--suite", "own.yaml", "--out", "s"]) == 2
    told = capsys.readouterr().err
    assert "own.yaml, first: steps is 'many'" in told
    assert told.count("\n") == 1
    assert main([*argv, "--suite", "none.yaml", "--out", "s"]) == 2
    assert not (tmp_path / "s").exists()
