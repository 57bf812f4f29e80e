"""Stages, suites and suite files: what they say, what they cost, and what they refuse."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, Grid, Noise, Pointwise, SparseL1Descent, Square
from hauberk.cli.main import main
from hauberk.evaluation import SUITES
from hauberk.evaluation.accuracy.question import Accuracy
from hauberk.evaluation.accuracy.reading import read_suite, suite_of
from hauberk.evaluation.accuracy.suites import Stage, Suite
from hauberk.evaluation.core.prepare import Setting
from hauberk.threats import Box, threat
from hauberk.victims.victim import Victim

BALLS = hb.Union(hb.Linf(0.1), hb.L2(0.4), hb.L1(1.0)).parts
SHORT = APGD(steps=10)


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ((), {"linf", "l2", "l1", "l0", "l1.5", "rt", "swaps", "affine"}),
        (("l1",), {"l1"}),
        (("l1", "rt"), {"l1", "rt"}),
        (("-l1",), {"linf", "l2", "l0", "l1.5", "rt", "swaps", "affine"}),
        (("-l1", "-rt", "-affine", "-swaps"), {"linf", "l2", "l0", "l1.5"}),
        (("l2", "-l1"), {"l2"}),
        (("l1", "-l1"), set()),
        ("-l1", {"linf", "l2", "l0", "l1.5", "rt", "swaps", "affine"}),
        ("linf", {"linf"}),
    ],
)
def test_which_threats_a_stage_is_for(words, kinds):
    texts = ["linf:0.1", "l2:1", "l1:1", "l0:3", "l1.5:1", "rt:30,3", "swaps:3",
             "affine(linf:0.1,l1:1)"]  # fmt: skip
    stage = Stage(attack=SHORT, threats=words)
    found = {t.partition(":")[0].partition("(")[0] for t in texts if stage.fits(threat(t))}
    assert found == kinds
    assert isinstance(stage.threats, tuple)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"when": "sometimes"}, "always, masked or unmasked"),
        ({"portion": 0}, "portion"),
        ({"portion": 1.5}, "portion"),
        ({"portion": float("nan")}, "portion"),
        ({"attack": "apgd"}, "give an attack"),
        ({"attack": APGD}, "give an attack"),
    ],
)
def test_bad_stages_are_refused(settings, message):
    with pytest.raises(hb.InputError, match=message):
        Stage(**{"attack": SHORT} | settings)


def test_passes_of_a_stage():
    assert Stage(attack=SHORT).passes() == 21
    assert Stage(attack=APGD(steps=10, restarts=3)).passes() == 63
    targeted = APGD(steps=10, targets=9)
    assert Stage(attack=targeted).passes(classes=10) == 9 * 21
    assert Stage(attack=targeted).passes(classes=2) == 21
    assert Stage(attack=SHORT, portion=0.5).passes() == 10.5
    assert Stage(attack=SHORT, carry=True).passes() == 0
    assert Stage(attack=Square(steps=10)).passes() == 11


def test_passes_of_a_suite_with_and_without_escalation():
    rows = {
        "always": SHORT,  # 21
        "only": Stage(attack=APGD(steps=5), threats=("l1",)),  # 11, one threat
        "unmasked": Stage(attack=APGD(steps=1), when="unmasked"),  # 3
        "masked": Stage(attack=APGD(steps=100), when="masked"),  # 201
        "carried": Stage(attack=APGD(steps=100), carry=True),
    }
    suite = Suite("s", 1, "for a test", rows)
    assert suite.passes(BALLS) == (3 * 21 + 11 + 3 * 3, 3 * 21 + 11 + 3 * 201)
    two = hb.Union(threat("affine(linf:0.1,l1:1)")).parts
    assert suite.passes(two)[0] == two[0].variants * (21 + 3)


def test_the_order_is_stage_by_stage():
    rows = {"a": SHORT, "b": Stage(attack=SHORT, threats=("-l2",))}
    found = [(str(t), name) for t, name, _ in Suite("s", 1, "", rows).schedule(BALLS)]
    assert found == [("linf:0.1", "a"), ("l2:0.4", "a"), ("l1:1", "a"),
                     ("linf:0.1", "b"), ("l1:1", "b")]  # fmt: skip


@pytest.mark.parametrize("options", [{"threats": ("l1",)}, {"when": "masked"}])
def test_every_threat_needs_an_attack_that_is_always_run(options):
    suite = Suite("lacking", 1, "", {"a": Stage(attack=SHORT, **options)})
    with pytest.raises(hb.InputError, match=r"lacking holds no attack for linf:0\.1"):
        suite.schedule(BALLS)


def test_about_tells_settings_that_are_not_defaults():
    assert Stage(attack=APGD(steps=7)).about() == "APGD(steps=7)"
    stage = Stage(attack=APGD(steps=7, soften=0.1), when="masked", portion=0.05, threats=("-l1",))
    told = stage.about()
    assert told.startswith("APGD(steps=7, soften=0.1); for -l1; ")
    assert "5%" in told
    assert "masked" in told
    assert "another threat" in Stage(attack=SHORT, carry=True).about()


def test_share_of_the_attack_is_another_setting():
    """Square's windows and a stage's portions are different things."""
    one = Stage(attack=Square(steps=9, share=0.3), portion=0.5).describe()
    assert (one["share"], one["portion"]) == (0.3, 0.5)
    assert "portion" not in Stage(attack=SparseL1Descent(steps=9)).describe()
    assert not set(Stage(attack=SHORT).describe()) & {"when", "carry", "threats", "portion"}
    assert Stage(attack=SHORT, carry=True, when="masked").describe()["when"] == "masked"


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_describes_itself(name):
    suite = SUITES[name]
    assert suite.name == name
    assert suite.version >= 1
    assert "\n" not in suite.about
    told = json.loads(json.dumps(suite.describe()))
    assert list(told) == list(suite.attacks)
    for key, stage in suite.stages.items():
        assert told[key]["attack"] == type(stage.attack).__name__
        assert told[key]["kind"] in ("gradient", "free", "transfer", "sanity")
        assert stage.about().startswith(type(stage.attack).__name__)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_begun_under_the_balls(name):
    x, y = torch.full((1, 1, 6, 6), 0.5), torch.zeros(1, dtype=torch.long)
    suite = SUITES[name]
    setting = Setting({"a": Victim(nn.Flatten())}, x, y, torch.arange(1), Box.of((0, 1)))
    for task in Accuracy(BALLS, suite).tasks(setting):
        task.check(setting)
    assert suite.passes(BALLS)[0] > 0


def test_standard_and_fast_are_for_sets_and_mixtures():
    texts = ["rt:30,3", "swaps:3", "l1.5:1", "l0:3", "affine(linf:0.1,l1:1)"]
    for name in ("standard", "fast"):
        assert SUITES[name].schedule(tuple(threat(t) for t in texts))


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


@pytest.mark.parametrize(
    ("notation", "attack", "options"),
    [
        ("linf:0.1", Grid(), {}),
        ("linf:0.1", Grid(), {"when": "masked"}),
        ("linf:0.1", Grid(), {"carry": True}),
        ("rt:30,3", Pointwise(), {"portion": 0.5}),
    ],
)
def test_attacks_that_do_not_fit_are_refused_before_the_folder_is_made(
    tmp_path, notation, attack, options
):
    model, x, y = case()
    rows = {"first": APGD(steps=2), "odd one": Stage(attack=attack, **options)}
    calls = []
    with pytest.raises(hb.InputError, match=f"odd one under {notation}: "):
        hb.evaluate(model, x, y, threat(notation), suite=rows, out=tmp_path / "r",
                    progress=calls.append)  # fmt: skip
    assert not (tmp_path / "r").exists()
    assert not calls
