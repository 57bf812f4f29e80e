"""The whole walk: attacks, judge, ledger, summary; and what is refused before it starts."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from helpers.accuracy import SHORT, UNION, data, net
from helpers.models import Constant, Of, Wrapped, noisy, rounded
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, Grid, Pointwise
from hauberk.evaluation import SUITES, Stage
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import prepare


def test_summary_has_the_contract(case, tmp_path):
    model, x, y = case
    result = hb.evaluate(model, x, y, UNION, suite=SHORT, out=tmp_path / "r", seed=3)
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary == result.summary
    for key in ("hauberk_version", "n", "clean_accuracy", "union_accuracy", "union_interval",
                "average_accuracy", "threats", "cost", "suite", "seed"):  # fmt: skip
        assert key in summary
    assert set(summary["threats"]) == {"linf:0.1", "l2:0.4", "l1:1"}
    assert set(summary["threats"]["l2:0.4"]["attacks"]) == {"fgsm", "apgd"}
    assert set(summary["cost"]) >= {"forwards", "backwards", "seconds"}
    assert summary["clean_accuracy"] == pytest.approx(0.9)
    assert summary["finished"] is True


def test_passes_are_the_victims(case):
    model, x, y = case
    calls = []
    model.register_forward_hook(lambda m, args, out: calls.append(len(args[0])))
    prepare({"model": model}, x, y, RunOptions())  # looks at the model, which no result counts
    screened = sum(calls)
    calls.clear()
    result = hb.evaluate(model, x, y, UNION, suite=SHORT)
    cost = result.summary["cost"]
    assert sum(calls) == cost["forwards"] + cost["judge_forwards"] + screened


def test_union_only_attacks_broken_points_no_further(case):
    model, x, y = case
    full = hb.evaluate(model, x, y, UNION, suite=SHORT)
    cheap = hb.evaluate(model, x, y, UNION, suite=SHORT, union_only=True)
    assert cheap.union_accuracy == full.union_accuracy
    assert cheap.summary["cost"]["forwards"] < full.summary["cost"]["forwards"]
    assert all(t["upper_bound"] for t in cheap.summary["threats"].values())
    for name in full.accuracy:
        assert cheap.accuracy[name] >= full.accuracy[name]


def test_all_attacks_runs_everything(case):
    model, x, y = case
    full = hb.evaluate(model, x, y, UNION, suite=SHORT, all_attacks=True)
    some = hb.evaluate(model, x, y, UNION, suite=SHORT)
    assert full.accuracy == some.accuracy
    for threat in full.summary["threats"].values():
        assert all(a["broke_alone"] >= a["broke"] for a in threat["attacks"].values())
    with pytest.raises(hb.InputError, match="exclude"):
        hb.evaluate(model, x, y, UNION, suite=SHORT, all_attacks=True, union_only=True)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_does_not_matter(case, batch_size):
    model, x, y = case
    model.double()
    one = hb.evaluate(model, x.double(), y, UNION, suite=SHORT, batch_size=batch_size)
    two = hb.evaluate(model, x.double(), y, UNION, suite=SHORT)
    assert torch.equal(one.robust(), two.robust())


def test_draws_hang_on_ids(case):
    model, x, y = case
    model.double()
    x = x.double()
    whole = hb.evaluate(model, x, y, UNION, suite={"pgd": PGD(steps=3)})
    part = hb.evaluate(model, x[10:20], y[10:20], UNION, suite={"pgd": PGD(steps=3)},
                       ids=torch.arange(10, 20))  # fmt: skip
    assert torch.equal(whole.robust()[10:20], part.robust())


def test_resume_after_a_kill_gives_the_same_run(case, tmp_path):
    """kill -9 at a random moment, go on, and end where an undisturbed run ends."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(hb.__file__).parents[1])!r})
import torch, hauberk as hb
from torch import nn
from hauberk.attacks import APGD
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)).double()
x = torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(1)).double()
y = model(x).argmax(1)
def tell(p): print(p.done, flush=True)
union, suite = hb.Union(hb.Linf(0.1), hb.L2(0.5)), {{"apgd": APGD(steps=60, restarts=4)}}
hb.evaluate(model, x, y, union, suite=suite,
            out=sys.argv[1], resume=True, progress=tell, block=8)
