"""Arrays that threats name: recorded with a run, which is resumed and verified by them alone."""

import json

import numpy as np
import pytest
import torch
from tests.helpers.accuracy import SHORT, net
from tests.helpers.oracles import refusal

import hauberk as hb
from hauberk.evaluation.core.given import arrays_in, held_by
from hauberk.store.ledger import Ledger

MASK = np.array([True, False, True, True, False, True])


@pytest.fixture
def model():
    return net(features=6)


@pytest.fixture
def inputs(model):
    x = torch.rand(20, 6, generator=torch.manual_seed(3))
    return x, model(x).argmax(1)


def test_arrays_of_threats_in_any_place():
    ball = hb.Linf(0.1, fixed="0;2", mask="1")
    names = [array.name for array in arrays_in({"a": [ball | hb.L2(1), hb.Shared(ball)]})]
    assert names == ["1", "0;2", "1", "0;2"]


def test_a_run_is_verified_and_loaded_without_the_files(model, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", MASK)
    own = torch.rand(20, 6, generator=torch.manual_seed(5)) > 0.3  # a mask for each example
    threats = ["linf:0.1,mask=mask.npy", hb.L2(0.3, mask=own)]
    run = hb.evaluate(model, *inputs, threats, suite=SHORT, out="run", block=6)
    assert 0 < run.union_accuracy < 1
    ids, points = run.points(threats[0])
    moved = (points != inputs[0][ids]).any(0)
    assert torch.equal(moved, torch.from_numpy(MASK))
    ids, points = run.points(str(threats[1]))
    assert len(ids)
    assert not ((points != inputs[0][ids]) & ~own[ids]).any()
    alone = hb.evaluate(model, *inputs, threats, suite=SHORT, block=20)
    assert torch.equal(alone.robust(), run.robust())
    (tmp_path / "mask.npy").unlink()
    assert hb.verify("run", model).ok
    assert hb.load("run").accuracy == run.accuracy
    radii = hb.radius(model, *inputs, hb.Metric(2, threats[1].fit), budget=200, out="radii")
    assert not ((radii.points != inputs[0]) & ~own).any()
    apart = hb.radius(model, *inputs, hb.Metric(2, threats[1].fit), budget=200, block=6)
    assert apart.found.all()
    torch.testing.assert_close(apart.distance, radii.distance, rtol=1e-3, atol=0)
    assert hb.verify("radii", model).ok
    (beside,) = (tmp_path / "run" / "arrays").glob(f"{_digests('run')['mask.npy']}*")
    np.save(beside, ~MASK)
    assert "not what the run was made with" in refusal(hb.verify, "run", model)


def _digests(run):
    with open(f"{run}/manifest.json", encoding="utf-8") as file:
        return json.load(file)["arrays"]


def test_another_file_is_refused_when_a_run_is_resumed(model, inputs, tmp_path):
    file = tmp_path / "mask.npy"
    np.save(file, MASK)
    ask = {"suite": SHORT, "out": tmp_path / "run"}
    first = hb.evaluate(model, *inputs, f"linf:0.1,mask={file}", **ask)
    again = hb.evaluate(model, *inputs, f"linf:0.1,mask={file}", **ask, resume=True)
    assert again.accuracy == first.accuracy
    assert list(held_by(Ledger.open(tmp_path / "run"))) == [str(file)]
    np.save(file, ~MASK)
    with pytest.raises(hb.InputError, match=r"mask\.npy"):
        hb.evaluate(model, *inputs, f"linf:0.1,mask={file}", **ask, resume=True)


def test_rows_for_other_examples_are_refused(model, inputs):
    x, y = inputs
    own = hb.Linf(0.1, mask=torch.ones(20, 6))
    for some in (slice(0, 12), slice(5, 12)):  # whose rows would these be?
        for ask in (hb.evaluate, hb.radius):
            threat = own if ask is hb.evaluate else hb.Metric.of(own)
            with pytest.raises(hb.InputError, match="rows for 20 examples but the run has"):
                ask(model, x[some], y[some], threat)


def test_a_run_with_no_arrays_says_nothing_of_them(model, inputs, tmp_path):
    hb.evaluate(model, *inputs, "linf:0.2", suite=SHORT, out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert "arrays" not in manifest
    assert not (tmp_path / "run" / "arrays").exists()


def test_the_floor_and_trials_of_time_take_rows_of_their_own(model, inputs):
    own = torch.rand(20, 6, generator=torch.manual_seed(5)) > 0.3
    run = hb.evaluate(model, *inputs, hb.L1(0.3, mask=own), suite=SHORT, floor=3)
    ids, points = run.points(str(hb.L1(0.3, mask=own)))
    assert not ((points != inputs[0][ids]) & ~own[ids]).any()
    assert run.summary["floor"]["drawn"] == 3
