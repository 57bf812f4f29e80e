"""Files of weights: what is read of them, and that nothing in them is executed."""

import argparse
import pathlib
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from helpers.oracles import same_state
from helpers.weights import refused, small

from hauberk.models import load_weights
from hauberk.models.files import path_and_key, read_weights


class Settings(dict):
    """A class of the user's own: not to be imported by who reads the file."""

    def __setstate__(self, state):
        raise AssertionError("code of the file was run")


class Phase:
    def __reduce__(self):
        return print, ("code of the file was run",)


EXTRAS = {
    "namespace": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("runs/x")),
    "numpy scalar": np.float64(0.93),
    "numpy integer": np.int64(7),
    "numpy array": np.arange(3),
    "own class": Settings(lr=0.1),
    "function": Phase(),
    "nested": {"callbacks": {"ModelCheckpoint": {"dirpath": pathlib.Path("x"), "best": None}}},
    "defaultdict": defaultdict(list, a=[1]),
    "a type": torch.float16,
    "set": {1, 2},
}


@pytest.mark.parametrize("name", EXTRAS)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_else_stands_in_a_checkpoint_is_no_hindrance(tmp_path, capfd, name, zipped):
    source = small()
    whole = {"state_dict": source.state_dict(), "epoch": 3, "extra": EXTRAS[name]}
    allowed = torch.serialization.get_safe_globals()
    torch.save(whole, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    assert same_state(load_weights(small(), tmp_path / "w.ckpt"), source)
    assert "code of the file" not in "".join(capfd.readouterr())
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_weights_kept_as_numpy_arrays(tmp_path):
    source = small()
    state = {name: value.numpy() for name, value in source.state_dict().items()}
    torch.save({"state_dict": state, "best": np.float32(0.5)}, tmp_path / "w.pt")
    assert same_state(load_weights(small(), tmp_path / "w.pt"), source)


def test_a_weight_that_only_code_could_make_is_refused(tmp_path, capfd):
    state = small().state_dict()
    state["layers.0.bias"] = Phase()
    torch.save(state, tmp_path / "w.pt")
    message = refused(small(), tmp_path / "w.pt")
    assert "could execute code" in message
    assert "it asks for print" in message
    assert "layers.0.bias is a OrderedDict" in message
    assert not capfd.readouterr().out


@pytest.mark.parametrize("name", ["w.pth.tar", "w.tar", "w", "w.weights", "model.best"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_of_any_ending(tmp_path, name, zipped):
    source = small()
    torch.save(source.state_dict(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert same_state(load_weights(small(), tmp_path / name), source)


def test_a_zip_of_something_else(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    (tmp_path / "w.npz").rename(tmp_path / "w.zip")
    assert "unknown suffix '.zip'" in refused(small(), tmp_path / "w.zip")


def test_the_key_behind_a_file(tmp_path):
    assert path_and_key("a/net.pt:model.ema") == (pathlib.Path("a/net.pt"), "model.ema")
    assert path_and_key("a/net.pt") == (pathlib.Path("a/net.pt"), "")
    (tmp_path / "odd:name").touch()
    assert path_and_key(tmp_path / "odd:name") == (tmp_path / "odd:name", "")
    (tmp_path / "bare").touch()
    assert path_and_key(f"{tmp_path}/bare:ema") == (tmp_path / "bare", "ema")
    assert "does not exist" in refused(small(), "none.pt:ema")


def test_a_file_says_what_nothing_was_read_of(tmp_path):
    torch.save({"a": torch.ones(1), "b": Phase(), "c": np.float64(1)}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert found.inert == ("print",)
    assert found.tree["b"] == OrderedDict()
