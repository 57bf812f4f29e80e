"""A stream that is interrupted goes on; what it refuses."""

import json

import pytest
import torch
from helpers.universal import data, summing

import hauberk as hb
from hauberk.attacks import APGD, PGD, SparseL1Descent
from hauberk.objectives.minmax import Fixed


def interrupted(model, given, when, **options):
    """A run that is stopped at one of its reports, counted from 0."""
    reports = []

    def stop(event):
        reports.append(event)
        if len(reports) > when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hb.universal(model, *data(), "linf:0.1", progress=stop, **given, **options)


ATTACKS = {
    "momentum": {},
    "sparse": {"attack": SparseL1Descent(steps=9)},
    "min-max": {"objective": hb.MinMax([summing(), summing()])},
}


@pytest.mark.parametrize("given", ATTACKS.values(), ids=ATTACKS)
def test_an_interrupted_stream_loses_nothing(given, tmp_path):
    given = given | {"epochs": 3, "minibatch": 4, "block": 9, "seed": 4}  # two steps a part
    whole = hb.universal(summing(), *data(), "linf:0.1", **given)
    for when in (0, 1, 2, 5, 13, 23, 25):  # 24 steps, then 4 blocks
        out = tmp_path / str(when)
        interrupted(summing(), given, when, out=out)
        kept = {file.name: file.read_bytes() for file in (out / "parts").glob("stream-*")}
        assert len(kept) == 2 * min(12, when // 2)
        found = hb.universal(summing(), *data(), "linf:0.1", out=out, resume=True, **given)
        assert kept.items() <= {f.name: f.read_bytes() for f in (out / "parts").glob("*")}.items()
        assert torch.equal(found.delta, whole.delta)
        assert found.losses == whole.losses
        assert (found.forwards, found.backwards) == (whole.forwards, whole.backwards)
        assert found.summary["accuracy"] == whole.summary["accuracy"]
        assert hb.verify(out, summing(), objects=given).ok


def test_only_steps_that_are_missing_are_made_again(tmp_path):
    given = {"epochs": 3, "minibatch": 10, "block": 10, "out": tmp_path / "r"}
    interrupted(summing(), given, 5)
    seen = []
    hb.universal(summing(), *data(), "linf:0.1", resume=True, progress=seen.append, **given)
    resumed = [event for event in seen if event.doing == "resumed"]
    assert len(resumed) == 5
    assert not any(event.forwards - resumed[0].forwards for event in resumed)
    assert seen[-1].done == pytest.approx(1.0)


def test_a_finished_perturbation_is_not_made_again(tmp_path):
    x, y = data()
    options = {"epochs": 2, "minibatch": 10, "out": tmp_path / "r", "block": 7, "seed": 4}
    interrupted(summing(), options, 7)
    found = hb.universal(summing(), x, y, "linf:0.1", resume=True, **options)
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary == found.summary
    other = summing(1.5)
    with pytest.raises(hb.InputError, match="the weights of model 'model'"):
        hb.universal(other, x, y, "linf:0.1", resume=True, **options)
    with pytest.raises(hb.InputError, match="minibatch"):
        hb.universal(summing(), x, y, "linf:0.1", resume=True, **options | {"minibatch": 9})


def test_progress_rises_to_one():
    seen = []
    hb.universal(summing(), *data(), "linf:0.1", epochs=2, minibatch=10, progress=seen.append)
    assert [e.done for e in seen] == sorted(e.done for e in seen)
    assert seen[-1].done == pytest.approx(1.0)
    assert "loss" in seen[0].doing
    assert seen[-1].forwards >= 60


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threat": "rt:10,1"}, "lp ball"),
        ({"epochs": 0}, "epochs is 0"),
        ({"minibatch": 0}, "minibatch is 0"),
        ({"attack": APGD()}, "PGD or a relative"),
        ({"attack": PGD(targets=1)}, "without targets"),
        ({"objective": Fixed(weights=(1.0,))}, "not Fixed weights"),
        ({"resume": True}, "give out="),
    ],
)
def test_bad_input_is_one_sentence(given, message):
    threat = given.pop("threat", "linf:0.1") if "threat" in given else "linf:0.1"
    with pytest.raises(hb.InputError, match=message):
        hb.universal(summing(), *data(), threat, **given)
