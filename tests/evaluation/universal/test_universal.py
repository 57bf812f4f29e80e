"""One perturbation for all images: what it reaches, and that it is a run like others."""

import json

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, PGD, SparseL1Descent
from hauberk.evaluation.universal.stream import capped_margin, shuffled
from hauberk.objectives.minmax import Fixed


class Sum(nn.Module):
    """Decides for class 1 where the features sum to more than 2."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, dtype=torch.float64))

    def forward(self, x):
        total = x.flatten(1) @ self.weight - 2
        return torch.stack([-total, total], 1)


def data(n=30, low=0.3, high=0.45):
    rng = torch.Generator().manual_seed(1)
    x = low + (high - low) * torch.rand(n, 1, 2, 2, generator=rng, dtype=torch.float64)
    return x, torch.zeros(n, dtype=torch.int64)


def test_a_linear_model_falls_to_the_corner_of_the_ball():
    x, y = data()
    found = hb.universal(Sum(), x, y, "linf:0.2", epochs=3, minibatch=10)
    torch.testing.assert_close(found.delta, torch.full((1, 2, 2), 0.2).double(), atol=1e-7, rtol=0)
    assert float(found.delta.abs().max()) <= 0.2
    assert found.summary["accuracy"] == 0.0
    assert found.summary["changed"] == 1.0
    assert len(found.losses) == 9
    assert (found.forwards, found.backwards) == (90, 90)
    tested = found.test(Sum(), *data(7))
    assert (tested.clean, tested.accuracy, tested.changed) == (1.0, 0.0, 1.0)
    assert tested.wrong.all()


def test_a_small_ball_breaks_what_it_can():
    x, y = data(40, 0.3, 0.49)
    found = hb.universal(Sum(), x, y, "linf:0.05", epochs=4, minibatch=10)
    broken = x.flatten(1).sum(1) + 4 * 0.05 >= 2
    assert found.summary["accuracy"] == pytest.approx(1 - float(broken.double().mean()))
    assert found.summary["interval"][0] < found.summary["accuracy"] < found.summary["interval"][1]
    assert torch.equal(found.test(Sum(), x, y).wrong, broken)
    assert "linf:0.05" in found.table()
    assert str(found) == found.table()


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
    "min-max": {"objective": hb.MinMax([Sum(), Sum()])},
}


@pytest.mark.parametrize("given", ATTACKS.values(), ids=ATTACKS)
def test_an_interrupted_stream_loses_nothing(given, tmp_path):
    given = given | {"epochs": 3, "minibatch": 4, "block": 9, "seed": 4}  # two steps a part
    whole = hb.universal(Sum(), *data(), "linf:0.1", **given)
    for when in (0, 1, 2, 5, 13, 23, 25):  # 24 steps, then 4 blocks
        out = tmp_path / str(when)
        interrupted(Sum(), given, when, out=out)
        kept = {file.name: file.read_bytes() for file in (out / "parts").glob("stream-*")}
        assert len(kept) == 2 * min(12, when // 2)
        found = hb.universal(Sum(), *data(), "linf:0.1", out=out, resume=True, **given)
        assert kept.items() <= {f.name: f.read_bytes() for f in (out / "parts").glob("*")}.items()
        assert torch.equal(found.delta, whole.delta)
        assert found.losses == whole.losses
        assert (found.forwards, found.backwards) == (whole.forwards, whole.backwards)
        assert found.summary["accuracy"] == whole.summary["accuracy"]
        assert hb.verify(out, Sum(), objects=given).ok


def test_only_steps_that_are_missing_are_made_again(tmp_path):
    given = {"epochs": 3, "minibatch": 10, "block": 10, "out": tmp_path / "r"}
    interrupted(Sum(), given, 5)
    seen = []
    hb.universal(Sum(), *data(), "linf:0.1", resume=True, progress=seen.append, **given)
    resumed = [event for event in seen if event.doing == "resumed"]
    assert len(resumed) == 5
    assert not any(event.forwards - resumed[0].forwards for event in resumed)
    assert seen[-1].done == pytest.approx(1.0)


def test_a_finished_perturbation_is_not_made_again(tmp_path):
    x, y = data()
    options = {"epochs": 2, "minibatch": 10, "out": tmp_path / "r", "block": 7, "seed": 4}
    interrupted(Sum(), options, 7)
    found = hb.universal(Sum(), x, y, "linf:0.1", resume=True, **options)
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary == found.summary
    other = Sum()
    nn.init.constant_(other.weight, 1.5)
    with pytest.raises(hb.InputError, match=r"models\.model\.weights"):
        hb.universal(other, x, y, "linf:0.1", resume=True, **options)
    with pytest.raises(hb.InputError, match="minibatch"):
        hb.universal(Sum(), x, y, "linf:0.1", resume=True, **options | {"minibatch": 9})


def test_progress_rises_to_one():
    seen = []
    hb.universal(Sum(), *data(), "linf:0.1", epochs=2, minibatch=10, progress=seen.append)
    assert [e.done for e in seen] == sorted(e.done for e in seen)
    assert seen[-1].done == pytest.approx(1.0)
    assert "loss" in seen[0].doing
    assert seen[-1].forwards >= 60


def test_several_models_at_once():
    x, y = data()
    turned = Sum()
    nn.init.constant_(turned.weight, 0.9)
    found = hb.universal(
        Sum(), x, y, "linf:0.3", epochs=3, minibatch=10, objective=hb.MinMax([Sum(), turned])
    )
    assert found.test(turned, x, y).accuracy == 0.0


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
        hb.universal(Sum(), *data(), threat, **given)


def test_another_shape_is_refused():
    found = hb.universal(Sum(), *data(), "linf:0.1", epochs=1)
    with pytest.raises(hb.InputError, match="its own shape"):
        found.test(Sum(), torch.rand(2, 4).double(), torch.zeros(2, dtype=torch.int64))


def test_orders_are_permutations_of_their_own():
    first, second = shuffled(20, 0, 0), shuffled(20, 0, 1)
    assert sorted(first.tolist()) == [*range(20)]
    assert not torch.equal(first, second)
    assert torch.equal(first, shuffled(20, 0, 0))
    assert capped_margin(torch.tensor([[0.0, 99.0]]), torch.tensor([0])).item() == 10.0
