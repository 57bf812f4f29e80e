"""``hauberk minmax`` as a user meets it: words, files, exit codes."""

import csv
import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD
from hauberk.cli.main import ABOUT, main
from hauberk.cli.minmax import named_classes
from hauberk.data import load_data

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def few():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

def blur(x):
    return 0.5 * x + 0.5 * x.roll(1, -1)
"""
PNG = ("weights.png", "binding.png", "accuracy.png")


@pytest.fixture(scope="module")
def trained():
    """Two linear models of the embedded digits, one that had little time to learn."""
    data = load_data("digits:train")
    models = []
    for steps in (60, 15):
        torch.manual_seed(steps)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(steps):
            loss = nn.functional.cross_entropy(model(data.images), data.labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        models.append(model.requires_grad_(False))
    return models


@pytest.fixture
def place(tmp_path, monkeypatch, trained):
    """An empty directory with two models of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    for name, model in zip("ab", trained, strict=True):
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    return tmp_path


ONE = ["--model", "net.py:make", "--weights", "a.safetensors"]
TWO = [*ONE, "--model", "net.py:make", "--weights", "b.safetensors"]
DATA = ["--data", "digits:test", "--limit", "12"]
RUN = ["minmax", *TWO, *DATA, "--threat", "linf:0.1", "--steps", "5"]


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def summary_of(path):
    return json.loads((path / "summary.json").read_text(encoding="utf-8"))


def test_two_models_end_to_end(place, capsys, trained):
    words = ["--name", "good", "--name", "poor", "--seed", "3", "--out", "runs/m"]
    assert main([*RUN, *words]) == 0
    shown = capsys.readouterr().out
    for word in ("good", "poor", "average", "minmax", "ASR_all", "ledger: runs/m"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    run = place / "runs/m"
    for name in PNG:
        assert (run / name).read_bytes().startswith(b"\x89PNG")
        assert f"runs/m/{name}" in shown
    assert "runs/m/weights.csv" in shown
    data = load_data("digits:test", limit=12)
    same = hb.minmax(
        dict(zip(("good", "poor"), trained, strict=True)), data.images, data.labels, "linf:0.1",
        attack=APGD(loss="cw", steps=5), seed=3, ids=data.ids,
    )  # fmt: skip
    rows = rows_of(run / "weights.csv")
    assert [int(row["id"]) for row in rows] == data.ids.tolist()
    for place_, name in enumerate(("good", "poor")):
        found = [float(row[f"weight {name}"]) for row in rows]
        assert np.allclose(found, same.weights[:, place_])
        fooled = [float(row[f"wrong {name}"]) for row in rows]
        assert fooled == same.minmax.wrong[0, :, place_].double().tolist()
    told = summary_of(run)
    assert told["parts"] == ["good", "poor"]
    assert told["sides"]["minmax"]["accuracy"] == pytest.approx(same.minmax.accuracy)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["data"]) == ("minmax", "digits:test")
    assert manifest["model"] == ["net.py:make"] * 2
    assert [len(digest) for digest in manifest["weights_sha256"]] == [64, 64]


def test_without_out_there_is_a_table_only(place, capsys):
    before = sorted(entry.name for entry in place.iterdir())
    assert main(RUN) == 0
    shown = capsys.readouterr().out
    assert "Sequential 1" in shown
    assert "ledger" not in shown
    after = sorted(entry.name for entry in place.iterdir() if entry.name != "__pycache__")
    assert after == before


