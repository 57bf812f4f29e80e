"""Graphs in ONNX files, by a stand-in for an importer, and by a real one where it is installed."""

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.packages import module
from helpers.weights import refused
from torch import nn

from hauberk.models import FixedBatch, load_model
from hauberk.models.sources import onnx as source

X = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    ).eval()


def field(name, shape, kind=1):
    dims = [SimpleNamespace(dim_value=size) for size in shape]
    tensor = SimpleNamespace(elem_type=kind, shape=SimpleNamespace(dim=dims))
    return SimpleNamespace(name=name, type=SimpleNamespace(tensor_type=tensor))


class Reference:
    """Evaluates what the stand-in's file says."""

    def __init__(self, graph):
        self.graph = graph

    def run(self, _, inputs):
        ((name, x),) = inputs.items()
        assert name == "x"
        return [self.graph.net(torch.from_numpy(x)).detach().numpy()]


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """Stand-ins for onnx and its importers; the graph that they read, and the file."""
    inner = SimpleNamespace(initializer=[SimpleNamespace(name="w")], input=[])
    graph = SimpleNamespace(graph=inner, net=net())
    inner.input = [field("w", [4]), field("x", [0, 1, 4, 4])]
    onnx = module(
        "onnx", load=lambda path: graph, checker=SimpleNamespace(check_model=lambda graph: None),
        reference=module("onnx.reference", ReferenceEvaluator=Reference),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnx", onnx)
    monkeypatch.setitem(sys.modules, "onnx.reference", onnx.reference)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in source.IMPORTERS:
        monkeypatch.setitem(sys.modules, name, None)
    importer = module("onnx2fx", convert=lambda path: graph.net)
    monkeypatch.setitem(sys.modules, "onnx2fx", importer)
    (tmp_path / "net.onnx").touch()
    return SimpleNamespace(graph=graph, importer=importer, path=str(tmp_path / "net.onnx"))


def test_a_graph_by_an_importer(packages):
    model = load_model(packages.path)
    assert torch.equal(model(X), packages.graph.net(X))
    assert load_model(f"onnx:{packages.path}") is model


def test_a_graph_for_one_batch_size(packages):
    packages.graph.graph.input[1] = field("x", [2, 1, 4, 4])
    model = load_model(packages.path)
    assert isinstance(model, FixedBatch)
    assert model.size == 2
    torch.testing.assert_close(model(X), packages.graph.net(X))


def test_an_import_that_computes_something_else_is_refused(packages, monkeypatch):
    other = net()
    with torch.no_grad():
        other[0].weight[0] += 0.1
    packages.importer.convert = lambda path: other
    assert "something else than the file" in refused(packages.path, call=load_model)
    # Too large for the slow evaluator, and no other is installed.
    monkeypatch.setattr(source, "LARGEST", 15)
    assert load_model(packages.path) is other


def test_onnxruntime_is_asked_first(packages, monkeypatch):
    def session(path, providers):
        return SimpleNamespace(run=lambda _, inputs: [np.zeros((1, 3), np.float32)])

    monkeypatch.setitem(sys.modules, "onnxruntime", module("onnxruntime", InferenceSession=session))
    assert "something else than the file" in refused(packages.path, call=load_model)


def test_other_importers_take_their_turn(packages, monkeypatch):
    def fail(path):
        raise NotImplementedError("Gridsample")

    packages.importer.convert = fail
    assert "onnx2fx cannot read it" in refused(packages.path, call=load_model)
    other = module("onnx2torch", convert=lambda path: packages.graph.net)
    monkeypatch.setitem(sys.modules, "onnx2torch", other)
    assert load_model(packages.path) is packages.graph.net
    for name in ("onnx2fx", "onnx2torch"):
        monkeypatch.setitem(sys.modules, name, None)
    made = module("onnx2pytorch", ConvertModel=lambda graph, experimental: graph.net)
    monkeypatch.setitem(sys.modules, "onnx2pytorch", made)
    assert load_model(packages.path) is packages.graph.net


def test_no_importer_and_no_onnx(packages, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx2fx", None)
    assert "pip install onnx2fx" in refused(packages.path, call=load_model)
    monkeypatch.delitem(sys.modules, "onnx")
    monkeypatch.setattr(sys, "path", [])
    assert "pip install onnx onnx2fx" in refused(packages.path, call=load_model)


def test_graphs_that_are_no_classifiers_of_one_input(packages, tmp_path):
    packages.graph.graph.input.append(field("mask", [0, 4]))
    assert "has 2 inputs" in refused(packages.path, call=load_model)
    packages.graph.graph.input[1:] = [field("x", [0, 4], kind=7)]
    assert "takes integers" in refused(packages.path, call=load_model)
    assert "does not exist" in refused(f"{tmp_path}/none.onnx", call=load_model)
    torch.save(net().state_dict(), tmp_path / "w.pt")
    message = refused(packages.path, tmp_path / "w.pt", call=load_model)
    assert "holds its weights itself" in message


@pytest.mark.parametrize("free", [False, True])
def test_a_real_importer(tmp_path, free):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnx2fx", reason="onnx2fx is not installed")
    axes = {"x": {0: "b"}, "y": {0: "b"}} if free else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net(), (X[:2],), str(tmp_path / "net.onnx"), dynamo=False, input_names=["x"],
            output_names=["y"], dynamic_axes=axes,
        )  # fmt: skip
    model = load_model(f"{tmp_path}/net.onnx")
    torch.testing.assert_close(model(X), net()(X))
    assert isinstance(model, FixedBatch) == (not free)
    u = X.clone().requires_grad_(True)
    assert torch.autograd.grad(model(u)[:, 0].sum(), u)[0].abs().sum() > 0
