"""What the trainer refuses; its schedules, order of examples and augmentation."""

import pytest
import torch
from torch.nn import functional as F
from toys import Attacked, Clean, blobs, loader, net

import hauberk as hb
from hauberk.errors import InputError
from hauberk.threats.base import Box
from hauberk.train.fit import fit
from hauberk.train.loop.augment import Augmentation
from hauberk.train.loop.examples import split
from hauberk.train.loop.schedule import Rates


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


def test_validation_takes_the_first_examples_or_of_sorted_ones_some_of_every_class():
    x, y = torch.rand(60, 3), torch.arange(60) % 3
    train, held = split((x, y), 10, Box(), net())
    assert torch.equal(held.ids, torch.arange(10))
    assert torch.equal(train.ids, torch.arange(10, 60))
    train, held = split((x, y.sort().values), 10, Box(), net())
    assert held.y.bincount().tolist() == [3, 4, 3]
    assert torch.equal(torch.cat([train.ids, held.ids]).sort().values, torch.arange(60))
    grouped = torch.tensor([2, 0, 1])[y.sort().values]
    assert split((x, grouped), 10, Box(), net())[1].y.bincount().tolist() == [4, 3, 3]
    assert not len(split((x, y.sort().values), 0, Box(), net())[1])
