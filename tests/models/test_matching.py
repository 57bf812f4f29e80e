"""Where weights go: prefixes on either side, several sets in a file, spare names, sizes."""

import pytest
import torch
from helpers.oracles import same_state
from helpers.weights import refused, save, small
from torch import nn

from hauberk.models import MLP, ResNet20A, load_weights
from hauberk.models.matching import Misfit, resized


class Scale(nn.Module):
    """Normalises, with a mean and std in its state dict."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.25]))
        self.register_buffer("std", torch.tensor([0.5]))

    def forward(self, x):
        return (x - self.mean) / self.std


def wrapped():
    return nn.Sequential(Scale(), small())


class Named(nn.Module):
    def __init__(self, name, part):
        super().__init__()
        setattr(self, name, part)


def renamed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


PREFIXES = ["", "module.", "model.", "net.", "backbone.", "_orig_mod.", "1.", "module.net.1."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("outer", ["", "net", "encoder", "module", "7"])
def test_prefixes_come_off_on_either_side(tmp_path, prefix, outer):
    source = small()
    torch.save({"state_dict": renamed(source.state_dict(), prefix)}, tmp_path / "w.pth.tar")
    part = small()
    model = part if not outer else Named(outer, part)
    assert load_weights(model, tmp_path / "w.pth.tar") is model
    assert same_state(part, source)


def test_weights_of_the_bare_net_in_one_that_normalises(tmp_path, caplog):
    source, model = small(), wrapped()
    save(source.state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level("INFO", "hauberk"):
        load_weights(model, tmp_path / "w.safetensors")
    assert same_state(model[1], source)
    assert model[0].mean.item() == 0.25
    assert "0.mean, 0.std are the model's own" in caplog.text


def test_a_files_own_mean_and_std_are_not_left_out_silently(tmp_path):
    save(wrapped().state_dict(), tmp_path / "w.pt")
    message = refused(small(), tmp_path / "w.pt")
    assert "2 unexpected: 0.mean, 0.std" in message
    assert "ignore_keys='0.*'" in message
    load_weights(small(), tmp_path / "w.pt", ignore_keys=["0.*"])


def test_statistics_are_no_constants(tmp_path):
    state = ResNet20A().state_dict()
    del state["bn1.running_mean"]
    save(state, tmp_path / "w.pt")
    assert "1 missing: bn1.running_mean" in refused(ResNet20A(), tmp_path / "w.pt")


def test_a_learnt_mean_is_no_constant(tmp_path):
    model = Named("net", small())
    model.mean = nn.Parameter(torch.zeros(1))
    save(small().state_dict(), tmp_path / "w.pt")
    assert "missing: mean" in refused(model, tmp_path / "w.pt")


def test_wrappers_in_the_middle_are_nothing(tmp_path):
    source, model = Named("net", small()), Named("net", small())
    state = {k.replace("net.", "net._orig_mod."): v for k, v in source.state_dict().items()}
    save(renamed(state, "module."), tmp_path / "w.pt")
    assert same_state(load_weights(model, tmp_path / "w.pt"), source)
    save(source.state_dict(), tmp_path / "bare.pt")
    compiled = Named("net", Named("_orig_mod", small()))
    assert same_state(load_weights(compiled, tmp_path / "bare.pt").net._orig_mod, source.net)


def test_the_weights_go_where_their_names_say(tmp_path):
    two = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    save(renamed(two.state_dict(), "net."), tmp_path / "w.pt")
    other = Named("body", nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    assert same_state(load_weights(other, tmp_path / "w.pt").body, two)
    single = nn.Sequential(nn.Identity(), nn.Linear(3, 3))
    save({"0.weight": torch.eye(3), "0.bias": torch.ones(3)}, tmp_path / "one.pt")
    assert load_weights(single, tmp_path / "one.pt")[1].bias.tolist() == [1, 1, 1]


def test_one_of_several_sets(tmp_path):
    a, b = small(), small()
    torch.save({"model": a.state_dict(), "ema": {"net": b.state_dict()}}, tmp_path / "w.pt")
    message = refused(small(), tmp_path / "w.pt")
    assert "w.pt:ema.net" in message
    assert same_state(load_weights(small(), f"{tmp_path}/w.pt:model"), a)
    assert same_state(load_weights(small(), f"{tmp_path}/w.pt:ema.net"), b)
    assert same_state(load_weights(small(), f"{tmp_path}/w.pt:net"), b)
    assert "it has model, ema.net" in refused(small(), f"{tmp_path}/w.pt:emma")


def test_one_of_several_networks_in_one_state_dict(tmp_path):
    teacher, student = small(), small()
    state = renamed(teacher.state_dict(), "teacher.") | renamed(student.state_dict(), "student.")
    torch.save({"state_dict": state | {"loss.weight": torch.ones(2)}}, tmp_path / "w.ckpt")
    assert "5 unexpected" in refused(small(), tmp_path / "w.ckpt")
    assert same_state(load_weights(small(), f"{tmp_path}/w.ckpt:student"), student)
    assert same_state(load_weights(small(), f"{tmp_path}/w.ckpt:state_dict.teacher"), teacher)
    spare = ["student.*", "loss.weight"]
    assert same_state(load_weights(small(), tmp_path / "w.ckpt", ignore_keys=spare), teacher)
    message = refused(small(), f"{tmp_path}/w.ckpt:loss")
    assert "missing" in message


def test_averaged_weights(tmp_path):
    source = torch.optim.swa_utils.AveragedModel(small())
    save(source.state_dict(), tmp_path / "w.pt")
    assert same_state(load_weights(small(), tmp_path / "w.pt"), source.module)


def test_extra_state_is_loaded_and_missed(tmp_path):
    class Stateful(MLP):
        def __init__(self):
            super().__init__((4, 3, 2))
            self.scale = 1.0

        def get_extra_state(self):
            return {"scale": self.scale}

        def set_extra_state(self, state):
            self.scale = state["scale"]

    source = Stateful()
    source.scale = 3.0
    torch.save(renamed(source.state_dict(), "module."), tmp_path / "w.pt")
    assert load_weights(Stateful(), tmp_path / "w.pt").scale == 3.0
    assert "missing: _extra_state" in _without_extra(tmp_path, source, Stateful())


def _without_extra(tmp_path, source, model):
    save({k: v for k, v in source.state_dict().items() if k[0] != "_"}, tmp_path / "w.safetensors")
    return refused(model, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ([((10, 4), (7, 4)), ((10,), (7,))], {"num_classes": 7}),
        ([((10, 4), (7, 4)), ((16, 3, 3, 3), (16, 1, 3, 3))], {"num_classes": 7, "in_chans": 1}),
        ([((16, 3, 3, 3), (16, 1, 3, 3))], {"in_chans": 1}),
        ([((10, 4), (7, 4)), ((10,), (8,))], {}),
        ([((10, 4), (7, 5))], {}),
        ([((10, 4), (10, 5))], {}),
    ],
)
def test_the_sizes_that_explain_a_misfit(shapes, found):
    assert resized(Misfit(wrong=("",) * len(shapes), shapes=tuple(shapes))) == found
    assert not resized(Misfit(("a",), wrong=("",) * len(shapes), shapes=tuple(shapes)))
