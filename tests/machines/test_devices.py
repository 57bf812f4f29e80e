"""Which device a name stands for."""

import pytest
import torch
from torch import nn

from hauberk.errors import InputError
from hauberk.machines import devices
from hauberk.machines.devices import device_named, fastest, placed, require_device


@pytest.fixture
def machine(monkeypatch):
    """Makes this machine look as if it had other devices; those in ``dead`` fail in float64."""

    def look(cuda=0, mps=False, dead=()):
        def ones(*shape, device, dtype):
            if device in dead:
                raise TypeError("no float64")
            return torch.zeros(*shape, dtype=dtype)

        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(devices.torch, "ones", ones)

    return look


def test_auto_is_cuda_then_mps_then_the_cpu(machine):
    for there, name in (
        ({"cuda": 2, "mps": True}, "cuda"),
        ({"mps": True}, "mps"),
        ({}, "cpu"),
        ({"cuda": 1, "dead": ("cuda",)}, "cpu"),  # it is there, and cannot compute
        ({"mps": True, "dead": ("mps",)}, "cpu"),
        ({"cuda": 1, "mps": True, "dead": ("cuda",)}, "mps"),
    ):
        machine(**there)
        assert fastest() == name, there
    machine(cuda=2)
    assert [fastest(processes) for processes in (1, 2, 3)] == ["cuda", "cuda", "cpu"]


def test_a_gpu_that_was_chosen_is_printed_and_the_cpu_is_not(machine, caplog):
    with caplog.at_level("INFO", logger="hauberk"):
        machine()
        assert device_named("auto") == "cpu"
        assert caplog.records == []
        machine(cuda=1)
        assert device_named("auto") == "cuda"
        assert device_named("cuda:0") == "cuda:0"
        assert device_named("cpu") == "cpu"
        assert device_named(None) is None
    assert [r.getMessage() for r in caplog.records] == ["device cuda (--device cpu for the CPU)"]


@pytest.mark.parametrize(
    ("rank", "gpus", "name"), [(1, 2, "cuda:1"), (3, 2, "cuda:1"), (0, 1, "cuda:0")]
)
def test_processes_take_a_gpu_each_in_turn(machine, monkeypatch, rank, gpus, name):
    machine(cuda=gpus)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert device_named("auto") == name
    assert device_named("cuda") == name
    assert device_named("cuda:7") == "cuda:7"  # what is asked for wins


def test_what_is_no_device_is_refused(machine):
    for name in ("auto", "cpu", "cuda:3", "mps"):
        require_device(name)
    with pytest.raises(InputError, match="unknown device 'warp': give auto, cpu"):
        require_device("warp")
    with pytest.raises(InputError, match=r"device mps has no float64.*--device cpu"):
        device_named("mps")


class Elsewhere(nn.Linear):
    """A model that notes where it is moved."""

    moved = None

    def to(self, device):
        self.moved = device
        if device == "cuda:9":
            raise RuntimeError("no such device\nand more")
        return self


def test_a_model_goes_where_it_is_asked_to(machine):
    machine(cuda=1)
    assert placed(Elsewhere(2, 2), "auto").moved == "cuda"
    assert placed(Elsewhere(2, 2), "cpu").moved == "cpu"
    assert placed(Elsewhere(2, 2), None).moved is None
    at_home = Elsewhere(2, 2, device="meta")  # on a device of its own choice
    assert placed(at_home, "auto").moved is None
    assert placed(at_home, "cpu").moved == "cpu"
    with pytest.raises(InputError, match=r"device 'cuda:9' cannot be used: no such device$"):
        placed(Elsewhere(2, 2), "cuda:9")
