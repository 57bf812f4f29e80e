"""The training loop against a plain loop, closed forms and properties."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.data import load_data
from hauberk.engine.victim import Victim
from hauberk.errors import InputError, TrainingError
from hauberk.models import MLP
from hauberk.threats.base import Box
from hauberk.train.augment import Augmentation
from hauberk.train.config import Settings
from hauberk.train.loader import Loader
from hauberk.train.run import Run
from hauberk.train.schedule import Rates
from hauberk.train.strategy import Loss, Strategy, cross_entropy
from hauberk.train.trainer import fit

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Clean(Strategy):
    def loss(self, batch, memory):
        return cross_entropy(batch, batch.x, seen=torch.tensor(float(len(batch.x))))


@dataclass(frozen=True, kw_only=True)
class Attacked(Strategy):
    threat: hb.Linf = hb.Linf(0.05)  # noqa: RUF009  # frozen

    @property
    def threats(self):
        return (self.threat,)

    def loss(self, batch, memory):
        return cross_entropy(batch, batch.attack(PGD(steps=3), self.threat).points)


def blobs(n=50, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.2, 0.2, 0.8], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2]])
    x = (centres[y] + 0.08 * torch.randn(n, 3, generator=generator)).clamp(0, 1)
    return x.to(dtype), y


def net(*sizes):
    torch.manual_seed(0)
    return MLP(sizes or (3, 16, 3))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def loader(x, y, minibatch, seed=0):
    return Loader(x, y, minibatch, Augmentation(), Box(), seed, CPU)


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


@pytest.mark.parametrize(
    ("schedule", "step", "rate"),
    [
        (None, 7, 0.5),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 9, 1e-3 / 6),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 59, 1e-3),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 104, 5e-4),
        ([(0, 0.0), (6, 1e-3), (15, 0.0)], 200, 0.0),
        ([(2, 0.3), (3, 0.1)], 0, 0.3),
        (("steps", [(40, 0.1), (60, 0.2)]), 39, 0.5),
        (("steps", [(40, 0.1), (60, 0.2)]), 40, 0.05),
        (("steps", [(40, 0.1), (60, 0.2)]), 60, 0.01),
        (("epochs", [(4, 0.1)]), 39, 0.5),
        (("epochs", [(4, 0.1)]), 40, 0.05),
    ],
)
def test_rates_of_schedules(schedule, step, rate):
    assert Rates.of(schedule, 0.5).at(step, 10) == pytest.approx(rate)


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


def test_every_epoch_deals_out_all_examples_in_an_order_of_its_own():
    x, y = blobs()
    one, other = loader(x, y, 16), loader(x, y, 7)
    orders = []
    for epoch in range(2):
        dealt = torch.cat([one.rows(epoch, i) for i in range(one.steps)])
        assert torch.equal(dealt.sort().values, torch.arange(50))
        assert torch.equal(dealt, torch.cat([other.rows(epoch, i) for i in range(other.steps)]))
        orders.append(dealt)
    assert not torch.equal(*orders)
    assert not torch.equal(orders[0][:16], loader(x, y, 16, seed=1).rows(0, 0))


def test_augmentation_is_a_window_perhaps_mirrored_and_hangs_on_the_example_alone():
    x = torch.rand(40, 2, 5, 6, generator=torch.Generator().manual_seed(1)) + 0.5
    ids = torch.arange(40)
    vary = Augmentation.of(("pad-crop:1", "flip"))
    box = Box(0.5, 1.5)
    found = vary(x, ids, 0, 3, box)
    padded = F.pad(x, (1, 1, 1, 1)).clamp(0.5, 1.5)
    kinds = set()
    for image, wide in zip(found, padded, strict=True):
        windows = {
            (i, j, m): wide[:, i : i + 5, j : j + 6].flip(2) if m else wide[:, i : i + 5, j : j + 6]
            for i in range(3) for j in range(3) for m in (False, True)
        }  # fmt: skip
        match = [kind for kind, window in windows.items() if torch.equal(image, window)]
        assert match
        kinds.update(match)
    assert len(kinds) > 9
    some = torch.tensor([31, 4])
    assert torch.equal(vary(x[some], some, 0, 3, box), found[some])
    assert not torch.equal(vary(x, ids, 0, 4, box), found)


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
    run = Run(
        net(), data, Breaks(), Settings(epochs=3, minibatch=16), validation=2, box=Box(),
        device=None, devices=1, nodes=1, compile=False, channels_last=False,
    )  # fmt: skip
    run.look_every = look_every
    run.open(tmp_path, False, 5.0, None)
    with pytest.raises(TrainingError, match=r"nan at step 7 \(epoch 3, examples") as caught:
        run()
    run.close()
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


def test_inputs_of_other_kinds():
    x, y = blobs(dtype=torch.float64)
    model = net(3, 8, 2).double()
    found = fit(
        model, (4 * x - 2, y % 2), Attacked(), epochs=1, minibatch=200,
        validation=(x[:5], y[:5] % 2), box=(-2, 2),
    )  # fmt: skip
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert set(found.history[0]) >= {"valid_clean", "valid_linf:0.05", "valid_union"}
    fit(net(), (x[:1].float(), y[:1]), Clean(), epochs=2)
    fit(net().double(), (x.float(), y), Attacked(), epochs=1)


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


def frozen():
    return net().requires_grad_(False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimiser": "adamax"}, "unknown optimiser"),
        ({"optimiser": lambda p: 3}, "returned a int"),
        ({"schedule": [(0, 0.1), (3, 0.2), (3, 0.1)]}, "not increasing"),
        ({"schedule": [(0, -0.1)]}, "0 or more"),
        ({"schedule": ("rounds", [(0, 0.1)])}, "unknown schedule"),
        ({"schedule": [1, 2, 3]}, "no pairs"),
        ({"epochs": 0}, "epochs is 0"),
        ({"minibatch": 0}, "minibatch is 0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"augment": ("flop",)}, "unknown augmentation"),
        ({"augment": ("flip",)}, "augment needs images"),
        ({"validation": 50}, "validation is 50"),
        ({"patience": 2}, "patience needs validation"),
        ({"select": "best"}, "unknown select"),
        ({"precision": "16"}, "unknown precision"),
        ({"box": (0, 0.5)}, "the box"),
        ({"resume": True}, "resume needs"),
        ({"devices": 2}, "torchrun"),
        ({"device": "tpu:0"}, "unknown device"),
        ({"device": "cuda:99"}, "no device"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(change, says):
    x, y = blobs()
    with pytest.raises(InputError, match=says):
        fit(net(), (x, y), Clean(), **{"epochs": 1, **change})


@pytest.mark.parametrize(
    ("model", "data", "strategy", "says"),
    [
        (frozen(), blobs(), Clean(), "nothing to train"),
        (net(), (blobs()[0], blobs()[1] + 1), Clean(), "labels reach 3"),
        (net(), (blobs()[0], blobs()[1] - 1), Clean(), "negative"),
        (net(), (torch.empty(0, 3), torch.empty(0, dtype=torch.int64)), Clean(), "no examples"),
        (net(), blobs(), Attacked(threat=hb.Linf(0.1) | hb.L2(1)), "is a union"),
        (net().half(), blobs(), Clean(), "float32"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(model, data, strategy, says):
    with pytest.raises(InputError, match=says):
        fit(model, data, strategy, epochs=1)
