"""Labels, inputs and weights that do not fit the model, each on both sides of its threshold."""

from dataclasses import replace

import pytest
import torch

import hauberk as hb
from hauberk.evaluation.core.labels_check import (
    at_chance,
    fewer_named,
    misfits,
    permuted,
    reread,
    shifted,
)
from hauberk.evaluation.core.sample import Sample, spread_rows
from hauberk.threats.box import Box


def sample(y, given, classes=10, x=None, predict=None):
    y, given = torch.as_tensor(y), torch.as_tensor(given)
    x = torch.rand(len(y), 1, 2, 2, generator=torch.Generator().manual_seed(0)) if x is None else x
    return Sample(x, y, given, classes, Box(), predict or (lambda _: given))


def codes(*args, weights=True, **more):
    return [found.code for found in misfits(sample(*args, **more), weights)]


def cycle(n, classes=10):
    return torch.arange(n) % classes


def with_errors(y, errors, classes=10):
    """Predictions that are right but for so many, which are the next class but two."""
    given = y.clone()
    given[:errors] = (given[:errors] + 3) % classes
    return given


@pytest.mark.parametrize(("n", "right", "told"), [
    (100, 10, True), (100, 20, True), (100, 21, False), (50, 10, True), (50, 11, False),
    (20, 3, True), (20, 4, False), (10, 1, True), (10, 2, False), (9, 0, False),
])  # fmt: skip
def test_chance(n, right, told):
    """Ten classes, all alike often: a tenth, and some room with many examples."""
    y = cycle(n)
    g = torch.Generator().manual_seed(1)
    order = torch.randperm(n, generator=g)[:right]
    given = (y + torch.randint(1, 10, (n,), generator=g)) % 10
    given[order] = y[order]
    found = sample(y, given)
    assert found.right == right
    assert (misfits(found) != []) == told
    if told:
        assert [f.code for f in misfits(found)] == ["clean accuracy at chance"]
        assert f"on {right} of {n} clean inputs" in str(misfits(found)[0])
        assert ("no --weights" in str(misfits(found, weights=False)[0])) is True
        assert "no --weights" not in str(misfits(found)[0])


def test_one_class_for_all():
    y = cycle(40, 4)
    (found,) = misfits(sample(y, torch.full((40,), 2), 4))
    assert "on 10 of 40 clean inputs, always for class 2" in str(found)
    # Nearly all labels alike: a model that says so may be a good one.
    rare = torch.zeros(100, dtype=torch.int64)
    rare[:2] = 1
    assert codes(rare, torch.zeros(100, dtype=torch.int64), 2) == []
    rare[:20] = 1
    assert codes(rare, torch.zeros(100, dtype=torch.int64), 2) == ["clean accuracy at chance"]
    # Sorted data: one label, nearly all right.
    assert codes(torch.zeros(30, dtype=torch.int64), torch.zeros(30, dtype=torch.int64)) == []


