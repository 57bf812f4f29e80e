"""Models named by the folder of a training."""

import sys

import pytest
from helpers.oracles import same_state
from helpers.weights import refused, save, small

from hauberk.models import load_model
from hauberk.models.saved import relative


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)


def trained(folder, model="../net.py:make", weights="best.safetensors", ended=True):
    """A folder like that of a training, of a model in the folder above."""
    folder.mkdir()
    (folder.parent / "net.py").write_text(
        "from hauberk.models import MLP\n\ndef make():\n    return MLP((4, 3, 2))\n"
    )
    source = small()
    save(source.state_dict(), folder / ("best.safetensors" if ended else "last.safetensors"))
    (folder / "config.json").write_text("{}")
    if ended:
        (folder / "summary.json").write_text("{}")
    (folder / "model.yaml").write_text(f"model: {model}\nclass: MLP\nweights: {weights}\n")
    return source


@pytest.mark.parametrize("spec", ["run/model.yaml", "run"])
def test_a_training_is_a_model(tmp_path, spec):
    source = trained(tmp_path / "run")
    assert same_state(load_model(spec), source)
    assert not load_model(spec).training


def test_other_weights_outdo_those_of_the_file(tmp_path):
    trained(tmp_path / "run")
    other = small()
    save(other.state_dict(), tmp_path / "other.npz")
    assert same_state(load_model("run/model.yaml", "other.npz"), other)


def test_paths_of_the_file_are_relative_to_it(tmp_path, monkeypatch):
    source = trained(tmp_path / "run", relative("net.py:make", tmp_path / "run"))
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert relative("net.py:make", tmp_path / "link") == "../net.py:make"
    assert same_state(load_model("link"), source)
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert same_state(load_model("../../run/model.yaml"), source)
    assert relative("hauberk.models:MLP", tmp_path) == "hauberk.models:MLP"


def test_a_training_that_has_not_ended_says_what_there_is(tmp_path):
    trained(tmp_path / "run", ended=False)
    message = refused("run", call=load_model)
    assert "has not ended" in message
    assert "--weights run/last.safetensors" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: [", "no readable YAML"),
        ("just words", "give 'model:"),
        ("model: null\nweights: best.safetensors", "names no model that can be imported"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path, text, says):
    trained(tmp_path / "run")
    (tmp_path / "run" / "model.yaml").write_text(text)
    assert says in refused("run/model.yaml", call=load_model)


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml" in refused("nowhere.yaml", call=load_model)
    trained(tmp_path / "run", "../gone.py:make")
    (tmp_path / "gone").mkdir()
    message = refused("run", call=load_model)
    assert f"{tmp_path / 'gone.py'} does not exist" in message


@pytest.mark.parametrize("spec", ["gone", "run/best.safetensors"])
def test_what_is_no_training_says_what_to_give(tmp_path, spec):
    trained(tmp_path / "run")
    (tmp_path / "gone").mkdir()
    assert "or the folder of a training" in refused(spec, call=load_model)


def test_folders_of_saved_models_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vit").mkdir()
    assert relative("hf:vit", tmp_path / "runs") == f"hf:{tmp_path.resolve()}/vit"
    assert relative("timm:vit,a=1", tmp_path) == f"timm:{tmp_path.resolve()}/vit,a=1"
    assert relative("timm:resnet18,num_classes=3", tmp_path) == "timm:resnet18,num_classes=3"
