"""How attacks see a model in training."""

import pytest
import torch
from helpers.training import Attacked, blobs
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.train.fit import fit
from hauberk.victims.victim import Victim


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
def test_attacks_see_the_mode_asked_for_and_keep_statistics(mode):
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


def test_bfloat16_runs_attack_and_loss_in_it():
    x, y = blobs()
    dtypes = set()
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    model[0].register_forward_hook(lambda _m, _i, out: dtypes.add((model.training, out.dtype)))
    fit(model, (x, y), Attacked(), epochs=1, precision="bf16-mixed")
    half = torch.bfloat16
    assert {(True, half), (False, half)} <= dtypes
    assert {p.dtype for p in model.parameters()} == {torch.float32}
