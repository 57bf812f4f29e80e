"""The training loop against a plain loop, closed forms and properties."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import Attacked, Clean, blobs, loader, net, weights

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.data import load_data
from hauberk.errors import TrainingError
from hauberk.train.fit import fit
from hauberk.train.loop.trainer import Trainer
from hauberk.train.settings import Options
from hauberk.train.strategies.base import Loss, Strategy
from hauberk.victims.victim import Victim


def plain_loop(model, x, y, epochs, minibatch, rates, ema=None):
    """Momentum SGD as one would write it, in the trainer's order; weights and their average."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    order = loader(x, y, minibatch)
    average = weights(model)
    for step in range(epochs * order.steps):
        optimiser.param_groups[0]["lr"] = rates[step]
        rows = order.rows(*divmod(step, order.steps))
        optimiser.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
        average = (ema or 0) * average + (1 - (ema or 0)) * weights(model)
    return weights(model), average


def test_the_loss_falls_and_the_costs_add_up():
    digits = load_data("digits:train")
    model = net(64, 32, 10)
    found = fit(model, digits, Attacked(), epochs=3, validation=97, learning_rate=5e-3)
    losses = [record["loss"] for record in found.history]
    assert losses[0] > losses[1] > losses[2]
    assert found.model is model
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())
    n = len(digits) - 97
    # PGD with three steps: four forwards and three backwards; the loss: one of each.
    assert found.summary["forwards"] == 3 * n * 5
    assert found.summary["backwards"] == 3 * n * 4
    last = found.history[-1]
    assert last["seconds_attack"] > 0 < last["seconds_training"]
    assert last["valid_union"] == last["valid_linf:0.05"] <= last["valid_clean"]
    assert found.paths == {}


@pytest.mark.parametrize("ema", [None, 0.8])
def test_the_weights_are_those_of_a_plain_loop(ema):
    x, y = blobs()
    rates = [0.1 * min(1.0, (s + 1) / 8) for s in range(16)]
    wanted, average = plain_loop(net(), x, y, 4, 13, rates, ema)
    model = net()
    found = fit(
        model, (x, y), Clean(), epochs=4, minibatch=13, optimiser="sgd", learning_rate=0.1,
        schedule=[(0, 0.0), (2, 0.1)], weight_decay=1e-3, ema=ema,
    )  # fmt: skip
    assert torch.allclose(weights(model), average if ema else wanted, atol=1e-6)
    assert found.history[-1]["learning_rate"] == pytest.approx(0.1)
    # 13, 13, 13 and 11 examples: a log is a mean over examples, not over minibatches.
    assert found.history[0]["seen"] == pytest.approx((3 * 13 * 13 + 11 * 11) / 50)


def test_the_recorded_loss_is_the_mean_over_the_examples():
    x, y = blobs()
    model = net()
    with torch.no_grad():
        wanted = F.cross_entropy(model(x), y).item()
    found = fit(model, (x, y), Clean(), epochs=1, minibatch=16, learning_rate=0.0)
    assert found.history[0]["loss"] == pytest.approx(wanted, abs=1e-6)


