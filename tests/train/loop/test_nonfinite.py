"""What the trainer watches over: finite weights, passes, single examples, kinds and losses."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import blobs, net

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.errors import InputError, TrainingError
from hauberk.threats.base import Box
from hauberk.train import AVG, MMA, OMMA, Loss, Single, Standard, Strategy, fit
from hauberk.train.loop.loader import minibatches
from hauberk.train.loop.processes import Processes
from hauberk.train.loop.validation import ValidationSet
from hauberk.train.strategies.base import Batch
from hauberk.victims.victim import Victim


def normalised():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@dataclass(frozen=True, kw_only=True)
class Own(Strategy):
    """Returns what a function makes of the batch, and tells no passes."""

    make: object = None

    def loss(self, batch, memory):
        return self.make(batch)

    def describe(self):
        return {"strategy": "Own"}


def own(make):
    return Own(make=make)


def clean(batch):
    return F.cross_entropy(batch.model(batch.x), batch.y)


@dataclass(frozen=True, kw_only=True)
class BreaksLast(Strategy):
    """The gradient of its last step overflows, while the loss is finite."""

    at: int = 5

    def loss(self, batch, memory):
        value = clean(batch)
        return Loss(value * 1e30 if batch.step == self.at else value)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("folder", [False, True])
def test_weights_broken_by_the_last_step_never_get_out(tmp_path, folder, ema):
    x, y = blobs()
    out = tmp_path / "run" if folder else None
    steps, records = [], []
    with pytest.raises(TrainingError, match=r"a weight .* at step 6 \(epoch 2"):
        fit(
            net(), (x, y), BreaksLast(), epochs=2, minibatch=14, validation=10, out=out, ema=ema,
            optimiser="sgd", learning_rate=0.1, momentum=0.0, progress=steps.append,
            schedule=("steps", [(5, 1e38)]), on_epoch=records.append,
        )  # fmt: skip
    assert [r["epoch"] for r in records] == [1]
    assert max(s.done for s in steps) < 1
    if out is not None:
        from safetensors.torch import load_file

        for name in ("best", "last"):
            weights = load_file(out / f"{name}.safetensors")
            assert all(v.isfinite().all() for v in weights.values())
        assert len((out / "history.csv").read_text().splitlines()) == 2
        assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 3
        assert not (out / "summary.json").exists()


def test_buffers_may_be_infinite_for_good_and_weights_may_not():
    model = net()
    model.register_buffer("mask", torch.full((3,), -torch.inf))
    fit(model, blobs(), Standard(), epochs=1)
    with torch.no_grad():
        next(model.parameters())[0, 0] = torch.nan
    with pytest.raises(InputError, match="start from finite weights"):
        fit(model, blobs(), Standard(), epochs=1)


@pytest.mark.parametrize("told", [0, 1])
def test_passes_of_ones_own_strategy_are_counted_once(told):
    def loss(batch):
        points = batch.attack(PGD(steps=3), hb.Linf(0.05)).points
        with torch.no_grad():
            batch.model(batch.x)
        value = clean(batch) + F.cross_entropy(batch.model(points), batch.y)
        n = told * len(batch.x)
        return Loss(value, forwards=3 * n, backwards=2 * n)

    found = fit(net(), blobs(), own(loss), epochs=2, minibatch=20)
    # The attack: four forwards and three backwards. Then three forwards, two with the gradient on.
    assert found.summary["forwards"] == 2 * 50 * (4 + 3)
    assert found.summary["backwards"] == 2 * 50 * (3 + 2)


def test_a_single_example_left_over_joins_the_minibatch_before():
    sizes = []

    def loss(batch):
        sizes.append(len(batch.x))
        return Loss(clean(batch))

    x, y = blobs(31)
    fit(normalised(), (x, y), own(loss), epochs=2, minibatch=10)
    assert sizes == [10, 10, 11] * 2
    for n in range(1, 40):
        for size in range(1, 12):
            many = minibatches(n, size)
            left = n - (many - 1) * size
            assert 1 <= left <= size + 1
            assert left > 1 or n == 1 or size == 1


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_no_share_of_a_process_is_of_one_example(world):
    for n in range(1, 30):
        shares = Processes.shares(SimpleNamespace(world=world), torch.arange(n))
        assert len(shares) == world
        assert torch.equal(torch.cat(shares), torch.arange(n))
        assert 1 not in map(len, shares) or n == 1
        assert max(map(len, shares)) == len(shares[0])


def test_one_example_in_all_is_refused_by_normalisation_in_one_line():
    x, y = blobs(1)
    with pytest.raises(TrainingError, match="given one example in train mode") as caught:
        fit(normalised(), (x, y), Standard(), epochs=1)
    assert caught.value.ids == (0,)
    fit(net(), (x, y), Standard(), epochs=1)


@pytest.mark.parametrize("strategy", [OMMA, MMA])
@pytest.mark.parametrize("wrong", [0, 1])
def test_margins_of_one_example_pass_normalisation(strategy, wrong):
    model = normalised()
    x, _ = blobs(6)
    y = model.eval()(x).argmax(1)
    y[:wrong] = (y[:wrong] + 1) % 3
    model.train()
    batch = Batch(
        model=model, victim=Victim(model), x=x, y=y, ids=torch.arange(6), step=0, epoch=0,
        progress=0.0, seed=0, box=hb.threats.Box(),
    )  # fmt: skip
    # Either the one wrong example, or the point of the least margin, would be alone.
    made = strategy(hb.L2(1e-6 if wrong else 50.0), objective="minimum", steps=5)
    loss = made.loss(batch, made.begin(6, torch.device("cpu")))
    assert loss.value.isfinite()
    assert loss.forwards >= 2
    loss.value.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_row_shown_beside_a_lone_one_counts_for_nothing():
    model = net()
    x, _ = blobs(5)
    y = model(x).argmax(1)
    y[4] = (y[4] + 1) % 3
    batch = Batch(
        model=model, victim=Victim(model), x=x, y=y, ids=torch.arange(5), step=0, epoch=0,
        progress=0.0, seed=0, box=hb.threats.Box(),
    )  # fmt: skip
    made = OMMA(hb.L2(1e-6), steps=3)
    loss = made.loss(batch, made.begin(5, torch.device("cpu")))
    torch.testing.assert_close(loss.value, F.cross_entropy(model(x[4:]), y[4:]) / 5)


def test_a_model_that_fails_on_the_data_is_told_in_one_line():
    x, y = blobs()
    with pytest.raises(InputError, match=r"fails on a batch of inputs of shape \(3,\): Runtime"):
        fit(net(7, 4, 3), (x, y), Standard(), epochs=1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": (np.zeros((4, 3)), np.zeros(4))}, "not ndarray, ndarray: use torch.as_tensor"),
        ({"data": torch.zeros(4, 3)}, "not Tensor"),
        ({"data": "digits:train"}, "not str"),
        ({"data": (torch.zeros(4, 3), torch.tensor(1))}, r"\(\) labels"),
        ({"strategy": Standard}, r"the class Standard: make one, Standard\(\.\.\.\)"),
        ({"strategy": "standard"}, "the strategy is 'standard'"),
        ({"strategy": hb.Linf(0.1)}, "the threat linf:0.1: say how"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"learning_rate": None}, "learning_rate is None"),
        ({"momentum": "0.9"}, "momentum is '0.9'"),
        ({"weight_decay": [1]}, "weight_decay is"),
        ({"clip": "1"}, "clip is '1'"),
        ({"ema": "0.9"}, "ema is '0.9'"),
        ({"ema": torch.zeros(3, 40)}, "ema is a Tensor"),
        ({"seed": 0.5}, "seed is 0.5: give a whole number"),
        ({"epochs": True}, "epochs is True"),
        ({"validation": 0.1}, "validation is 0.1"),
        ({"validation": True}, "validation is True"),
        ({"validation": np.zeros((40, 40))}, "validation is a ndarray"),
        ({"validation": (1, 2, 3)}, "validation must be"),
        ({"devices": "2"}, "devices is '2'"),
        ({"nodes": None}, "nodes is None"),
        ({"device": ["cpu"]}, "unknown device"),
        ({"schedule": 0.1}, "the schedule is 0.1"),
        ({"schedule": "cosine"}, "the schedule is 'cosine'"),
        ({"augment": 3}, "augment is 3"),
        ({"augment": (3,)}, "augment is"),
        ({"every_minutes": "5"}, "every_minutes is '5'"),
        ({"out": 3}, "out is a int"),
        ({"progress": 3}, "progress is a int"),
        ({"on_epoch": "print"}, "on_epoch is a str"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(change, says):
    words = {"data": blobs(), "strategy": Standard(), "epochs": 1, **change}
    with pytest.raises(InputError, match=says) as caught:
        fit(net(), words.pop("data"), words.pop("strategy"), **words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda b: clean(b), r"Own.loss must return hauberk.train.Loss\(value\), not a Tensor"),
        (lambda b: None, "not a NoneType"),
        (lambda b: Loss(clean(b).item()), "not a float: do not call"),
        (lambda b: Loss(b.model(b.x).sum(1)), r"shape \(50,\): take the mean"),
        (lambda b: Loss(clean(b).detach()), "on the graph"),
        (lambda b: Loss(clean(b), [1]), "logs of Own.loss are a list"),
        (lambda b: Loss(clean(b), {"mean": b.x}), r"'mean' as a Tensor of shape \(50, 3\)"),
        (lambda b: Loss(clean(b), {"word": "yes"}), "'word' as a str"),
        (lambda b: Loss(clean(b), {3: clean(b)}), "logs 3"),
        *[
            (lambda b, name=name: Loss(clean(b), {name: clean(b)}), f"logs '{name}', which the")
            for name in ("epoch", "step", "loss", "learning_rate", "valid_clean", "seconds_attack")
        ],
    ],
)
def test_what_is_no_loss_is_refused_saying_what_to_return(make, says):
    with pytest.raises(InputError, match=says):
        fit(net(), blobs(), own(make), epochs=1)


def test_logs_may_be_plain_numbers():
    found = fit(net(), blobs(), own(lambda b: Loss(clean(b), {"half": 0.5})), epochs=1)
    assert found.history[0]["half"] == 0.5


@pytest.mark.parametrize("select", ["union", "clean", "last"])
def test_without_threats_there_is_no_union(select):
    x, y = blobs(60, torch.float64)
    found = fit(
        net().double(), (x, y), Standard(), epochs=3, validation=20, select=select, patience=3
    )
    names = {name for name in found.summary if name.startswith("valid_")}
    assert names == {"valid_clean"}
    assert found.summary["select"] == ("last" if select == "last" else "clean")
    both = fit(net(), blobs(), Single(hb.Linf(0.05)), epochs=1, validation=20)
    assert both.summary["select"] == "union"
    assert {"valid_union", "valid_clean", "valid_linf:0.05"} <= set(both.summary)


def test_selection_by_margin_keeps_the_epoch_of_largest_mean_margin():
    # Of a linear model of two classes the margins are known: the distance to its one boundary.
    x, y = blobs(60, torch.float64)
    x, y = x[y < 2], y[y < 2]
    model = net(3, 2).double()
    found = fit(
        model, (x, y), Single(hb.L2(0.2)), epochs=6, validation=20, select="margin",
        learning_rate=0.1, minibatch=8, box=(-9, 9),
    )  # fmt: skip
    told = [record["valid_margin"] for record in found.history]
    assert found.summary["select"] == "margin"
    assert found.summary["selected"] == told.index(max(told)) + 1
    with torch.no_grad():
        first, second = model(x[:20]).T
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    slope = torch.linalg.vector_norm(linear[0].weight[0] - linear[0].weight[1])
    distance = torch.where(y[:20] == 0, first - second, second - first) / slope
    exact = (distance / 0.2).clamp(0, 1.05).mean().item()
    assert found.summary["valid_margin"] == pytest.approx(exact, abs=2e-3)


def test_the_margin_to_a_union_is_the_least():
    x, y = blobs(40)
    model = net(3, 2)
    x, y = x[y < 2], y[y < 2]
    model.requires_grad_(False)
    victim, ids = Victim(model), torch.arange(len(x))
    threats = [hb.Linf(0.05), hb.L2(0.1)]
    each = [ValidationSet(victim, x, y, ids, [t], 30, Box()).margins() for t in threats]
    both = ValidationSet(victim, x, y, ids, [hb.Union(*threats)], 30, Box()).margins()
    assert torch.equal(both, torch.minimum(*each))
    assert not both[~(model(x).argmax(1) == y)].any()


@pytest.mark.parametrize(
    ("strategy", "words", "says"),
    [
        (Standard(), {"validation": 20}, "select by clean"),
        (Single(hb.Linf(0.1)), {}, "validation="),
        (AVG(hb.Union(hb.Linf(0.1), hb.L0(1))), {"validation": 20}, "not in l0:1"),
    ],
)
def test_margins_need_lp_balls_and_examples(strategy, words, says):
    with pytest.raises(InputError, match=says):
        fit(net(), blobs(), strategy, epochs=1, select="margin", **words)
