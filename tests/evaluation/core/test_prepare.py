"""Models and data, checked once."""

import pytest
import torch
from helpers.models import Of
from torch import nn

import hauberk as hb
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import prepare


def net(classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))


X, Y = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1)), torch.arange(5) % 3


def test_a_setting_holds_what_a_question_needs():
    setting = prepare({"a": net(), "b": net()}, X, Y, RunOptions(seed=4, box=(0, 1), batch_size=2))
    assert list(setting.victims) == ["a", "b"]
    assert setting.victim is setting.victims["a"]
    assert (setting.classes, setting.seed, setting.batch_size) == (3, 4, 2)
    assert setting.ids.tolist() == [0, 1, 2, 3, 4]
    assert setting.steady
    facts = setting.facts()
    assert (facts["n"], facts["draws"], facts["model_draws"]) == (5, 1, {"a": 1, "b": 1})


@pytest.mark.parametrize("what", ["images", "labels", "ids"])
def test_checksums_tell_data_apart(what):
    given = {"images": X, "labels": Y, "ids": torch.arange(5)}
    other = given | {what: given[what].flip(0)}
    one, two = (
        prepare({"a": net()}, d["images"], d["labels"], RunOptions(ids=d["ids"])).facts()
        for d in (given, other)
    )
    assert [k for k in one if one[k] != two[k] and k != "started"] == [f"{what}_crc"]


def test_warnings_name_the_model_of_several():
    random = Of(lambda x: torch.randn(len(x), 3) + x.flatten(1)[:, :3])
    with pytest.warns(hb.HauberkWarning):
        setting = prepare({"a": net(), "b": random}, X, Y, RunOptions())
    assert setting.facts()["model_draws"] == {"a": 1, "b": 10}
    assert all(text.startswith("b: ") for text in setting.warnings)


@pytest.mark.parametrize(
    ("models", "images", "options", "message"),
    [
        ({}, X, {}, "no model"),
        ({"a": net()}, X[:0], {}, "no examples"),
        ({"a": net()}, X + 1, {}, "the box is"),
        ({"a": net(), "b": net(4)}, X, {}, r"number of classes \(a 3, b 4\)"),
        ({"a": net()}, X, {"ids": torch.zeros(5)}, "different integers"),
        ({"a": net(2)}, X, {}, "2 classes"),
    ],
)
def test_what_nothing_can_be_said_about_is_refused(models, images, options, message):
    with pytest.raises(hb.InputError, match=message):
        prepare(models, images, Y[: len(images)], RunOptions(**options))