def test_a_run_in_other_words_is_not_resumed_and_the_same_is(place, capsys):
    words = [*RUN, "--out", "runs/r"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    before = (place / "runs/r/weights.csv").read_bytes()
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume", "--gamma", "4"]) == 2
    assert "gamma" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert capsys.readouterr().out == shown
    assert (place / "runs/r/weights.csv").read_bytes() == before


def test_interrupted_and_resumed_is_the_same_run(place, capsys, monkeypatch):
    assert main([*RUN, "--out", "runs/whole"]) == 0

    @contextmanager
    def impatient():
        def stop(event):
            assert 0 < event.done < 1
            if event.done > 0.5:
                raise KeyboardInterrupt

        yield stop

    with monkeypatch.context() as patch:
        patch.setattr("hauberk.report.progress.shown", impatient)
        assert main([*RUN, "--out", "runs/part"]) == 1
    assert "--resume" in capsys.readouterr().err
    assert not (place / "runs/part/summary.json").exists()
    kept = {file.name: file.read_bytes() for file in (place / "runs/part/parts").iterdir()}
    assert any(name.startswith("objective-average") for name in kept)
    assert main([*RUN, "--out", "runs/part", "--resume"]) == 0
    for name, content in kept.items():
        assert (place / "runs/part/parts" / name).read_bytes() == content
    one, other = ((place / f"runs/{run}/weights.csv").read_bytes() for run in ("part", "whole"))
    assert one == other


def test_transforms_of_one_model(place, capsys):
    words = ["minmax", *ONE, *DATA, "--limit", "6", "--threat", "l2:0.5", "--steps", "3"]
    words += ["--transform", "wang2021:stochastic", "--transform", "net.py:blur", "--draws", "2"]
    assert main([*words, "--judge-draws", "3", "--out", "runs/t"]) == 0
    names = ["ori", "flh", "flv", "bri", "gam", "crop", "rot", "net.py:blur"]
    parts = summary_of(place / "runs/t")["parts"]
    assert all(name in part for name, part in zip(names, parts, strict=True))
    rows = rows_of(place / "runs/t/weights.csv")
    assert len(rows) == 6
    for row in rows:
        assert sum(float(row[f"weight {part}"]) for part in parts) == pytest.approx(1, abs=1e-5)
        thirds = [3 * float(row[f"wrong {part}"]) for part in parts]
        assert np.allclose(thirds, np.round(thirds))


@pytest.mark.parametrize(("more", "slots"), [([], 3), (["--by-class", "--limit", "60"], None)])
def test_groups_share_a_perturbation(place, capsys, more, slots):
    words = [*RUN, "--group", "4", "--steps", "3", *more, "--out", "runs/g"]
    assert main(words) == 0
    assert "ASR_gp" in capsys.readouterr().out
    told, rows = summary_of(place / "runs/g"), rows_of(place / "runs/g/weights.csv")
    assert told["perturbations"] == len(rows)
    assert told["n"] == 4 * len(rows)
    assert slots in (None, len(rows))
    for row in rows:
        own = [float(value) for name, value in row.items() if name.startswith("weight ")]
        assert len(own) == 2  # of a domain: its images together
        assert sum(own) == pytest.approx(1, abs=1e-5)
        fourths = [4 * float(value) for name, value in row.items() if name.startswith("wrong ")]
        assert np.allclose(fourths, np.round(fourths))


def test_several_threats_get_a_perturbation_each(place, capsys):
    words = ["minmax", *ONE, *DATA, "--threat", "linf:0.1", "--threat", "l2:0.5", "--steps", "3"]
    assert main([*words, "--out", "runs/e"]) == 0
    assert "ASR_any" in capsys.readouterr().out
    assert summary_of(place / "runs/e")["parts"] == ["linf:0.1", "l2:0.5"]
    rows = rows_of(place / "runs/e/weights.csv")
    assert {"weight linf:0.1", "wrong l2:0.5"} < set(rows[0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--attack", "apgd"], {"attack": "APGD", "steps": 5, "loss": "cw"}),
        (
            ["--attack", "momentum", "--random-start", "true", "--loss", "ce"],
            {"attack": "MomentumIterative", "random_start": True, "loss": "ce"},
        ),
        (["--attack", "msd", "--threat", "l2:0.5"], {"attack": "MultiSteepestDescent", "steps": 5}),
        (
            ["--rule", "gradient", "--step-size", "1/50", "--random-start", "false"],
            {"attack": "PGD", "rule": "gradient", "step_size": 0.02, "random_start": False},
        ),
        (["--gamma", "0", "--beta", "inf", "--all-steps"], {"attack": "APGD", "steps": 5}),
        (["--threat", "l2:0.5"], {"attack": "PGD", "share": 0.1}),
    ],
)
def test_the_attack_is_the_one_that_was_named(place, capsys, words, told):
    assert main([*RUN, "--limit", "4", *words, "--out", "runs/a"]) == 0
    attack = summary_of(place / "runs/a")["attack"]
    assert told.items() <= attack.items()
    if "--all-steps" in words:
        passes = [
            s["cost"]["passes_per_example"] for s in summary_of(place / "runs/a")["sides"].values()
        ]
        assert passes == [2 * (2 * 5 + 1)] * 2


@pytest.mark.parametrize(
    ("words", "passes", "domains"),
    [
        ([], 2 * 11, 2),
        (["--transform", "rot:30", "--transform", "rot:0..9", "--draws", "3"], 2 * 4 * 11, 4),
        (["--threat", "l2:1"], 2 * 2 * 11, 4),
        (["--group", "5"], 2 * 11, 2),
        (["--threat", "l2:1", "--attack", "msd"], 2 * (3 * 6 + 5), 2),
    ],
)
def test_dry_run_tells_the_cost_of_the_run(place, capsys, words, passes, domains):
    words = [*RUN, *words, "--all-steps"]
    assert main([*words, "--out", "runs/d", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    examples = 10 if "--group" in words else 12
    assert f"{examples} examples, {domains} domains" in shown
    for side in ("average", "minmax"):
        assert f"{side}: at most {passes} passes per example" in shown
    assert not (place / "runs").exists()
    assert main([*words, "--out", "runs/d"]) == 0
    told = summary_of(place / "runs/d")
    for side in told["sides"].values():
        spent = side["cost"]["forwards"] + side["cost"]["backwards"]
        assert spent == passes * told["n"]


def test_yaml_says_what_the_command_line_says(place):
    (place / "run.yaml").write_text(
        "model: [net.py:make, net.py:make]\nweights: [a.safetensors, none]\nname: [a, b]\n"
        "data: digits:test\nlimit: 3\nthreat: [linf:0.1]\ntransform: [ori, rot:30]\nsteps: 2\n"
        "gamma: 4\nbeta: 0.05\nrandom_start: false\nstep_size: 0.05\nout: runs/y\n"
    )
    assert main(["minmax", "--config", "run.yaml", "--seed", "4"]) == 0
    told = summary_of(place / "runs/y")
    assert (told["n"], told["seed"]) == (3, 4)
    assert told["parts"] == ["a ori", "a rot:30", "b ori", "b rot:30"]
    assert told["objectives"]["minmax"]["gamma"] == 4
    assert told["objectives"]["minmax"]["beta"] == 0.05
    assert (told["attack"]["step_size"], told["attack"]["random_start"]) == (0.05, False)
    manifest = json.loads((place / "runs/y/manifest.json").read_text())
    assert manifest["weights"] == ["a.safetensors", None]


def test_yaml_with_one_of_each_needs_no_lists(place):
    (place / "run.yaml").write_text(
        "model: net.py:make\nweights: a.safetensors\ndata: digits:test\nlimit: 2\n"
        "threat: l2:0.5\ntransform: rot:30\nsteps: 1\nout: runs/y\n"
    )
    assert main(["minmax", "--config", "run.yaml"]) == 0
    assert summary_of(place / "runs/y")["parts"] == ["rot:30"]


def test_images_in_float64_and_in_another_box(place):
    data = load_data("digits:test", limit=5)
    images = 255 * data.images.double().numpy()
    np.savez("wide.npz", images=images, labels=data.labels.numpy())
    words = ["minmax", *TWO, "--data", "npz:wide.npz", "--threat", "linf:8", "--box", "0", "255"]
    assert main([*words, "--steps", "2", "--out", "runs/w"]) == 0
    assert len(rows_of(place / "runs/w/weights.csv")) == 5


def test_points_of_two_classes(place):
    (place / "flat.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Linear(3, 2)\n"
    )
    images = np.random.default_rng(0).random((7, 3))
    np.savez("flat.npz", images=images, labels=(images[:, 0] > 0.5).astype(int))
    words = ["minmax", "--model", "flat.py:make", "--model", "flat.py:make", "--steps", "2"]
    words += ["--data", "npz:flat.npz", "--threat", "l2:0.1"]
    assert main([*words, "--limit", "1", "--out", "runs/one"]) == 0
    assert len(rows_of(place / "runs/one/weights.csv")) == 1
    assert main([*words, "--group", "3", "--attack", "apgd", "--out", "runs/groups"]) == 0
    assert len(rows_of(place / "runs/groups/weights.csv")) == 2
    assert main([*words, "--transform", "rot:30", "--out", "runs/bad"]) == 2
    assert not (place / "runs/bad").exists()


BAD = [
    (["minmax", *DATA, "--threat", "linf:0.1"], "no model"),
    (["minmax", *TWO, "--threat", "linf:0.1"], "no data"),
    (["minmax", *TWO, *DATA], "no threat"),
    ([*RUN, "--model", "net.py:make"], "3 models but 2 weights"),
    ([*RUN, "--name", "a"], "2 models but 1 names"),
    ([*RUN, "--name", "a", "--name", "a"], "of its own"),
    ([*RUN, "--model", "net.py:make", "--weights", "c.npz"], "no such file"),
    (["minmax", "--model", "net.py:none", *DATA, "--threat", "l2:1"], "net.py:none"),
    (["minmax", *ONE, "--model", "net.py:few", "--weights", "none", *DATA, "--threat", "l2:1"],
     "classes"),
    ([*RUN, "--threat", "l2"], "unknown threat"),
    ([*RUN, "--threat", "linf:0.1"], "named twice"),
    ([*RUN, "--transform", "spin:3"], "spin"),
    ([*RUN, "--transform", "wang2021:odd"], "choose deterministic or stochastic"),
    ([*RUN, "--transform", "ori", "--transform", "ori"], "named twice"),
    ([*RUN, "--attack", "magic"], "choose one of pgd, apgd, momentum, msd"),
    ([*RUN, "--attack", "apgd", "--step-size", "0.1"], "no option '--step-size'"),
    ([*RUN, "--attack", "msd", "--random-start", "true"], "no option '--random-start'"),
    ([*RUN, "--attack", "msd", "--threat", "rt:30,3"], "no ball"),
    ([*RUN[:-4], "--threat", "rt:30,3", "--attack", "msd"], "no ball"),
    ([*RUN, "--attack", "momentum", "--rule", "gradient"], "PGD for other rules"),
    ([*RUN, "--rule", "wild"], "choose steepest or gradient"),
    ([*RUN, "--loss", "wild"], "unknown loss"),
    ([*RUN, "--random-start", "perhaps"], "--random-start is perhaps: give true or false"),
    ([*RUN, "--steps", "0"], "--steps is 0"),
    ([*RUN, "--step-size", "-1"], "--step-size is -1"),
    ([*RUN, "--gamma", "-1"], "--gamma is -1"),
    ([*RUN, "--beta", "-0.1"], "--beta is -0.1"),
    ([*RUN, "--beta", "nan"], "--beta is 'nan'"),
    ([*RUN, "--gamma", "much"], "--gamma is 'much'"),
    ([*RUN, "--step-size", "1/0"], "--step-size is '1/0'"),
    ([*RUN, "--draws", "0"], "--draws is 0"),
    ([*RUN, "--judge-draws", "0"], "--judge-draws is 0"),
    ([*RUN, "--group", "0"], "--group is 0"),
    ([*RUN, "--group", "13"], "make the groups smaller"),
    ([*RUN, "--group", "2", "--threat", "l2:1"], "only an lp ball can be shared"),
    ([*RUN, "--group", "2", "--attack", "msd"], "another attack"),
    ([*RUN, "--by-class"], "--group"),
    ([*RUN, "--resume"], "--out"),
    ([*RUN, "--box", "0", "inf"], "box"),
    ([*RUN, "--box", "1", "0"], "box"),
    ([*RUN, "--device", "warp"], "unknown device"),
]  # fmt: skip


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input_is_one_line_and_exit_code_2(place, capsys, words, message, dry):
    assert main([*words, "--out", "runs/bad", *dry] if "--resume" not in words else words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert not (place / "runs").exists()


def test_words_are_read_before_models_are_loaded(place, capsys, monkeypatch):
    monkeypatch.setattr("hauberk.models.loading.load_model", None)  # cannot be called
    for words, message in BAD:
        if message in (
            "classes",
            "net.py:none",
            "make the groups smaller",
            "unknown device",
            "no ball",
        ):
            continue
        if "--box" in words and "inf" in words:
            continue
        assert main(words) == 2, words
        assert message in capsys.readouterr().err


def test_a_folder_of_other_files_is_left_alone(place, capsys):
    (place / "mine").mkdir()
    (place / "mine/notes.txt").write_text("keep")
    assert main([*RUN, "--out", "mine"]) == 2
    assert "no run of hauberk" in capsys.readouterr().err
    assert [entry.name for entry in (place / "mine").iterdir()] == ["notes.txt"]


def test_a_table_that_cannot_be_written_keeps_the_ledger(place, capsys):
    assert main([*RUN, "--out", "runs/k"]) == 0
    (place / "runs/k/weights.csv").unlink()
    (place / "runs/k/weights.csv").mkdir()
    capsys.readouterr()
    assert main([*RUN, "--out", "runs/k", "--resume"]) == 2
    error = capsys.readouterr().err
    assert "the ledger is kept" in error
    assert error.count("\n") == 1


def test_a_min_max_run_is_verified_with_all_of_its_models(place, capsys):
    assert main([*RUN, "--out", "runs/v"]) == 0
    capsys.readouterr()
    assert main(["verify", "runs/v", *TWO]) == 0
    assert "confirmed, 0 refuted" in capsys.readouterr().out
    assert main(["verify", "runs/v", *ONE]) == 2
    error = capsys.readouterr().err
    assert "the run has 2 models" in error
    assert error.count("\n") == 1


def test_verify_takes_the_models_of_a_run_by_name(place, capsys):
    assert main([*RUN, "--name", "good", "--name", "poor", "--out", "runs/v"]) == 0
    poor = ["--model", "net.py:make", "--weights", "b.safetensors"]
    right = ["--name", "poor", *poor, "--name", "good", *ONE]
    wrong = ["--name", "good", *poor, "--name", "poor", *ONE]
    for words, code in ((right, 0), (wrong, 1)):
        capsys.readouterr()
        assert main(["verify", "runs/v", *words, *DATA]) == code
        assert ("problem: " in capsys.readouterr().out) == bool(code)


def test_help_names_the_command(capsys):
    for word in ("minmax ", "--transform", "hauberk minmax --model", "wang2021:stochastic"):
        assert word in ABOUT
    assert max(map(len, ABOUT.splitlines())) <= 100
    with pytest.raises(SystemExit) as ended:
        main(["minmax", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for word in ("--gamma", "--judge-draws", "--all-steps", "--random-start", "--by-class"):
        assert word in shown


def test_a_list_on_the_command_line_takes_the_place_of_the_files(place, capsys):
    text = "threat: [linf:0.2, l2:1]\ntransform: [flh]\nsteps: 3\n"
    (place / "c.yaml").write_text(text, encoding="utf-8")
    words = ["minmax", "--all-steps", "--config", "c.yaml", *ONE, *DATA, "--out", "runs/c"]
    assert main([*words, "--threat=linf:0.05"]) == 0
    told = summary_of(place / "runs/c")
    assert told["threat"] == "linf:0.05"
    assert told["parts"] == ["flh"]


def test_classes_have_their_names():
    shares = {"0": 0.5, "3": 0.25}
    assert named_classes(shares, {"class_names": ["ant", "bee"]}) == {"ant": 0.5, "3": 0.25}
    assert named_classes(shares, {}) == shares
