"""Models by name, and files of weights in every format."""

import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.oracles import same_state
from helpers.weights import refused, save, small
from torch import nn

from hauberk.models import MLP, ResNet20A, load_model, load_weights


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt", ".pth", ".ckpt", ".bin"])
def test_every_format(tmp_path, suffix):
    source, path = small(), tmp_path / f"w{suffix}"
    save(source.state_dict(), path)
    model = small().train()
    assert load_weights(model, str(path)) is model
    assert same_state(model, source)
    assert not model.training


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {"net": s}, "optimizer": {"state": {}, "param_groups": []}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"_orig_mod.module.model.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "hyper": {"lr": 0.1}},
        lambda s: {"model": s, "ema": dict(s)},
    ],
)
def test_wrappers_and_prefixes_come_off(tmp_path, wrap):
    source = small()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pt")
    assert same_state(load_weights(small(), tmp_path / "w.pt"), source)


def test_prefix_stays_where_the_model_has_it(tmp_path):
    source, model = nn.ModuleDict({"model": small()}), nn.ModuleDict({"model": small()})
    save(source.state_dict(), tmp_path / "w.safetensors")
    assert same_state(load_weights(model, tmp_path / "w.safetensors"), source)


def test_batchnorm_counters_may_be_missing(tmp_path):
    source = ResNet20A()
    state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
    save(state, tmp_path / "w.npz")
    assert same_state(load_weights(ResNet20A(), tmp_path / "w.npz"), source)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_model_keeps_its_own_dtype_and_says_so(tmp_path, caplog, dtype):
    source = small().to(dtype)
    save(source.state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level("INFO", "hauberk"):
        model = load_weights(small(), tmp_path / "w.safetensors")
    assert same_state(model, source.float())
    assert model(torch.rand(1, 4)).dtype == torch.float32
    name = str(dtype).removeprefix("torch.")
    assert f"are {name}, the model computes in float32; dtype={name}" in caplog.text


@pytest.mark.parametrize("word", ["float16", "bf16", "torch.float64", torch.float64])
def test_a_dtype_that_is_asked_for(tmp_path, caplog, word):
    source = ResNet20A()
    save(source.state_dict(), tmp_path / "w.pt")
    with caplog.at_level("INFO", "hauberk"):
        model = load_weights(ResNet20A(), tmp_path / "w.pt", dtype=word)
    wanted = {"float16": torch.float16, "bf16": torch.bfloat16}.get(word, torch.float64)
    assert {p.dtype for p in model.parameters()} == {model.mean.dtype} == {wanted}
    assert same_state(model, source.to(wanted))
    assert "dtype=" not in caplog.text


def test_another_dtype_is_refused():
    assert "give float32" in refused("hauberk.models:SmallCNN", call=partial(load_model, dtype="x"))


def test_mixed_dtypes_take_the_models_own(tmp_path):
    state = small().state_dict()
    state["layers.0.weight"] = state["layers.0.weight"].half()
    save(state, tmp_path / "w.pt")
    assert load_weights(small(), tmp_path / "w.pt").layers[0].weight.dtype == torch.float32


def test_misfit_names_keys_and_leaves_the_model(tmp_path):
    model, before = small(), small()
    before.load_state_dict(model.state_dict())
    state = {k: v.double() for k, v in MLP((4, 3, 7)).state_dict().items()}
    del state["layers.0.bias"]
    state |= {f"extra{i}": torch.zeros(1) for i in range(5)}
    save({f"module.{k}": v for k, v in state.items()}, tmp_path / "w.pt")
    message = refused(model, tmp_path / "w.pt")
    assert "do not fit MLP" in message
    assert "1 missing: layers.0.bias" in message
    assert "5 unexpected: module.extra0, module.extra1, module.extra2 and 2 more" in message
    assert "layers.1.weight has shape (7, 3), the model (2, 3)" in message
    assert same_state(model, before)


def test_wrong_type(tmp_path):
    state = small().state_dict()
    state["layers.0.weight"] = state["layers.0.weight"].to(torch.int8)
    save(state, tmp_path / "w.pt")
    assert "type torch.int8" in refused(small(), tmp_path / "w.pt")


def test_two_different_sets_that_fit_are_ambiguous(tmp_path):
    torch.save({"model": small().state_dict(), "ema": small().state_dict()}, tmp_path / "w.pt")
    message = refused(small(), tmp_path / "w.pt")
    assert "'model'" in message
    assert "'ema'" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_values_must_be_finite(tmp_path, value, suffix):
    state = small().state_dict()
    state["layers.1.bias"][0] = value
    save(state, tmp_path / f"w{suffix}")
    model = small()
    message = refused(model, tmp_path / f"w{suffix}")
    assert "NaN or infinite" in message
    assert "layers.1.bias" in message
    assert all(p.isfinite().all() for p in model.parameters())


class Evil:
    """Writes a file called `executed` when it is unpickled."""

    def __reduce__(self):
        return open, ("executed", "w")


def write_torch(path):
    torch.save({"layers.0.weight": Evil()}, path)


def write_pickle(path):
    path.write_bytes(pickle.dumps(Evil()))


def write_legacy(path):
    torch.save(Evil(), path, _use_new_zipfile_serialization=False)


def write_numpy(path):
    with path.open("wb") as file:
        np.savez(file, **{"layers.0.weight": np.array([Evil()], dtype=object)})


@pytest.mark.parametrize("write", [write_torch, write_pickle, write_legacy, write_numpy])
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".npz", ".safetensors"])
def test_malicious_pickles_do_not_execute(tmp_path, write, suffix):
    path = tmp_path / f"w{suffix}"
    write(path)
    message = refused(small(), path)
    assert not (tmp_path / "executed").exists()
    if suffix in (".pt", ".bin") and write is not write_numpy:
        assert "could execute code" in message
        assert "safetensors" in message