"""
    run = [sys.executable, "-c", script]
    subprocess.run([*run, str(tmp_path / "whole")], check=True, capture_output=True)
    process = subprocess.Popen([*run, str(tmp_path / "cut")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if float(line) > 0.4:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert not (tmp_path / "cut" / "summary.json").exists()
    subprocess.run([*run, str(tmp_path / "cut")], check=True, capture_output=True)
    whole, cut = (json.loads((tmp_path / n / "summary.json").read_text()) for n in ("whole", "cut"))
    for summary in (whole, cut):
        summary["cost"].pop("seconds")
    assert whole == cut


def test_out_that_holds_another_run(case, tmp_path):
    model, x, y = case
    hb.evaluate(model, x, y, UNION, suite=SHORT, out=tmp_path / "r")
    with pytest.raises(hb.InputError, match="another"):
        hb.evaluate(model, x, y, UNION, suite=SHORT, out=tmp_path / "r")
    with pytest.raises(hb.InputError, match="seed"):
        hb.evaluate(model, x, y, UNION, suite=SHORT, out=tmp_path / "r", resume=True, seed=5)


def test_verify_confirms_a_run(case, tmp_path):
    model, x, y = case
    hb.evaluate(model, x, y, UNION, suite=SHORT, out=tmp_path / "r")
    found = hb.verify(tmp_path / "r", model)
    assert found.ok
    assert found.points > 0
    other = net(seed=5)
    assert not hb.verify(tmp_path / "r", other).ok


class Stubborn(nn.Dropout):
    def train(self, mode=True):
        return super().train(True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, x, y: (m, x * 2, y), "box"),
        (lambda m, x, y: (m, x * torch.nan, y), "NaN"),
        (lambda m, x, y: (m, x, y + 5), "labels"),
        (lambda m, x, y: (m, x, y - 3), "label"),
        (lambda m, x, y: (m, x, y.float()), "integer"),
        (lambda m, x, y: (m, x, y[:-1]), "labels"),
        (lambda m, x, y: (m, x[:0], y[:0]), "no examples"),
        (lambda m, x, y: (Of(lambda x: (None, x)), x, y), "tuple"),
        (lambda m, x, y: (Constant(*3 * [torch.nan]), x, y), "NaN logits"),
        (lambda m, x, y: (nn.Sequential(m, Stubborn()), x, y), "train mode"),
        (lambda m, x, y: (m, x[:, :2], y), "fails on a batch"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(case, tmp_path, change, message):
    model, x, y = change(*case)
    with pytest.raises(hb.InputError, match=message) as caught:
        hb.evaluate(model, x, y, UNION, suite=SHORT, out=tmp_path / "r")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_manners_are_warned_of(case):
    model, x, y = case
    with pytest.warns(hb.HauberkWarning, match="probabilities"):
        result = hb.evaluate(nn.Sequential(model, nn.Softmax(1)), x, y, UNION, suite=SHORT)
    assert "softmax" in result.summary["warnings"][0]

    with pytest.warns(hb.HauberkWarning, match="changes between identical calls"):
        hb.evaluate(Wrapped(model, noisy(0.01)), x, y, UNION, suite={"fgsm": FGSM()})


@pytest.mark.parametrize("before", [rounded(7), torch.detach], ids=["rounded", "detached"])
def test_blind_gradients_are_warned_of(case, before):
    model, x, y = case
    with pytest.warns(hb.HauberkWarning, match="exactly zero on 30 of 30"):
        result = hb.evaluate(Wrapped(model, before), x, y, UNION, suite={"fgsm": FGSM()})
    assert "blind" in result.summary["warnings"][0]


def test_a_constant_model_breaks_everywhere():
    """All logits equal: every decision is a tie, and a tie counts as broken."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = hb.evaluate(
            Constant(0.0, 0.0, 0.0, 0.0), data(5), torch.zeros(5).long(), UNION, suite=SHORT
        )
    assert result.clean_accuracy == 0
    assert result.union_accuracy == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes(case, dtype):
    model, x, y = case
    model = model.to(dtype)
    y = model(x.to(dtype)).argmax(1)
    result = hb.evaluate(model, x, y, UNION, suite=SHORT)
    assert 0 <= result.union_accuracy <= 1
    ids, points = result.points("l2:0.4")
    assert hb.L2(0.4).contains(x[ids], points).all()


def test_box_per_feature(case):
    model, x, y = case
    lo, hi = torch.zeros(3, 1, 1), torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    result = hb.evaluate(model, x * hi, y, UNION, suite=SHORT, box=(lo, hi))
    assert result.summary["n"] == len(x)


def test_suites_are_described():
    for suite in SUITES.values():
        always, most = suite.passes(UNION.parts)
        assert 0 < always <= most
        assert json.dumps(suite.describe())
    with pytest.raises(hb.InputError, match="fast"):
        hb.evaluate(net(), data(3), torch.zeros(3).long(), UNION, suite="nope")


def test_progress_is_told(case):
    model, x, y = case
    seen = []
    hb.evaluate(model, x, y, UNION, suite=SHORT, progress=seen.append)
    assert seen[-1].done == pytest.approx(1.0)
    assert [e.done for e in seen] == sorted(e.done for e in seen)
    assert seen[-1].forwards > 0


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
    case, tmp_path, notation, attack, options
):
    model, x, y = case
    rows = {"first": APGD(steps=2), "odd one": Stage(attack=attack, **options)}
    calls = []
    with pytest.raises(hb.InputError, match=f"odd one under {notation}: "):
        hb.evaluate(model, x, y, hb.threat(notation), suite=rows, out=tmp_path / "r",
                    progress=calls.append)  # fmt: skip
    assert not (tmp_path / "r").exists()
    assert not calls
