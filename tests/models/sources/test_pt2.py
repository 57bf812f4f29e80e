"""Exported graphs: they compute what the module did, and nothing else is executed."""

import json
import zipfile

import pytest
import torch
from helpers.weights import refused
from torch import nn

import hauberk as hb
from hauberk.models import load_model
from hauberk.models.loading import find_model

X = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(32, 3),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Archives of the network: for batches of 3, for any, and in train mode."""
    place = tmp_path_factory.mktemp("exported")
    dims = ({0: torch.export.Dim("b")},)
    made = {
        "three": torch.export.export(net(), (X[:3],)),
        "any": torch.export.export(net(), (X,), dynamic_shapes=dims),
        "trained": torch.export.export(net().train(), (X,)),
    }
    for name, program in made.items():
        torch.export.save(program, place / f"{name}.pt2")
    return place


@pytest.mark.parametrize("name", ["three", "any", "pt2:any"])
def test_an_archive_is_evaluated_like_its_module(folder, name):
    prefix, _, name = name.rpartition(":")
    model = load_model(f"{prefix + ':' if prefix else ''}{folder}/{name}.pt2")
    found = [
        hb.evaluate(m, X, Y, "linf:0.1", suite="fast", seed=0).union_accuracy
        for m in (net(), model)
    ]
    assert found[0] == found[1]
    victim = hb.victims.victim.Victim(model)
    torch.testing.assert_close(victim.predict(X[:5]), net()(X[:5]).detach())


def test_train_mode_is_refused(folder):
    message = refused(f"{folder}/trained.pt2", call=load_model)
    assert "train mode (batch_norm, dropout)" in message


def test_weights_are_in_the_file(folder, tmp_path):
    torch.save(net().state_dict(), tmp_path / "w.pt")
    message = refused(f"{folder}/any.pt2", tmp_path / "w.pt", call=load_model)
    assert "holds its weights itself" in message
    assert find_model(f"{folder}/any.pt2").trained


def edited(folder, to, change=None, add=()):
    """A copy of an archive with another graph, or other files beside it."""
    with zipfile.ZipFile(folder / "any.pt2") as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("models/model.json") and change:
                tree = json.loads(data)
                change(tree)
                data = json.dumps(tree).encode()
            new.writestr(name, data)
        for name, data in add:
            new.writestr(f"any/{name}", data)
    return str(to)


def nodes(tree):
    return tree["graph_module"]["graph"]["nodes"]


def set_size(text):
    def change(tree):
        for meta in tree["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = text

    return change


def set_call(target):
    return lambda tree: nodes(tree)[0].update(target=target)


def set_operand(tree):
    nodes(tree)[0]["inputs"][0]["arg"] = {"as_operator": "torch.os.system"}


def set_container(tree):
    for entry in tree["graph_module"]["module_call_graph"]:
        if entry["signature"]:
            entry["signature"]["in_spec"] = json.dumps([1, {"type": "collections.defaultdict"}])


RUNS = "open('executed', 'w')"
HARMFUL = {
    "size": set_size(f"__import__('builtins').{RUNS}"),
    "size without underscores": set_size(RUNS),
    "attribute": set_size("Symbol('s31').func"),
    "call": set_call("torch.os.system"),
    "other call": set_call("torchx.os.system"),
    "file": set_call("torch.ops.aten.from_file.default"),
    "operator": set_call("_operator.call"),
    "extension": set_call("#thing.other"),
    "operand": set_operand,
    "container": set_container,
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_could_execute_code_is_refused(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = edited(folder, tmp_path / "any.pt2", HARMFUL[name])
    assert "could execute code" in refused(path, call=load_model)
    assert not (tmp_path / "executed").exists()


def test_guards_of_the_file_are_not_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = edited(folder, tmp_path / "any.pt2", lambda t: t.update(guards_code=[f"{RUNS} or True"]))
    model = load_model(path)
    torch.testing.assert_close(model(X), net()(X))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("data/aotinductor/model/a.so", "compiled code"),
        ("data/constants/custom_obj_0", "could execute code"),
        ("data/constants/opaque_obj_0", "could execute code"),
    ],
)
def test_what_lies_beside_the_graph(folder, tmp_path, name, says):
    path = edited(folder, tmp_path / "any.pt2", add=[(name, b"x")])
    assert says in refused(path, call=load_model)


class Evil:
    def __reduce__(self):
        return open, ("executed", "w")


def test_pickles_in_it_are_read_without_code(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Evil(), tmp_path / "inputs.pt")

    with zipfile.ZipFile(folder / "any.pt2") as old, zipfile.ZipFile("any.pt2", "w") as new:
        for name in old.namelist():
            bad = name.endswith("sample_inputs/model.pt")
            new.writestr(name, (tmp_path / "inputs.pt").read_bytes() if bad else old.read(name))
    assert "any.pt2" in refused("any.pt2", call=load_model)
    assert not (tmp_path / "executed").exists()


def test_what_is_no_archive(tmp_path):
    assert "does not exist" in refused(f"{tmp_path}/none.pt2", call=load_model)
    (tmp_path / "text.pt2").write_text("no zip")
    assert "no archive" in refused(f"{tmp_path}/text.pt2", call=load_model)
    torch.save(net().state_dict(), tmp_path / "state.pt2")
    assert "no exported model" in refused(f"{tmp_path}/state.pt2", call=load_model)