def test_a_run_is_repeatable_and_leaves_the_global_generator_alone():
    x, y = blobs()
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
        state = torch.get_rng_state()
        fit(model, (x, y), Clean(), epochs=2, minibatch=16, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        found.append(weights(model))
        torch.rand(7)
    assert torch.equal(*found)


def test_clipping_bounds_the_gradient_of_a_step():
    x, y = blobs()
    moved = {}
    for clip in (None, 0.05, 100.0):
        model = net()
        before = weights(model)
        fit(
            model, (x, y), Clean(), epochs=1, minibatch=50, optimiser="sgd", learning_rate=1.0,
            momentum=0.0, clip=clip,
        )  # fmt: skip
        moved[clip] = (weights(model) - before).norm()
    assert moved[None] > 0.06
    assert moved[0.05].item() == pytest.approx(0.05, rel=1e-3)
    assert moved[100.0] == moved[None]


@dataclass(frozen=True, kw_only=True)
class Breaks(Strategy):
    at: int = 6

    def loss(self, batch, memory):
        value = F.cross_entropy(batch.model(batch.x), batch.y)
        return Loss(value * (torch.nan if batch.step == self.at else 1.0))


@pytest.mark.parametrize("look_every", [1, 20])
def test_a_loss_that_is_no_number_stops_the_run_and_names_step_and_examples(tmp_path, look_every):
    x, y = blobs()
    data = hb.data.Dataset(x, y, torch.arange(50) + 1000, "blobs")
    options = Options(epochs=3, minibatch=16, validation=2, out=tmp_path)
    trainer = Trainer(net(), data, Breaks(), options)
    trainer.nonfinite.look_every = look_every
    trainer.open()
    with pytest.raises(TrainingError, match=r"nan at step 7 \(epoch 3, examples") as caught:
        trainer.run()
    trainer.close()
    rows = loader(x[2:], y[2:], 16).rows(2, 0)
    assert list(caught.value.ids) == (rows + 1002).tolist()
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 6
    assert all(v.isfinite().all() for v in kept["model"].values())


@dataclass(frozen=True, kw_only=True)
class Steep(Strategy):
    def loss(self, batch, memory):
        return Loss(1e30 * F.cross_entropy(batch.model(batch.x), batch.y))


def test_weights_that_overflow_are_not_saved(tmp_path):
    x, y = blobs()
    with pytest.raises(TrainingError, match=r"a weight .* at step 1 "):
        fit(
            net(), (x, y), Steep(), epochs=2, minibatch=50, optimiser="sgd", learning_rate=1e38,
            out=tmp_path,
        )  # fmt: skip
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 0


@dataclass(frozen=True, kw_only=True)
class Forgets(Strategy):
    """Learns for some epochs, then unlearns."""

    until: int = 3

    def loss(self, batch, memory):
        value = F.cross_entropy(batch.model(batch.x), batch.y)
        return Loss(value if batch.epoch < self.until else -value)


@pytest.mark.parametrize("select", ["union", "clean", "last"])
def test_the_best_epoch_is_kept_and_patience_ends_the_run(select):
    x, y = blobs(80)
    found = fit(
        net(), (x, y), Forgets(), epochs=30, minibatch=10, validation=30, learning_rate=0.02,
        select=select, patience=4,
    )  # fmt: skip
    scores = [record["valid_clean"] for record in found.history]
    best = scores.index(max(scores))
    assert len(scores) == best + 5 < 30
    right = (found.model(x[:30]).argmax(1) == y[:30]).float().mean().item()
    kept = scores[-1] if select == "last" else scores[best]
    assert right == pytest.approx(kept)
    assert found.summary["selected"] == (len(scores) if select == "last" else best + 1)
    assert max(scores) > scores[-1]


class Watched(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8, momentum=None), nn.Unflatten(1, (2, 4)),
            nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return self.body(x)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_attacks_see_the_mode_asked_for_and_leave_the_statistics_alone(mode):
    x, y = blobs()
    model = Watched().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    momenta = [m.momentum for m in model.modules() if hasattr(m, "momentum")]
    victim = Victim(model)
    victim.mode = mode
    PGD(steps=2)(victim, x, y, hb.Linf(0.1))
    assert set(model.modes) == {mode == "train"}
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.momentum for m in model.modules() if hasattr(m, "momentum")] == momenta
    assert all(m.training for m in model.modules())
    model.modes.clear()
    fit(model, (x, y), Attacked(), epochs=1, minibatch=25, attack_mode=mode)
    # One look at the classes; then four passes of the attack and one of the loss, twice.
    assert model.modes == [False, *2 * [*4 * [mode == "train"], True]]


def test_an_optimiser_of_ones_own_keeps_its_rate_without_a_schedule():
    x, y = blobs()
    made = []

    def rmsprop(parameters):
        made.append(torch.optim.RMSprop(parameters, lr=0.25))
        return made[0]

    found = fit(net(), (x, y), Clean(), epochs=1, optimiser=rmsprop)
    assert found.history[0]["learning_rate"] == 0.25
    assert made[0].state


def test_progress_and_epochs_are_told():
    x, y = blobs()
    events, records = [], []
    found = fit(
        net(), (x, y), Clean(), epochs=2, minibatch=20, progress=events.append,
        on_epoch=records.append,
    )  # fmt: skip
    assert [round(e.done, 6) for e in events] == [round((i + 1) / 6, 6) for i in range(6)]
    assert [e.forwards for e in events] == [20, 40, 50, 70, 90, 100]
    assert records == found.history


def test_bfloat16_runs_attack_and_loss_in_it():
    x, y = blobs()
    dtypes = set()
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    model[0].register_forward_hook(lambda _m, _i, out: dtypes.add((model.training, out.dtype)))
    fit(model, (x, y), Attacked(), epochs=1, precision="bf16-mixed")
    half = torch.bfloat16
    assert {(True, half), (False, half)} <= dtypes
    assert {p.dtype for p in model.parameters()} == {torch.float32}