def test_the_malicious_pickle_is_one(tmp_path):
    write_pickle(tmp_path / "w.pt")
    pickle.loads((tmp_path / "w.pt").read_bytes()).close()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"net": net, "epoch": 3}])
def test_a_whole_pickled_module_gives_its_weights_alone(tmp_path, wrap):
    source = ResNet20A()
    source.spy = Evil()
    torch.save(wrap(source), tmp_path / "w.pt")
    assert same_state(load_weights(ResNet20A(), tmp_path / "w.pt"), source)
    assert not (tmp_path / "executed").exists()
    assert "do not fit MLP" in refused(small(), tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(small(), torch.rand(1, 4)), tmp_path / "w.pt")
    assert "TorchScript" in refused(small(), tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.97])
def test_truncated_files(tmp_path, suffix, keep):
    path = tmp_path / f"w{suffix}"
    save(MLP((40, 30, 2)).state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert str(path) in refused(MLP((40, 30, 2)), path)


def test_a_flipped_byte_in_an_npz(tmp_path):
    path = tmp_path / "w.npz"
    save(MLP((40, 30, 2)).state_dict(), path)
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(data)
    assert "no readable .npz" in refused(MLP((40, 30, 2)), path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_garbage(tmp_path, suffix):
    (tmp_path / f"w{suffix}").write_bytes(b"this is a text file, not a set of weights")
    refused(small(), tmp_path / f"w{suffix}")


def test_other_paths_and_contents(tmp_path):
    assert "does not exist" in refused(small(), tmp_path / "none.pt")
    assert "is a folder" in refused(small(), tmp_path)
    (tmp_path / "w.h5").touch()
    assert "unknown suffix '.h5'" in refused(small(), tmp_path / "w.h5")
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    assert "holds a Tensor" in refused(small(), tmp_path / "tensor.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    assert "no weights" in refused(small(), tmp_path / "none.pt")


CODE = """
import torch
from torch import nn
from hauberk.models import MLP
instance = MLP((4, 3, 2))
def factory(): return MLP((4, 3, 2))
def quits(): raise SystemExit("bye")
def needs(size): return MLP(size)
def fails(): raise ValueError("no\\nluck")
def text(): return "a model"
number = 3
class holder: inner = MLP
"""


def test_a_class_of_the_library():
    assert isinstance(load_model("hauberk.models:ResNet20A"), ResNet20A)
    assert not load_model("hauberk.models:ResNet20A").training


@pytest.mark.parametrize("attr", ["instance", "factory", "holder.inner"])
@pytest.mark.parametrize("where", ["mynet_a", "./mynet_a.py", "sub/mynet_b.py", "absolute"])
def test_module_or_file(tmp_path, attr, where):
    (tmp_path / "mynet_a.py").write_text(CODE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mynet_b.py").write_text("from mynet_c import *")
    (tmp_path / "sub" / "mynet_c.py").write_text(CODE)
    where = str(tmp_path / "mynet_a.py") if where == "absolute" else where
    assert type(load_model(f"{where}:{attr}")).__name__ == "MLP"


def test_an_instance_is_copied(tmp_path):
    (tmp_path / "mynet_d.py").write_text(CODE)
    a, b = load_model("mynet_d:instance"), load_model("mynet_d:instance")
    assert a is not b
    assert same_state(a, b)
    save(small().state_dict(), tmp_path / "w.npz")
    c = load_model("mynet_d:instance", tmp_path / "w.npz")
    assert not same_state(a, c)
    assert same_state(a, load_model("mynet_d:instance"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mynet_e", "pkg.module:attr"),
        ("mynet_e:", "pkg.module:attr"),
        ("nowhere_at_all:x", "no module named 'nowhere_at_all'"),
        ("hauberk.nowhere:x", "no module named 'hauberk.nowhere'"),
        ("not a module:x", "no module name"),
        ("nowhere.py:x", "does not exist"),
        ("mynet_e:factry", "did you mean factory?"),
        ("mynet_e:number", "is a int"),
        ("mynet_e:needs", "without arguments"),
        ("mynet_e:fails", "ValueError: no luck (mynet_e.py, line 9)"),
        ("mynet_e:quits", "SystemExit: bye"),
        ("mynet_e:text", "gave a str"),
        ("broken_import:x", "No module named 'absent_dependency'"),
        ("broken_syntax.py:x", "SyntaxError"),
        ("broken_exit:x", "SystemExit"),
    ],
)
def test_what_is_no_model(tmp_path, spec, says):
    (tmp_path / "mynet_e.py").write_text(CODE)
    (tmp_path / "broken_import.py").write_text("import absent_dependency")
    (tmp_path / "broken_syntax.py").write_text("def (")
    (tmp_path / "broken_exit.py").write_text("import sys; sys.exit(3)")
    message = refused(spec, call=load_model)
    assert says in message
    assert spec in message


def test_infinities_that_the_model_has_itself_are_weights():
    class Masked(nn.Module):
        def __init__(self, at=0):
            super().__init__()
            self.body = small()
            mask = torch.zeros(3)
            mask[at] = -torch.inf
            self.register_buffer("mask", mask)

    save(Masked().state_dict(), Path("masked.npz"))
    assert (
        same_state(load_weights(Masked(), "masked.npz"), Masked(0)) is False
    )  # other weights, loaded
    assert "infinite values in mask" in refused(Masked(1), "masked.npz")
