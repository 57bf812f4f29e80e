"""Requests for models, and packages that make them."""

import os
import sys

import pytest
import torch
from helpers.packages import module
from helpers.weights import refused

from hauberk.errors import InputError
from hauberk.models.loading import load_model
from hauberk.models.source import FoundModel, ModelRequest, ModelSource, made, required
from hauberk.models.sources import SOURCES


def test_the_parts_of_a_request():
    request = ModelRequest("timm:vit_b.augreg, num_classes=10,drop=0.5,big=true,pool=avg,x=None")
    assert (request.name, request.argument) == ("timm", "vit_b.augreg")
    wanted = {"num_classes": 10, "drop": 0.5, "big": True, "pool": "avg", "x": None}
    assert request.settings == wanted
    assert ModelRequest("hf:a/b").settings == {}
    assert ModelRequest("hf:C:/nets/a").argument == "C:/nets/a"


@pytest.mark.parametrize("spec", ["timm:a,b", "timm:a,=3", "timm:a,b c=3"])
def test_settings_are_pairs(spec):
    with pytest.raises(InputError, match="is no setting: write key=value"):
        _ = ModelRequest(spec).settings


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_wants_a_name(name):
    assert SOURCES[name].name == name
    if not SOURCES[name].suffix:
        assert SOURCES[name].takes(f"{name}:net")
        assert not SOURCES[name].takes(f"{name}.nets:net")


def test_files_are_known_by_their_ending():
    source = ModelSource("x", "FILE.x", "", lambda request: FoundModel(torch.nn.Flatten()), ".x")
    assert source.takes("some/net.X")
    assert source.takes("net.x,batch=3")
    assert source.takes("x:net")
    assert not source.takes("net.py:x")


@pytest.mark.parametrize("name", ["timm", "hf", "torchvision", "robustbench"])
def test_a_package_that_is_not_installed(monkeypatch, name):
    package = {"hf": "transformers"}.get(name, name)
    for key in [key for key in sys.modules if key.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, key)
    monkeypatch.setattr(sys, "path", [])
    message = refused(f"{name}:net", call=load_model)
    assert "pip install" in message
    assert package in message


def test_packages_that_fail(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needy_pack.py").write_text("import absent_thing")
    (tmp_path / "broken_pack.py").write_text("raise RuntimeError('operator nms\\ndoes not exist')")
    with pytest.raises(InputError, match="needy_pack needs absent_thing, which is not installed"):
        required("needy_pack", "x:y")
    with pytest.raises(InputError, match=r"nms does not exist.*go together"):
        required("broken_pack", "x:y")


def test_no_code_from_files_while_a_source_makes_a_model(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    torch.save(Evil(), tmp_path / "w.pt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with (
        pytest.raises(InputError, match=r"model .x:y. failed: UnpicklingError.*: do this"),
        made(ModelRequest("x:y"), "do this"),
    ):
        torch.load(tmp_path / "w.pt", weights_only=False)
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_what_comes_from_nowhere_is_not_downloaded():
    with pytest.raises(InputError, match="not fetched from anywhere"):
        load_model("hauberk.models:SmallCNN", download=True)


def test_a_word_that_is_no_source():
    message = refused("tim:resnet18", call=load_model)
    assert "timm:NAME" in message
    assert "hf:DIR" in message


def test_stand_ins_have_what_they_are_given():
    assert module("a", b=3).b == 3