@pytest.mark.parametrize(
    ("classes", "right", "told"),
    [(2, 50, True), (2, 60, False), (100, 2, True), (100, 4, False)],
)
def test_chance_of_few_and_of_many_classes(classes, right, told):
    y = cycle(100, classes)
    given = y.clone()
    wrong = torch.randperm(100, generator=torch.Generator().manual_seed(2))[right:]
    given[wrong] = (given[wrong] + classes // 2) % classes
    assert (at_chance(sample(y, given, classes)) is not None) == told


@pytest.mark.parametrize("by", [1, -1])
def test_labels_off_by_one(by):
    y = cycle(60, 8) + 1
    found = shifted(sample(y, y + by))
    assert found is not None
    assert "on 0 of 60 clean inputs, and on 60 if every label is one" in found.observed
    assert ("add 1 to" if by == 1 else "subtract 1 from") in found.remedy
    assert codes(y, y + by) == ["labels off by one"]
    half = torch.where(torch.arange(60) < 29, y + by, (y + 4) % 10)
    assert shifted(sample(y, half)) is None
    assert shifted(sample(y, with_errors(y, 20))) is None
    mixed = torch.where(torch.arange(60) < 33, y + by, y)  # nearly as many are right as they are
    assert shifted(sample(y, mixed)) is None
    zeros = torch.zeros(20, dtype=torch.int64)
    assert shifted(sample(zeros, zeros + 1)) is None


def test_permuted_labels():
    order = torch.tensor([3, 0, 7, 1, 9, 2, 8, 4, 6, 5])
    y = cycle(100)
    assert codes(order[y], with_errors(y, 15)) == ["labels permuted"]
    two = torch.tensor([0, 1, 2, 5, 4, 3, 6, 7, 8, 9])  # two classes only: 80% are right
    found = permuted(sample(two[y], y))
    assert found is not None
    assert "takes 3 as 5, 5 as 3" in found.observed
    # A weak model takes one class for another, which it knows as well.
    collapsed = y.clone()
    collapsed[y == 3] = 5
    assert permuted(sample(y, collapsed)) is None
    assert codes(y, collapsed) == []
    assert codes(1 - cycle(40, 2), cycle(40, 2), 2) in (["labels permuted"], ["labels off by one"])


def reader(change, threshold=0.5):
    """A model of two classes that reads inputs after a change; and data that it was trained on."""
    g = torch.Generator().manual_seed(3)
    x = torch.rand(60, 3, 4, 4, generator=g)
    x[::2, 0, :2] *= 0.2  # the upper half of the red of every other image is dark

    def predict(inputs):
        z = change(inputs)
        return (z[:, 0, :2].flatten(1).mean(1) < threshold * 0.6).long()

    return x, predict


@pytest.mark.parametrize(("given", "word"), [
    (lambda x: x.flip(1), "BGR"), (lambda x: x.transpose(2, 3), "rows and columns"),
    (lambda x: 1 - x, "inverted"), (lambda x: x / 255, "times 255"),
])  # fmt: skip
def test_inputs_that_fit_when_read_otherwise(given, word):
    x, predict = reader(lambda v: v)
    y = predict(x)
    assert 20 < int(y.sum()) < 40
    turned = given(x)
    found = reread(Sample(turned, y, predict(turned), 2, Box(), predict))
    assert found is not None
    assert word in found.observed
    assert "and on 60 of the same inputs" in found.observed
    assert reread(Sample(x, y, predict(x), 2, Box(), predict)) is None


def test_a_model_that_wants_normalised_inputs_is_told_of():
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def predict(v):  # signs in normalised units
        return (v.flatten(2).mean(2) > 0).float().sum(1).long()

    x = torch.rand(80, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    y = predict((x - mean.view(-1, 1, 1)) / std.view(-1, 1, 1))
    found = reread(Sample(x, y, predict(x), 4, Box(), predict))
    assert found is not None
    assert "normalised with mean and std of imagenet" in found.observed


def test_a_sample_is_spread_over_all_rows():
    assert spread_rows(7, 7).tolist() == [*range(7)]
    rows = spread_rows(10_000, 200)
    assert len(rows) == 200
    assert rows[0] == 0
    assert rows[-1] == 9999
    assert rows.diff().min() >= 50


def test_fewer_named_classes_than_outputs():
    (found,) = fewer_named(["ant", "bee"], 1000)
    assert "2 classes (0 is 'ant'), the model 1000 outputs" in found.observed
    assert "--classes" in found.remedy
    assert not fewer_named(["ant", "bee"], 2)
    assert not fewer_named([], 10)


def test_ten_folders_and_a_thousand_outputs_are_warned_of():
    data = hb.data.load_data("digits:test", limit=5)
    data = replace(data, class_names=tuple("abcdefghij"))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1000))
    with pytest.warns(hb.HauberkWarning, match="10 classes .0 is 'a'., the model 1000 outputs"):
        hb.evaluate(net, data, "linf:0.1", suite=hb.attacks.FGSM())
