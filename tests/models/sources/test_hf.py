"""Image classifiers of transformers: tiny ones, saved by the package itself."""

import json

import pytest
import torch
from helpers.weights import refused

from hauberk.models import load_model
from hauberk.models.loading import find_model

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SAYS = {"image_mean": [0.5] * 3, "image_std": [0.2] * 3}


def vit(**settings):
    """A tiny vision transformer of three classes."""
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, **{"num_labels": 3, **settings},
    )  # fmt: skip
    return transformers.ViTForImageClassification(config).eval()


def logits(model, x):
    with torch.no_grad():
        return model(x).logits


def test_a_saved_folder(tmp_path):
    source = vit()
    source.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAYS))
    found = find_model(f"hf:{tmp_path}")
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(logits(found.model, x), logits(source, (x - 0.5) / 0.2))
    bare = load_model(f"hf:{tmp_path}", mean="none")
    assert torch.equal(logits(bare, x), logits(source, x))
    assert not found.model.training
    assert found.trained
    assert found.configuration == SAYS
    assert found.model.by.std == (0.2,) * 3


def test_weights_of_another_file(tmp_path):
    vit().save_pretrained(tmp_path / "net")
    source = vit()
    torch.save({f"module.{k}": v for k, v in source.state_dict().items()}, tmp_path / "w.pt")
    model = load_model(f"hf:{tmp_path}/net", tmp_path / "w.pt")
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(logits(model, x), logits(source, x))


def test_half_precision_in_the_file_does_not_change_the_model(tmp_path):
    vit().half().save_pretrained(tmp_path)
    model = load_model(f"hf:{tmp_path}")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    model = load_model(f"hf:{tmp_path}", dtype="float16")
    assert {p.dtype for p in model.parameters()} == {torch.float16}


def test_a_folder_without_a_head_is_refused(tmp_path):
    vit().vit.save_pretrained(tmp_path)
    message = refused(f"hf:{tmp_path}", call=load_model)
    assert "missing: classifier.bias, classifier.weight" in message


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_heads_of_another_kind_are_refused(tmp_path, kind):
    vit(problem_type=kind).save_pretrained(tmp_path)
    assert kind.replace("_", " ") in refused(f"hf:{tmp_path}", call=load_model)


def test_folders_that_are_none(tmp_path):
    assert "holds no config.json" in refused(f"hf:{tmp_path}", call=load_model)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert "Unrecognized configuration" in refused(f"hf:{tmp_path}", call=load_model)
    assert "is a file" in refused(f"hf:{tmp_path}/config.json", call=load_model)


def test_a_name_of_the_hub_is_not_fetched_unasked(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    message = refused("hf:nobody/nothing-of-the-kind", call=load_model)
    assert "--download" in message
